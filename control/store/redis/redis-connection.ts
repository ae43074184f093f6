import { setTimeout as sleep } from 'node:timers/promises';
import { PodgateError } from '../../../core/errors.ts';
import type { Logger } from '../../../core/logger.ts';
import type { RedisAddress } from './redis-address.ts';
import { connectRedis, type Argument, type RedisClient } from './redis-client.ts';
import { isRefusal, refused, replyCode, safeText, storeFailure, unavailable } from './redis-failure.ts';
import { integerOf, type Reply } from './redis-reply.ts';
import type { RedisScript } from './redis-scripts.ts';
import type { SendRaw } from './start-checks.ts';

export interface SendOptions {
  /** Instead of the connection's. */
  readonly deadlineMs?: number;
  /** Text of the answer as bytes. */
  readonly asBuffer?: boolean;
  /** Answer only when so many replicas as the connection asks for have it too. */
  readonly isReplicated?: boolean;
  /** Called once so many replicas have it, which the answer does not wait for; never when that fails. */
  readonly onReplicated?: () => void;
}

/**
 * A connection that makes itself anew when it is lost. Every call answers within its deadline, or rejects with
 * PodgateError: 'store.unavailable' at once while there is no connection - nothing is kept for later.
 */
export interface RedisConnection {
  /** `what` names the operation in errors. */
  send(what: string, args: readonly Argument[], options?: SendOptions): Promise<Reply>;
  run(
    what: string,
    script: RedisScript,
    keys: readonly string[],
    args: readonly Argument[],
    options?: SendOptions,
  ): Promise<Reply>;
  /** The server is no longer the one to speak to: the connection is made anew, to wherever that is now. */
  moveTo(address: RedisAddress): void;
  /** Whatever is asked for later gets 'store.unavailable'. Answers under way still come, unless 'at once'. */
  close(how?: 'gently' | 'at once'): void;
}

export interface RedisConnectionOptions {
  /** Asked for at every attempt. */
  readonly locate: () => Promise<RedisAddress>;
  /** For messages. */
  readonly shown: string;
  /** How many replicas must have a write that `isReplicated`, and how long they may take. */
  readonly copies: { readonly count: number; readonly withinMs: number };
  readonly ca: string | null;
  readonly deadlineMs: number;
  readonly log: Logger;
  /** Run on every new connection before it is used; what it throws refuses the server. */
  readonly check: (send: SendRaw, address: RedisAddress) => Promise<void>;
  /** Every new connection listens to this channel, and then takes PING alone. */
  readonly subscription?: { readonly channel: string; readonly onMessage: (text: string) => void };
  /** Told whenever the connection has come back or was lost. */
  readonly onChange: () => void;
}

type State =
  | { readonly phase: 'up'; readonly client: RedisClient; readonly address: RedisAddress }
  | { readonly phase: 'away'; readonly reason: string }
  | { readonly phase: 'closed' };

const BACKOFF_FIRST_MS = 20;
const BACKOFF_MOST_MS = 2_000;

/**
 * Opens a connection, trying until `patienceMs` have passed. Throws 'config.invalid' for a server that refuses us or
 * that `check` refuses, 'store.unavailable' for one that does not answer.
 */
export async function openRedisConnection(
  options: RedisConnectionOptions,
  patienceMs: number,
): Promise<RedisConnection> {
  const { shown, log, deadlineMs, copies } = options;
  const closing = new AbortController();
  let state: State = { phase: 'away', reason: 'not connected yet' };

  /** A function, since the compiler takes what it has seen of a signal for its state for ever. */
  function isClosing(): boolean {
    return closing.signal.aborted;
  }

  async function connect(): Promise<void> {
    const address = await options.locate();
    const client = await connectRedis({ address, ca: options.ca, connectMs: deadlineMs, onLost });
    try {
      await options.check((args) => client.send(args, { deadlineMs }), address);
      const { subscription } = options;
      if (subscription !== undefined) await client.subscribe(subscription.channel, subscription.onMessage, deadlineMs);
    } catch (error) {
      client.destroy();
      throw error;
    }
    if (isClosing()) client.destroy();
    else state = { phase: 'up', client, address };
  }

  function onLost(error: unknown): void {
    // During the check it was never up, and whoever checks is told.
    if (state.phase !== 'up') return;
    state = { phase: 'away', reason: safeText(error) };
    log.error({ redis: shown, error: safeText(error) }, 'the connection to Redis is lost');
    options.onChange();
    void reconnect();
  }

  async function reconnect(): Promise<void> {
    for (let attempt = 0; !isClosing(); attempt++) {
      await sleep(backoffMs(attempt), undefined, { signal: closing.signal }).catch(() => undefined);
      if (isClosing()) return;
      try {
        await connect();
        log.info({ redis: shown }, 'connected to Redis again');
        options.onChange();
        return;
      } catch (error) {
        const reason = safeText(error);
        if (state.phase === 'away' && state.reason !== reason) {
          log.warn({ redis: shown, error: reason }, 'Redis cannot be reached; trying again');
          state = { phase: 'away', reason };
        }
      }
    }
  }

  const deadline = performance.now() + patienceMs;
  for (let attempt = 0; ; attempt++) {
    try {
      await connect();
      break;
    } catch (error) {
      const failure = openingFailure(error, shown);
      if (failure.code === 'config.invalid' || performance.now() > deadline) throw failure;
      await sleep(backoffMs(attempt));
    }
  }

  function lose(client: RedisClient, error: unknown): void {
    if (state.phase !== 'up' || state.client !== client) return;
    client.destroy();
    onLost(error);
  }

  async function send(what: string, args: readonly Argument[], more: SendOptions = {}): Promise<Reply> {
    switch (state.phase) {
      case 'closed':
        throw unavailable(what, 'the store is closed');
      case 'away':
        throw unavailable(what, `no connection to Redis (${state.reason})`);
      case 'up': {
        const { client } = state;
        try {
          const reply = await client.send(args, { deadlineMs, ...more });
          if (more.isReplicated === true && copies.count > 0) await replicated(client, what);
          if (more.onReplicated !== undefined) replicated(client, what).then(more.onReplicated, () => undefined);
          return reply;
        } catch (error) {
          // The master of yesterday: the one of today is elsewhere.
          if (replyCode(error) === 'READONLY') lose(client, error);
          throw error;
        }
      }
    }
  }

  /** Those who wait for replicas at the same moment, on the same connection. */
  let gathering: { readonly client: RedisClient; readonly copies: Promise<number> } | null = null;

  /**
   * Waits until enough replicas have what this connection has written. On the very connection: WAIT counts only that,
   * and on one to another server it would praise what that has never seen. Rejects when they have not; the write may
   * stay all the same, as with a lost answer.
   */
  async function replicated(client: RedisClient, what: string): Promise<void> {
    if (gathering?.client !== client) {
      const asked = Promise.resolve().then(() => {
        gathering = null;
        return client.send(['WAIT', String(copies.count), String(copies.withinMs)], { deadlineMs });
      });
      gathering = { client, copies: asked.then(integerOf) };
    }
    const have = await gathering.copies;
    if (have < copies.count) throw unavailable(what, `only ${have} of ${copies.count} replicas have it`);
  }

  return {
    async send(what, args, more) {
      try {
        return await send(what, args, more);
      } catch (error) {
        throw storeFailure(what, error);
      }
    },
    async run(what, script, keys, args, more) {
      const rest = [String(keys.length), ...keys, ...args];
      try {
        try {
          return await send(what, ['EVALSHA', script.sha, ...rest], more);
        } catch (error) {
          // A server that was started, or emptied, since then. Its text makes it known again.
          if (replyCode(error) !== 'NOSCRIPT') throw error;
          return await send(what, ['EVAL', script.text, ...rest], more);
        }
      } catch (error) {
        const failure = storeFailure(what, error);
        if (failure.code === 'api.internal')
          log.error({ script: script.name, error: failure.message }, 'a script failed');
        throw failure;
      }
    },
    moveTo(address) {
      if (state.phase !== 'up') return;
      const { host, port } = state.address;
      if (host === address.host && port === address.port) return;
      lose(state.client, unavailable('sentinel', `the master is now ${address.shown}`));
    },
    close(how = 'gently') {
      if (state.phase === 'up') {
        if (how === 'gently') state.client.close();
        else state.client.destroy();
      }
      state = { phase: 'closed' };
      closing.abort();
    },
  };
}

function openingFailure(error: unknown, shown: string): PodgateError {
  if (error instanceof PodgateError && error.code === 'config.invalid') return error;
  if (isRefusal(error))
    return refused(`The Redis at ${shown} refuses the user of PODGATE_REDIS_URL (${safeText(error)}).`);
  const code = error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : '';
  if (/CERT|SIGNATURE|SELF_SIGNED|ALTNAME/.test(code)) {
    return refused(
      `The certificate of the Redis at ${shown} is not trusted (${code}). ` +
        'Name its authority in NODE_EXTRA_CA_CERTS, and the host as its certificate does.',
    );
  }
  return new PodgateError('store.unavailable', {
    publicMessages: [`The Redis at ${shown} does not answer: ${safeText(error)}.`],
    detail: `opening ${shown}: ${safeText(error)}`,
  });
}

/** Doubles, and differs between replicas, which all lose their connection at once. */
function backoffMs(attempt: number): number {
  return Math.min(BACKOFF_MOST_MS, BACKOFF_FIRST_MS * 2 ** Math.min(attempt, 10)) * (0.5 + Math.random() / 2);
}
