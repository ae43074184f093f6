import type { StoreGuard, Tip } from '../store-guard.ts';
import { markArguments, parseMarked } from './marked-script.ts';
import type { Argument } from './redis-client.ts';
import type { RedisConnection, SendOptions } from './redis-connection.ts';
import type { RedisKeys } from './redis-keys.ts';
import type { Reply } from './redis-reply.ts';
import { isWriting, type MarkedScriptName, type RedisScripts } from './redis-scripts.ts';

export interface MarkedSendOptions extends Omit<SendOptions, 'onReplicated'> {
  /**
   * Where writes count only once they are replicated: the mark advances to what the answer has shown as soon as replicas
   * have it, which the answer does not wait for.
   */
  readonly advancesLater?: boolean;
}

/** What store, queue, lock and logs share: a connection, and what this process has seen of the store behind it. */
export interface RedisSession {
  readonly connection: RedisConnection;
  readonly keys: RedisKeys;
  readonly scripts: RedisScripts;
  readonly guard: StoreGuard;
  /**
   * Runs a script and presents the mark; `keys` begins with `meta`. Throws PodgateError 'store.suspect' when the script
   * writes and the store lacks what this process has seen.
   */
  run(
    what: string,
    script: MarkedScriptName,
    keys: readonly string[],
    args: readonly Argument[],
    options?: MarkedSendOptions,
  ): Promise<MarkedReply>;
}

export interface MarkedReply {
  readonly tip: Tip;
  /** False only of a script that reads: the store lacks what this process has seen. */
  readonly isTrusted: boolean;
  readonly answer: Reply;
}

export function createRedisSession(parts: {
  readonly connection: RedisConnection;
  readonly keys: RedisKeys;
  readonly scripts: RedisScripts;
  readonly guard: StoreGuard;
  /** A write counts only once replicas of the server have it. */
  readonly waits: boolean;
}): RedisSession {
  const { connection, keys, scripts, guard, waits } = parts;
  return {
    ...{ connection, keys, scripts, guard },
    async run(what, name, scriptKeys, args, { advancesLater = false, ...options } = {}) {
      if (isWriting(name)) guard.assertTrusted(what);
      const presented = guard.mark();
      const allKeys = [...scriptKeys, keys.history];
      const allArgs = [...args, ...markArguments(presented)];
      let shown: Tip | null = null;
      const onReplicated = (): void => {
        if (shown !== null) guard.saw(presented, shown);
      };
      const sendOptions = waits && advancesLater ? { ...options, onReplicated } : options;
      const reply = await connection.run(what, scripts[name], allKeys, allArgs, sendOptions);
      const { verdict, tip, answer } = parseMarked(reply);
      const isTrusted = guard.compared(presented, verdict, tip);
      if (!isTrusted && isWriting(name)) guard.assertTrusted(what);
      // What no replica of the server has yet may be gone with it, and has been acknowledged to nobody.
      if (isTrusted && (!waits || options.isReplicated === true)) guard.saw(presented, tip);
      if (isTrusted) shown = tip;
      return { tip, isTrusted, answer };
    },
  };
}
