import type { Clock } from '../../../core/clock.ts';
import type { PodView } from './objects.ts';

/**
 * Deletions that should be over. Only a node may say that a Pod has ended; one that is silent never does. A Pod without
 * data need not be waited for: at worst it runs on beside its successor, unreachable, until its node is back and the
 * kubelet there ends what the cluster no longer knows. One with data is waited for, however long it takes.
 */
export interface OverdueDeletions {
  /** Is this Pod, which holds no data, overdue for so long that nobody should wait for its node any more? */
  isLost(pod: PodView): boolean;
  keepOnly(isThere: (objectUid: string) => boolean): void;
}

/**
 * `serverNowMs`: the API server's clock, null as long as it is not known. It only says when the waiting begins; the time
 * itself is measured on ours, so that a clock that jumps ends no pod.
 */
export function createOverdueDeletions(parts: {
  readonly clock: Pick<Clock, 'monotonicMs'>;
  readonly serverNowMs: () => number | null;
  readonly lostAfterMs: number;
}): OverdueDeletions {
  const overdueSinceMs = new Map<string, number>();
  return {
    isLost({ objectUid, isDeleting, hasData, deleteByMs }) {
      const serverMs = parts.serverNowMs();
      if (!isDeleting || hasData || deleteByMs === null || serverMs === null || serverMs < deleteByMs) return false;
      const nowMs = parts.clock.monotonicMs();
      const sinceMs = overdueSinceMs.get(objectUid) ?? nowMs;
      overdueSinceMs.set(objectUid, sinceMs);
      return nowMs - sinceMs >= parts.lostAfterMs;
    },
    keepOnly(isThere) {
      for (const objectUid of overdueSinceMs.keys()) if (!isThere(objectUid)) overdueSinceMs.delete(objectUid);
    },
  };
}
