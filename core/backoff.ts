/** How waits grow. */
export interface Backoff {
  /** Wait after the first failure, in ms. */
  readonly firstMs: number;
  /** No wait is longer, in ms. */
  readonly maxMs: number;
  /** Growth per failure, at least 1. Default: 2. */
  readonly factor?: number;
  /** Share of a wait, 0 to 1, that chance may take away, so that those who failed together do not return together. Default: 0. */
  readonly jitter?: number;
}

/** Keeps the power finite, whatever a stored count says; every wait has reached its maximum long before. */
const DOUBLINGS_MAX = 64;

/**
 * Milliseconds to wait before the next attempt: `firstMs` after one failure in a row, then growing to `maxMs`; 0 when
 * nothing has failed. `random` returns a number from 0 to below 1. Not rounded.
 */
export function backoffMs(
  failures: number,
  { firstMs, maxMs, factor = 2, jitter = 0 }: Backoff,
  random: () => number = Math.random,
): number {
  if (!(failures >= 1)) return 0;
  const grownMs = Math.min(maxMs, firstMs * factor ** Math.min(failures - 1, DOUBLINGS_MAX));
  return jitter === 0 ? grownMs : grownMs * (1 - jitter * random());
}
