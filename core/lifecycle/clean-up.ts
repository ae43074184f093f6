import type { WorkloadObservation } from '../workloads.ts';
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
    if (workload.storeId !== identity.storeId) return suspect(`${which} was created by another store`);
    if (workload.commit > identity.commits) return suspect(`${which} is newer than the store`);
  }
  if (identity.commits === 0 && workloads.length > 0) return suspect('the store is empty but workloads are running');
  return { kind: 'healthy' };
}

/** What a fresh read by key found about a workload that has no record of its uid. */
export interface OrphanCandidate {
  readonly workload: WorkloadObservation;
  /** A tombstone of this uid, or a record of another uid that is newer than the workload: its pod was deleted. */
  readonly isProvenDeleted: boolean;
  /** How long this loop has seen it without a record, on the monotonic clock. */
  readonly orphanForMs: number;
  /** This term has had it removed already, and it has not gone yet: it counts no more. */
  readonly isBeingRemoved: boolean;
}

export interface CleanUpPlan {
  readonly remove: readonly WorkloadObservation[];
  /** Due, and left alone until an operator confirms: there are more than a pass may remove. */
  readonly heldBack: readonly OrphanCandidate[];
  /** Orphans without proof that are not due yet. */
  readonly youngerCount: number;
}

/**
 * What a pass removes: what is proven deleted or has been an orphan of a healthy store for ten minutes, and never more
 * than max(5, 5 %) of the workloads beyond what an operator has `confirmed` by uid. More orphans without proof than
 * that are a sign of lost records, and one of them is as suspicious as the next: then none of them is removed, since a
 * few in each pass would be all of them within minutes. See docs/decisions/0041.
 */
export function planCleanUp(
  trust: StoreTrust,
  candidates: readonly OrphanCandidate[],
  workloadCount: number,
  confirmed: ReadonlySet<string>,
): CleanUpPlan {
  if (trust.kind === 'suspect') return { remove: [], heldBack: [], youngerCount: 0 };
  const limit = cleanUpLimit(workloadCount);
  const allowed: OrphanCandidate[] = [];
  const proven: OrphanCandidate[] = [];
  const unproven: OrphanCandidate[] = [];
  let youngerCount = 0;
  for (const candidate of candidates) {
    if (candidate.isBeingRemoved || confirmed.has(candidate.workload.uid)) allowed.push(candidate);
    else if (candidate.isProvenDeleted) proven.push(candidate);
    else if (candidate.orphanForMs >= ORPHAN_GRACE_MS) unproven.push(candidate);
    else youngerCount += 1;
  }
  const isTooMany = unproven.length > limit;
  const removed = [...proven, ...(isTooMany ? [] : unproven)].slice(0, limit);
  return {
    remove: [...allowed, ...removed].map(({ workload }) => workload),
    heldBack: isTooMany ? unproven : [],
    youngerCount,
  };
}

/** How many workloads a pass may remove without an operator's confirmation. */
export function cleanUpLimit(workloadCount: number): number {
  return Math.max(MOST_AT_LEAST, Math.floor(workloadCount * MOST_SHARE));
}
