import { isStoreFailure, PodgateError } from '../core/errors.ts';

/** Consecutive failures of a key before it is parked. */
const FAILURES_MAX = 5;
/** While the store or the orchestrator is unavailable, every key fails. With back-off, this many failures take minutes. */
const OUTAGE_FAILURES_MAX = 10;

/** The failures of a key since its last success. */
export interface Failures {
  readonly count: number;
  /** Workloads that the orchestrator accepted or rejected since the first of these failures. */
  readonly madeMeanwhile: number;
}

/**
 * Whether the key itself is the cause. An error of the store or the orchestrator counts against the key only if they
 * have served other keys in the meantime.
 */
export function isPoisoned({ count, madeMeanwhile }: Failures, error: unknown): boolean {
  const isOutage =
    isStoreFailure(error) || (error instanceof PodgateError && error.code === 'orchestrator.unavailable');
  return isOutage ? count >= OUTAGE_FAILURES_MAX && madeMeanwhile > 0 : count >= FAILURES_MAX;
}
