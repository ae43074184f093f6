import { isAborted, pause, untilAborted } from '../../../core/abort.ts';
import { backoffMs } from '../../../core/backoff.ts';

export interface AttemptOptions {
  /** Has a deadline of its own. */
  readonly attempt: () => Promise<void>;
  /** Called with the error of each attempt. What it throws ends all further attempts and is thrown to the caller. */
  readonly onFailure: (error: unknown) => void;
  readonly signal: AbortSignal;
}

/** Differs between replicas, which all lose their connection at once. */
export const RECONNECT_BACKOFF = { firstMs: 20, maxMs: 1_000, jitter: 0.5 };
/** The next attempt begins this long after one that has no result yet. */
const OVERLAP_MS = 1_000;
const CONCURRENT_MOST = 3;

/**
 * Repeats `attempt` until one succeeds; returns early when the signal aborts. Attempts overlap, as in RFC 8305: one at an
 * address that drops packets takes its whole deadline, and by then the server may be back at another. So a server is found
 * within about a second of its return, however long it was away.
 */
export async function untilOneSucceeds({ attempt, onFailure, signal }: AttemptOptions): Promise<void> {
  const over = new AbortController();
  const ended = AbortSignal.any([over.signal, signal]);
  const { promise: isOver, resolve, reject } = Promise.withResolvers<undefined>();
  const pending = new Set<Promise<void>>();

  async function begin(): Promise<void> {
    try {
      await attempt();
      resolve(undefined);
      over.abort();
    } catch (error) {
      if (isAborted(ended)) return;
      try {
        onFailure(error);
      } catch (fatal) {
        reject(fatal);
        over.abort();
      }
    }
  }

  async function repeat(): Promise<void> {
    for (let number = 1; !isAborted(ended); number++) {
      const begun = begin();
      pending.add(begun);
      const finished = begun.then(() => pending.delete(begun));
      await Promise.race([finished, pause(OVERLAP_MS, ended)]);
      if (pending.size >= CONCURRENT_MOST) await Promise.race([...pending, untilAborted(ended)]);
      await pause(backoffMs(number, RECONNECT_BACKOFF), ended);
    }
  }

  await Promise.race([isOver, repeat()]);
  // Whatever repeat() was waiting for, the result of an attempt comes first.
  if (isAborted(over.signal)) await isOver;
}
