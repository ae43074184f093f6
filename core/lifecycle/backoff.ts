import { backoffMs } from '../backoff.ts';

/** Spawns that may fail in a row before a pod is ERROR. */
export const SPAWN_ATTEMPTS_MAX = 5;
const BACKOFF_MAX_MS = 60_000;
const SPAWN_BACKOFF = { firstMs: 1_000, maxMs: BACKOFF_MAX_MS };

/**
 * Wait before the next spawn after `attempts` that came to nothing: none after the first (what vanished through no
 * fault of its own is back at once), then 1, 2, 4 ... 60 s.
 */
export function spawnBackoffMs(attempts: number): number {
  return backoffMs(attempts - 1, SPAWN_BACKOFF);
}

/** Evictions in a row for what the pod itself used too much of, after which it is an ERROR. */
export const EXCESSES_MAX = 5;
/** A pod that ran this long since its last eviction has got over it. */
export const EVICTION_FORGOTTEN_MS = 3_600_000;
const EVICTION_BACKOFF = { firstMs: 5_000, maxMs: BACKOFF_MAX_MS };

/** Wait before the next start after `count` evictions in a row: 5, 10, 20, 40, 60 s. The node's trouble needs a while. */
export function evictionBackoffMs(count: number): number {
  return backoffMs(count, EVICTION_BACKOFF);
}

/** Is a spawn that was put off due? A stamp further away than any back-off comes from a clock that jumped. */
export function isSpawnDue(notBeforeMs: number, nowMs: number): boolean {
  return nowMs >= notBeforeMs || notBeforeMs - nowMs > BACKOFF_MAX_MS;
}
