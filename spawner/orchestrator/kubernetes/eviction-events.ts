import type { Clock } from '../../../core/clock.ts';
import type { ClusterObjects } from './cluster-objects.ts';
import type { PodView } from './objects.ts';

/** The kubelet sends the event before it ends the program; it may be recorded late. */
const LATE_MS = 30_000;

/**
 * Evictions of programs that end well when they are told to end. The kubelet (1.34) writes phase Failed, reason Evicted,
 * only if a container ended with an error; for exit code 0 it writes Succeeded, as if the program had been through with
 * its work, and its reason is in an Event alone.
 */
export interface EvictionEvents {
  /** The kubelet's reason, or null: this Pod has succeeded. */
  reasonOf(pod: PodView, signal: AbortSignal): Promise<string | null>;
  keepOnly(isThere: (objectUid: string) => boolean): void;
}

export function createEvictionEvents(
  objects: Pick<ClusterObjects, 'evictionOf'>,
  clock: Pick<Clock, 'monotonicMs'>,
): EvictionEvents {
  const known = new Map<string, { readonly reason: string | null; readonly sinceMs: number }>();
  return {
    async reasonOf(pod, signal) {
      const before = known.get(pod.objectUid);
      const nowMs = clock.monotonicMs();
      if (before !== undefined && (before.reason !== null || nowMs - before.sinceMs > LATE_MS)) return before.reason;
      const reason = await objects.evictionOf(pod, signal);
      known.set(pod.objectUid, { reason, sinceMs: before?.sinceMs ?? nowMs });
      return reason;
    },
    keepOnly(isThere) {
      for (const objectUid of known.keys()) if (!isThere(objectUid)) known.delete(objectUid);
    },
  };
}
