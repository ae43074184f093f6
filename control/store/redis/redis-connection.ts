import type { LookupFunction } from 'node:net';
import { isAborted, pause } from '../../../core/abort.ts';
import { backoffMs } from '../../../core/backoff.ts';
import { errorCode } from '../../../core/error-code.ts';
import { PodgateError } from '../../../core/errors.ts';
import type { Logger } from '../../../core/logger.ts';
import type { RedisAddress } from './redis-address.ts';
import { connectRedis, type Argument, type RedisClient } from './redis-client.ts';
import { isRefusal, refused, replyCode, safeText, storeFailure, unavailable } from './redis-failure.ts';
import { integerOf, type Reply } from './redis-reply.ts';
import type { RedisScript } from './redis-scripts.ts';
import type { SendRaw } from './start-checks.ts';
import { RECONNECT_BACKOFF, untilOneSucceeds } from './until-one-succeeds.ts';

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
  /** Later commands get 'store.unavailable'. Replies in flight still arrive, unless 'at once'. */
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
  readonly lookup: LookupFunction;
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

/** How long opening waits for a server that does not answer. */
export interface Patience {
  /** Infinity: until the signal aborts. */
  readonly forMs: number;
  readonly signal: AbortSignal;
  /** Called when opening has to wait, and again whenever the error is another. */
  readonly onWaiting: (error: PodgateError) => void;
}

/**
 * Opens a connection, trying as long as `patience` says. Throws 'config.invalid' at once for a server that refuses us or
 * that `check` refuses, 'store.unavailable' for one that does not answer.
 */
export async function openRedisConnection(
  options: RedisConnectionOptions,
  patience: Patience,
): Promise<RedisConnection> {
  const { shown, log, deadlineMs, copies } = options;
  const closing = new AbortController();
  let state: State = { phase: 'away', reason: 'not connected yet' };

  async function connect(): Promise<void> {
    const address = await options.locate();
    const { ca, lookup } = options;
    const client: RedisClient = await connectRedis({
      address,
      ca,
      lookup,
      connectMs: deadlineMs,
      onLost: (error) => onLost(client, error),
    });
    try {
      await options.check((args) => client.send(args, { deadlineMs }), address);
      const { subscription } = options;
      if (subscription !== undefined) await client.subscribe(subscription.channel, subscription.onMessage, deadlineMs);
    } catch (error) {
      client.destroy();
      throw error;
    }
    // Of attempts that overlap, one wins.
    if (state.phase === 'away' && !isAborted(closing.signal)) state = { phase: 'up', client, address };
    else client.destroy();
  }

  function onLost(client: RedisClient, error: unknown): void {
    // During the check it was never up, and the check reports the error.
    if (state.phase !== 'up' || state.client !== client) return;
    state = { phase: 'away', reason: safeText(error) };
    log.error({ redis: shown, error: safeText(error) }, 'the connection to Redis is lost');
    options.onChange();
    void reconnect();
  }

  async function reconnect(): Promise<void> {
    // A server that closes each connection at once is not asked in a tight loop.
    await pause(backoffMs(1, RECONNECT_BACKOFF), closing.signal);
    const onFailure = (error: unknown): void => {
      const reason = safeText(error);
      if (state.phase !== 'away' || state.reason === reason) return;
      log.warn({ redis: shown, error: reason }, 'Redis cannot be reached; trying again');
      state = { phase: 'away', reason };
    };
    await untilOneSucceeds({ attempt: connect, onFailure, signal: closing.signal });
    if (isAborted(closing.signal)) return;
    log.info({ redis: shown }, 'connected to Redis again');
    options.onChange();
  }

  async function open(): Promise<void> {
    const deadline = performance.now() + patience.forMs;
    let last: string | null = null;
    const onFailure = (error: unknown): void => {
      const failure = openingFailure(error, shown);
      if (failure.code === 'config.invalid' || performance.now() > deadline) throw failure;
      if (failure.message === last) return;
      last = failure.message;
      patience.onWaiting(failure);
    };
    try {
      await untilOneSucceeds({ attempt: connect, onFailure, signal: patience.signal });
    } finally {
      // Attempts that are still under way come too late.
      if (state.phase !== 'up') closing.abort();
    }
    if (isAborted(closing.signal)) throw unavailable('open', `told to end while waiting for ${shown}`);
  }
  await open();

  function lose(client: RedisClient, error: unknown): void {
    client.destroy();
    onLost(client, error);
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
  const code = errorCode(error) ?? '';
  if (/CERT|SIGNATURE|SELF_SIGNED|ALTNAME/.test(code)) {
    return refused(
      `The certificate of the Redis at ${shown} is not trusted (${code}). ` +
        'Name the file of its authority in PODGATE_REDIS_CA_FILE, and the host as its certificate does.',
    );
  }
  return new PodgateError('store.unavailable', {
    publicMessages: [`The Redis at ${shown} does not answer: ${safeText(error)}.`],
    detail: `opening ${shown}: ${safeText(error)}`,
  });
}
