/** Spawns that may fail in a row before a pod is ERROR. */
export const SPAWN_ATTEMPTS_MAX = 5;
const BACKOFF_BASE_MS = 1_000;
export const BACKOFF_MAX_MS = 60_000;

/**
 * Wait before the next spawn after `attempts` that came to nothing: none after the first (what vanished through no
 * fault of its own is back at once), then 1, 2, 4 ... 60 s.
 */
export function spawnBackoffMs(attempts: number): number {
  if (attempts <= 1) return 0;
  return Math.min(BACKOFF_MAX_MS, BACKOFF_BASE_MS * 2 ** Math.min(attempts - 2, 16));
}

/** Is a spawn that was put off due? A stamp further away than any back-off comes from a clock that jumped. */
export function isSpawnDue(notBeforeMs: number, nowMs: number): boolean {
  return nowMs >= notBeforeMs || notBeforeMs - nowMs > BACKOFF_MAX_MS;
}
