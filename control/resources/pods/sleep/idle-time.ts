import type { PodRecord } from '../../../../core/pod.ts';
import { hasLost, type JudgedUse } from './judge-use.ts';

/** At most a tenth of the time to sleep goes by between two looks, and not less than this. */
const LOOK_EVERY_LEAST_MS = 5_000;
/** What a pod has to run before it sleeps again, at most, however long its start took. */
const UPTIME_MOST_MS = 30 * 60_000;

/** How long a pod runs at least before it sleeps: twice as long as its last start took. */
export function minimumUptimeMs({ startTookMs = 0 }: Pick<PodRecord, 'startTookMs'>): number {
  return Math.min(2 * startTookMs, UPTIME_MOST_MS);
}

export function lookEveryMs(afterMs: number): number {
  return Math.max(LOOK_EVERY_LEAST_MS, afterMs / 10);
}

export interface Looked {
  /** Of what has been idle long enough. */
  readonly isDue: boolean;
  readonly lookAgainMs: number;
}

/**
 * How long one run of a pod has been idle, on the monotonic clock of the leader. When workers say it was last used is only
 * compared with what they said before: no clock that jumps, and no two that differ, put a pod to sleep.
 */
export class IdleTime {
  readonly uid: string;
  readonly run: number;
  readonly #firstMs: number;
  #idleSinceMs: number;
  #lastUsedMs: number | null = null;
  #workers: ReadonlySet<string> = new Set();

  constructor({ uid, run }: Pick<PodRecord, 'uid' | 'run'>, nowMs: number) {
    this.uid = uid;
    this.run = run;
    this.#firstMs = nowMs;
    this.#idleSinceMs = nowMs;
  }

  look(
    record: Pick<PodRecord, 'startTookMs'>,
    afterMs: number,
    { use, workers }: { readonly use: JudgedUse; readonly workers: ReadonlySet<string> },
    nowMs: number,
  ): Looked {
    const everyMs = lookEveryMs(afterMs);
    // Nothing is decided. What was used meanwhile shows in the next answer of all, and where a worker has gone.
    if (use.kind === 'unknown') return { isDue: false, lookAgainMs: Math.min(everyMs, afterMs) };
    const isIdle = use.kind === 'idle' && !this.#isNews(use.lastUsedMs, workers);
    this.#lastUsedMs = use.lastUsedMs;
    this.#workers = workers;
    if (!isIdle) {
      this.#idleSinceMs = nowMs;
      return { isDue: false, lookAgainMs: Math.min(everyMs, afterMs) };
    }
    const leftMs = Math.max(this.#idleSinceMs + afterMs - nowMs, this.#firstMs + minimumUptimeMs(record) - nowMs);
    return { isDue: leftMs <= 0, lookAgainMs: Math.max(1, Math.min(everyMs, leftMs)) };
  }

  /** Used since the last look, or a worker has gone with what it knew. */
  #isNews(lastUsedMs: number | null, workers: ReadonlySet<string>): boolean {
    return lastUsedMs !== this.#lastUsedMs || hasLost(this.#workers, workers);
  }
}
