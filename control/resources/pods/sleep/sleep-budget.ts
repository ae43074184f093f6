import type { PodRecord } from '../../../../core/pod.ts';

/** Sleeps of one pod in quick succession, and how soon there is another one. */
export const SLEEPS_MOST = 10;
export const SLEEP_EVERY_MS = 6 * 60_000;

type Budget = Pick<PodRecord, 'sleepsLeft'>;

/** A token bucket: full at first, and again after an hour. */
function sleepsLeftAt({ sleepsLeft }: Budget, nowMs: number): number {
  if (sleepsLeft === undefined) return SLEEPS_MOST;
  const sinceMs = nowMs - sleepsLeft.atMs;
  // The clock was far ahead at that time.
  if (sinceMs < -SLEEPS_MOST * SLEEP_EVERY_MS) return SLEEPS_MOST;
  return Math.min(SLEEPS_MOST, sleepsLeft.count + Math.max(0, sinceMs) / SLEEP_EVERY_MS);
}

/** 0: the pod may go to sleep now. */
export function untilNextSleepMs(record: Budget, nowMs: number): number {
  return Math.max(0, Math.ceil((1 - sleepsLeftAt(record, nowMs)) * SLEEP_EVERY_MS));
}

/** For the record of a pod that goes to sleep. */
export function oneSleepLess(record: Budget, nowMs: number): Required<Budget> {
  return { sleepsLeft: { count: Math.max(0, sleepsLeftAt(record, nowMs) - 1), atMs: nowMs } };
}
