import { isStoreFailure, PodgateError } from '../core/errors.ts';

/** So many turns of a key that end in an error, one after the other. */
const FAILURES_MAX = 5;
/** While store or orchestrator are away every key fails: with the growing waits between, so many are minutes. */
const OUTAGE_FAILURES_MAX = 10;

/** How a key has fared since its last turn that came to a good end. */
export interface Failures {
  readonly count: number;
  /** Workloads that the orchestrator has accepted, or refused, since the first of these failures. */
  readonly madeMeanwhile: number;
}

/**
 * Is it the key that fails, and not what it needs? An error of store or orchestrator counts against the key only when
 * they have served others meanwhile.
 */
export function isPoisoned({ count, madeMeanwhile }: Failures, error: unknown): boolean {
  const isOutage =
    isStoreFailure(error) || (error instanceof PodgateError && error.code === 'orchestrator.unavailable');
  return isOutage ? count >= OUTAGE_FAILURES_MAX && madeMeanwhile > 0 : count >= FAILURES_MAX;
}
