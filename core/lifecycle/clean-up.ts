import type { WorkloadObservation } from '../orchestrator.ts';
import type { StoreIdentity } from '../store.ts';

/** An orphan of a healthy store is left alone for this long. */
const ORPHAN_GRACE_MS = 10 * 60_000;
const MOST_AT_LEAST = 5;
const MOST_SHARE = 0.05;

/** May the store be believed? A suspect one removes nothing and replaces no table. */
export type StoreTrust = { readonly kind: 'healthy' } | { readonly kind: 'suspect'; readonly reason: string };

/**
 * Judges the store by what runs; what this process has seen of it the store compares by itself (StoreMark). A workload carries the id of its store and the commit at which it was made. What a store made in whose place this one
 * was put by an operator's word (`replaces`) is believed, whatever its number: the numbers of two stores do not compare.
 */
export function judgeStore(
  identity: StoreIdentity,
  workloads: readonly Pick<WorkloadObservation, 'storeId' | 'commit' | 'tenant' | 'podId'>[],
): StoreTrust {
  const suspect = (reason: string): StoreTrust => ({ kind: 'suspect', reason });
  const replaces = (storeId: string): boolean => identity.replaces?.includes(storeId) === true;
  for (const workload of workloads) {
    const which = `the workload of ${workload.tenant}/${workload.podId}`;
    if (replaces(workload.storeId)) continue;
    if (workload.storeId !== identity.storeId) return suspect(`${which} was made by another store`);
    if (workload.commit > identity.commits) return suspect(`${which} is newer than the store`);
  }
  if (identity.commits === 0 && workloads.length > 0) return suspect('the store is empty but workloads run');
  return { kind: 'healthy' };
}

/** What a fresh read by key found about a workload that has no record of its uid. */
export interface OrphanCandidate {
  readonly workload: WorkloadObservation;
  /** A tombstone of this uid, or a record of another uid that is newer than the workload: its pod was deleted. */
  readonly isProvenDeleted: boolean;
  /** How long this loop has seen it without a record, on the monotonic clock. */
  readonly orphanForMs: number;
}

/**
 * The workloads to remove in this pass. Shy: only what is proven deleted or has been an orphan of a healthy store for
 * ten minutes, and never more than max(5, 5 %) without an operator's word.
 */
export function planCleanUp(
  trust: StoreTrust,
  candidates: readonly OrphanCandidate[],
  workloadCount: number,
): readonly WorkloadObservation[] {
  if (trust.kind === 'suspect') return [];
  const most = Math.max(MOST_AT_LEAST, Math.floor(workloadCount * MOST_SHARE));
  return candidates
    .filter((candidate) => candidate.isProvenDeleted || candidate.orphanForMs >= ORPHAN_GRACE_MS)
    .slice(0, most)
    .map((candidate) => candidate.workload);
}
