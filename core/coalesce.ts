const SECOND_MS = 1_000;
const HALF_SECOND_MS = 500;

/**
 * How long to wait instead of `ms`, where the exact time does not matter: until a full second of the machine's monotonic
 * clock (for less than a second: a full half). An idle process pays more for waking up than for what it does then. Timers
 * that end together share one wake-up, and so do the messages of several processes to one. The result differs from `ms` by
 * half a second at most (for less than a second: by a quarter); waits of less than half a second are returned as they are.
 */
export function coalesce(ms: number): number {
  if (ms < HALF_SECOND_MS) return ms;
  const stepMs = ms < SECOND_MS ? HALF_SECOND_MS : SECOND_MS;
  const [seconds, nanoseconds] = process.hrtime();
  // In whole milliseconds, as timers count them: those that are set in one turn of the event loop end in the same one.
  const nowMs = seconds * SECOND_MS + Math.floor(nanoseconds / 1e6);
  return Math.round((nowMs + ms) / stepMs) * stepMs - nowMs;
}
