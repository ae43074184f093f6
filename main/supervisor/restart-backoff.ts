import { backoffMs } from '../../core/backoff.ts';

const RESTART_BACKOFF = { firstMs: 100, maxMs: 5_000 };
/** Who lived this long had a death of its own, not one of starting. */
const STEADY_AFTER_MS = 10_000;

/** How often in a row a child has died young, given how long the last one lived. */
export function deathsInARow(before: number, livedMs: number): number {
  return livedMs >= STEADY_AFTER_MS ? 1 : before + 1;
}

/** Wait before the next start: none after one death, then 100 ms, 200 ms ... 5 s. */
export function restartDelayMs(deaths: number): number {
  return backoffMs(deaths - 1, RESTART_BACKOFF);
}
