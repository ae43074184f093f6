import { randomUUID } from 'node:crypto';
import type { Claim, Queue } from '../../../core/queue.ts';
import type { Wakeup } from '../wakeup.ts';
import { arrayOf, integerOf } from './redis-reply.ts';
import type { ScriptName } from './redis-scripts.ts';
import type { RedisSession } from './redis-session.ts';

/** Also without a word, so that the store's age does not stand still (see age.lua). */
const LONGEST_WAIT_MS = 10_000;

export function createRedisQueue(options: { readonly session: RedisSession; readonly changed: Wakeup }): Queue {
  const { changed } = options;
  const { connection, keys, scripts } = options.session;

  async function run(name: ScriptName, ...args: readonly string[]): Promise<boolean> {
    return integerOf(await connection.run(name, scripts[name], keys.queue, args)) > 0;
  }

  /** The claim, or how many ms to wait. */
  async function claimNow(leaseMs: number): Promise<Claim | number> {
    const token = randomUUID();
    const reply = await connection.run('claim', scripts.claim, keys.queue, [token, wholeMs(leaseMs)]);
    if (typeof reply === 'string') return { key: reply, token };
    const waitMs = integerOf(reply);
    return waitMs < 0 ? LONGEST_WAIT_MS : Math.min(waitMs, LONGEST_WAIT_MS);
  }

  const queue: Queue = {
    async add(key, { delayMs = 0, share } = {}) {
      await run('add', key, wholeMs(delayMs), ...(share === undefined ? [] : [share]));
      changed.wake();
    },

    async claim(leaseMs, signal) {
      while (!isAborted(signal)) {
        // Before it asks, so that nothing falls between asking and waiting.
        const waiting = new AbortController();
        const stop = AbortSignal.any([signal, waiting.signal]);
        const woken = changed.wait(null, stop);
        try {
          const claim = await claimNow(leaseMs);
          if (typeof claim !== 'number') {
            if (!isAborted(signal)) return claim;
            await queue.retry(claim, 0);
            return null;
          }
          await Promise.race([woken, changed.wait(claim, stop)]);
        } finally {
          waiting.abort();
        }
      }
      return null;
    },

    extend: ({ key, token }, leaseMs) => run('extend', key, token, wholeMs(leaseMs)),

    async acknowledge({ key, token }) {
      const settled = await run('acknowledge', key, token);
      if (settled) changed.wake();
      return settled;
    },

    async retry({ key, token }, delayMs) {
      const settled = await run('retry', key, token, wholeMs(delayMs));
      if (settled) changed.wake();
      return settled;
    },

    async stats() {
      const [due, delayed, leased] = arrayOf(await connection.run('stats', scripts.stats, keys.queue, []));
      return { due: integerOf(due), delayed: integerOf(delayed), leased: integerOf(leased) };
    },
  };
  return queue;
}

function wholeMs(ms: number): string {
  return String(Math.max(0, Math.ceil(ms)));
}

/** A function, since the compiler takes what it has seen of a signal for its state for ever. */
function isAborted(signal: AbortSignal): boolean {
  return signal.aborted;
}
