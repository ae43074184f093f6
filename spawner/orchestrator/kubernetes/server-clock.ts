import type { Clock } from '../../../core/clock.ts';

/** The Date header has whole seconds. */
const COARSE_MS = 2_000;
/** Clocks drift apart by less than this between two looks; whatever is more is a jump. */
const DRIFT_MAX_MS = 60_000;

/**
 * Ages of Pods. When one is first seen, its age is what the API server's clock says it is; from then on it grows by the
 * monotonic clock of this machine. So neither a jump of our wall clock nor one of the API server's makes a pod old, and
 * nobody's is stopped by it.
 */
export interface PodAges {
  /** The server's time, as an answer just said. */
  note(serverTimeMs: number | null): void;
  /** The server's time now; null before its first word. */
  serverNowMs(): number | null;
  ageMs(pod: { readonly objectUid: string; readonly createdAtMs: number }): number;
  /** Those that are no longer there. */
  keepOnly(isThere: (objectUid: string) => boolean): void;
}

export function createPodAges(clock: Pick<Clock, 'monotonicMs'>): PodAges {
  let server: { readonly timeMs: number; readonly atMs: number } | null = null;
  const seen = new Map<string, { readonly ageMs: number; readonly atMs: number }>();

  return {
    note(serverTimeMs) {
      if (serverTimeMs !== null) server = { timeMs: serverTimeMs, atMs: clock.monotonicMs() };
    },
    serverNowMs: () => (server === null ? null : server.timeMs + clock.monotonicMs() - server.atMs),
    ageMs({ objectUid, createdAtMs }) {
      const nowMs = clock.monotonicMs();
      const before = seen.get(objectUid);
      const bySeen = before === undefined ? null : before.ageMs + nowMs - before.atMs;
      const byServer = server === null ? null : Math.max(0, server.timeMs + nowMs - server.atMs - createdAtMs);
      const ageMs = chooseAge(bySeen, byServer);
      if (byServer !== null) seen.set(objectUid, { ageMs, atMs: nowMs });
      return ageMs;
    },
    keepOnly(isThere) {
      for (const objectUid of seen.keys()) if (!isThere(objectUid)) seen.delete(objectUid);
    },
  };
}

/** Pure. Null: not known that way. */
export function chooseAge(bySeenMs: number | null, byServerMs: number | null): number {
  if (bySeenMs === null) return byServerMs ?? 0;
  if (byServerMs === null) return bySeenMs;
  const apartMs = Math.abs(byServerMs - bySeenMs);
  return apartMs > COARSE_MS && apartMs < DRIFT_MAX_MS ? byServerMs : bySeenMs;
}
