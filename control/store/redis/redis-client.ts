import type { LookupFunction } from 'node:net';
import type { RedisAddress } from './redis-address.ts';
import { unavailable } from './redis-failure.ts';
import type { Reply } from './redis-reply.ts';

export type Argument = string | Buffer;

/** One connection, from when it is ready until it is lost. It never comes back: see redis-connection.ts. */
export interface RedisClient {
  /** Errors come as the client throws them. An answer that does not come in time loses the connection. */
  send(
    args: readonly Argument[],
    options: { readonly deadlineMs: number; readonly asBuffer?: boolean },
  ): Promise<Reply>;
  /** From then on the connection takes PING alone. Throws as `send` does. */
  subscribe(channel: string, onMessage: (text: string) => void, deadlineMs: number): Promise<void>;
  /** Waits for the answers that are under way, but not for ever, then ends. */
  close(): void;
  destroy(): void;
}

export interface RedisClientOptions {
  readonly address: RedisAddress;
  /** Certificates (PEM) to trust beside none other; by default those that Node trusts. */
  readonly ca: string | null;
  /** Resolves the host's name; by default as Node does. */
  readonly lookup?: LookupFunction;
  /** For the connection to be ready: TCP, TLS and authentication. */
  readonly connectMs: number;
  /** Called once, with the reason. Not after close or destroy. */
  readonly onLost: (error: unknown) => void;
}

/** RESP type of texts, whose representation can be chosen. */
const BLOB_STRING = 36;

/**
 * Connects. The library's own reconnecting and offline queue are off: it would keep commands without a deadline, and
 * wait for ever for the answers of a server that has stopped without closing the connection.
 */
export async function connectRedis(options: RedisClientOptions): Promise<RedisClient> {
  const { address, ca, lookup, connectMs } = options;
  // 211 ms to import: only those who use Redis pay for it.
  const { createClient } = await import('redis');
  const socket = {
    host: address.host,
    port: address.port,
    reconnectStrategy: false,
    connectTimeout: connectMs,
    ...(lookup === undefined ? {} : { lookup }),
  } as const;
  const client = createClient({
    RESP: 2,
    disableOfflineQueue: true,
    disableClientInfo: true,
    ...(address.username === null ? {} : { username: address.username }),
    ...(address.password === null ? {} : { password: address.password }),
    database: address.database,
    socket: address.tls
      ? { ...socket, tls: true as const, servername: serverName(address.host), ...(ca === null ? {} : { ca }) }
      : socket,
  });
  const buffers = { [BLOB_STRING]: Buffer };

  let ended = false;
  function end(): void {
    ended = true;
    client.destroy();
  }
  function lose(error: unknown): void {
    if (ended) return;
    end();
    options.onLost(error);
  }

  let ready = false;
  let lastError: unknown = null;
  client.on('error', (error: unknown) => {
    lastError = error;
    if (ready) lose(error);
  });
  // A connection that comes about after its deadline belongs to nobody.
  client.on('connect', () => {
    if (ended) client.destroy();
  });
  try {
    await within(connectMs, 'connect', client.connect());
  } catch (error) {
    end();
    throw lastError ?? error;
  }
  ready = true;

  return {
    async send(args, { deadlineMs, asBuffer = false }) {
      const reply = client.sendCommand<Reply>([...args], asBuffer ? { typeMapping: buffers } : {});
      return within(deadlineMs, textOfName(args[0]), reply, lose);
    },
    async subscribe(channel, onMessage, deadlineMs) {
      await within(deadlineMs, 'subscribe', client.subscribe(channel, onMessage), lose);
    },
    close() {
      if (ended) return;
      ended = true;
      within(connectMs, 'close', client.close()).catch(end);
    },
    destroy: end,
  };
}

function textOfName(name: Argument | undefined): string {
  return typeof name === 'string' ? name : 'command';
}

/** SNI takes names only (RFC 6066, section 3). */
function serverName(host: string): string {
  return /^[\d.]+$|:/.test(host) ? '' : host;
}

/** Rejects with 'store.unavailable' when `work` takes longer, after telling `onLate`. */
function within<T>(ms: number, what: string, work: Promise<T>, onLate?: (error: unknown) => void): Promise<T> {
  return new Promise((resolve, reject) => {
    let settled = false;
    const timer = setTimeout(() => {
      // After a stall of our own, the answer may wait to be read: one turn of the event loop for it.
      setImmediate(() => {
        if (settled) return;
        const error = unavailable(what, `no answer within ${ms} ms`);
        reject(error);
        onLate?.(error);
      });
    }, ms);
    work.then(resolve, reject).finally(() => {
      settled = true;
      clearTimeout(timer);
    });
  });
}
