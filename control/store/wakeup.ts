/** Lets many wait for "something has changed", without polling. Spurious wake-ups are allowed: waiters look again. */
export interface Wakeup {
  wake(): void;
  /** Resolves at the next `wake`, after `ms` (null = never), or when the signal aborts. Never rejects. */
  wait(ms: number | null, signal: AbortSignal): Promise<void>;
}

/** Longer waits are cut: a timer holds 31 bits, and a waiter that looks again once a minute costs nothing. */
const LONGEST_WAIT_MS = 60_000;

export function createWakeup(): Wakeup {
  const waiting = new Set<() => void>();
  return {
    wake() {
      for (const resume of [...waiting]) resume();
    },
    wait(ms, signal) {
      if (signal.aborted) return Promise.resolve();
      return new Promise((resolve) => {
        const timer = ms === null ? null : setTimeout(resume, Math.min(Math.max(Math.ceil(ms), 1), LONGEST_WAIT_MS));
        function resume(): void {
          waiting.delete(resume);
          if (timer !== null) clearTimeout(timer);
          signal.removeEventListener('abort', resume);
          resolve();
        }
        waiting.add(resume);
        signal.addEventListener('abort', resume);
      });
    },
  };
}
