import { randomUUID } from 'node:crypto';
import { isAborted } from '../../../core/abort.ts';
import type { Claim, ParkedKey, Queue } from '../../../core/queue.ts';
import type { Wakeup } from '../wakeup.ts';
import { arrayOf, integerOf, numberIn, splitAtSpace, textOf } from './redis-reply.ts';
import type { MarkedScriptName } from './redis-scripts.ts';
import type { RedisSession } from './redis-session.ts';

export interface RedisQueueOptions {
  readonly session: RedisSession;
  /** Woken when something may have become due, by whomever, and now and then. */
  readonly changed: Wakeup;
}

export function createRedisQueue({ session, changed }: RedisQueueOptions): Queue {
  const { connection, keys } = session;
  /** Moments of this queue, in order: somebody was woken, or began to ask. */
  let moments = 0;
  /** The last answer that nothing is due: when it was asked for, and when (performance.now) something will be. */
  let empty = { moment: -1, untilMs: 0 };
  let lastAsked: Promise<unknown> = Promise.resolve();

  async function run(name: MarkedScriptName, ...args: readonly string[]): Promise<boolean> {
    return integerOf((await session.run(name, name, keys.queue, args)).answer) > 0;
  }

  /** The claim, or null when nothing is due: see `empty`. */
  async function ask(leaseMs: number): Promise<Claim | null> {
    const moment = ++moments;
    const token = randomUUID();
    const { answer } = await session.run('claim', 'claim', keys.queue, [token, wholeMs(leaseMs)]);
    if (typeof answer === 'string') return { key: answer, token };
    const waitMs = integerOf(answer);
    empty = { moment, untilMs: waitMs < 0 ? Infinity : performance.now() + waitMs };
    return null;
  }

  /**
   * One asks after the other, and those who come after one that found nothing since they were woken need not: many
   * wait, and a single key wakes all of them.
   */
  function askInTurn(leaseMs: number, signal: AbortSignal): Promise<Claim | null> {
    const woken = ++moments;
    const asked = lastAsked.then(() => (isAborted(signal) || empty.moment > woken ? null : ask(leaseMs)));
    lastAsked = asked.catch(() => undefined);
    return asked;
  }

  const queue: Queue = {
    async add(key, { delayMs = 0, share } = {}) {
      await run('add', key, wholeMs(delayMs), ...(share === undefined ? [] : [share]));
    },

    async claim(leaseMs, signal) {
      while (!isAborted(signal)) {
        // Before it asks, so that nothing falls between asking and waiting.
        const waiting = new AbortController();
        const stop = AbortSignal.any([signal, waiting.signal]);
        const woken = changed.wait(null, stop);
        try {
          const claim = await askInTurn(leaseMs, signal);
          if (claim !== null) {
            if (!isAborted(signal)) return claim;
            await queue.retry(claim, 0);
            return null;
          }
          const waitMs = empty.untilMs - performance.now();
          await Promise.race([woken, ...(waitMs === Infinity ? [] : [changed.wait(waitMs, stop)])]);
        } finally {
          waiting.abort();
        }
      }
      return null;
    },

    extend: ({ key, token }, leaseMs) => run('extend', key, token, wholeMs(leaseMs)),

    acknowledge: ({ key, token }) => run('acknowledge', key, token),

    retry: ({ key, token }, delayMs) => run('retry', key, token, wholeMs(delayMs)),

    park: ({ key, token }, reason, forMs) => run('park', key, token, wholeMs(forMs), reason.toWellFormed()),

    async parked(limit) {
      const flat = arrayOf(await connection.send('parked', ['HGETALL', keys.parked])).map(textOf);
      const parked = flat.flatMap((key, at): ParkedKey[] => {
        if (at % 2 === 1) return [];
        const [sinceMs, reason] = splitAtSpace(flat[at + 1] ?? '');
        return [{ key, reason, sinceMs: numberIn(sinceMs) }];
      });
      return parked.toSorted((a, b) => a.sinceMs - b.sinceMs).slice(0, limit);
    },

    async unpark(key) {
      return integerOf((await session.run('unpark', 'unpark', keys.queue, key === null ? [] : [key])).answer);
    },

    async stats() {
      const { answer } = await session.run('stats', 'stats', keys.queue, []);
      const [due, delayed, leased, parked] = arrayOf(answer);
      return {
        due: integerOf(due),
        delayed: integerOf(delayed),
        leased: integerOf(leased),
        parked: integerOf(parked),
      };
    },
  };
  return queue;
}

function wholeMs(ms: number): string {
  return String(Math.max(0, Math.ceil(ms)));
}
