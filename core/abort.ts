import { setTimeout as sleep } from 'node:timers/promises';

/** A function, because the compiler narrows `signal.aborted` once and assumes that it never changes. */
export function isAborted(signal: AbortSignal): boolean {
  return signal.aborted;
}

/** Resolves when the signal aborts. */
export function untilAborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}

/** Resolves after `ms`, or immediately when the signal aborts: loops check the signal instead of catching an error. */
export function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) {
      resolve();
      return;
    }
    const done = (): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener('abort', done, { once: true });
  });
}

/** What the promise resolves to; null: it has not settled in this time. */
export async function within<T>(promise: Promise<T>, timeMs: number): Promise<T | null> {
  const over = new AbortController();
  try {
    return await Promise.race([promise, sleep(timeMs, null, { signal: over.signal })]);
  } finally {
    over.abort();
  }
}
