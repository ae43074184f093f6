import { type Backoff, backoffMs } from '../../core/backoff.ts';

const MINUTE_MS = 60_000;
const DAY_MS = 24 * 60 * MINUTE_MS;

/** Issuers allow a handful of failed validations for a name and hour: 5, 10, 20 ... minutes stay below that. */
const NAME_BACKOFF = { firstMs: 5 * MINUTE_MS, maxMs: 6 * 60 * MINUTE_MS, jitter: 0.2 };
const ACCOUNT_BACKOFF = { firstMs: 15_000, maxMs: 15 * MINUTE_MS, jitter: 0.2 };
/** Who tells us to come back in a year is asked again tomorrow all the same: it may be a mistake, his or a proxy's. */
const RETRY_AFTER_MOST_MS = DAY_MS;

export interface Failures {
  /** In a row, at least 1. */
  readonly failures: number;
  readonly nowMs: number;
  /** What the server said; null = nothing. */
  readonly retryAfterMs: number | null;
  /** 0 to 1. */
  readonly fraction: number;
}

/** When a name whose order failed is tried again, in wall clock ms. */
export function nameRetryAtMs(failed: Failures): number {
  return retryAtMs(failed, NAME_BACKOFF);
}

/** When an account whose server does not answer, or has had enough of us, is used again. */
export function accountRetryAtMs(failed: Failures): number {
  return retryAtMs(failed, ACCOUNT_BACKOFF);
}

function retryAtMs({ failures, nowMs, retryAfterMs, fraction }: Failures, backoff: Backoff): number {
  const grownMs = backoffMs(Math.max(1, failures), backoff, () => fraction);
  const asToldMs = Math.min(RETRY_AFTER_MOST_MS, Math.max(0, retryAfterMs ?? 0));
  return nowMs + Math.max(asToldMs, grownMs);
}

/** Is a try that was put off due? One put off for longer than ever happens comes from a clock that jumped. */
export function isRetryTime(notBeforeMs: number, nowMs: number): boolean {
  return nowMs >= notBeforeMs || notBeforeMs - nowMs > RETRY_AFTER_MOST_MS;
}
