import { createHash } from 'node:crypto';
import type { Clock } from '../../../../core/clock.ts';
import { errorText } from '../../../../core/errors.ts';
import { podKey } from '../../../../core/ids.ts';
import {
  cleanUpLimit,
  type OrphanCandidate,
  planCleanUp,
  type StoreTrust,
} from '../../../../core/lifecycle/clean-up.ts';
import type { Logger } from '../../../../core/logger.ts';
import type { WorkloadObservation, Workloads } from '../../../../core/workloads.ts';
import type { Store } from '../../../../core/store.ts';

/** An operator's confirmation holds for this long. */
const CONFIRMATION_MS = 10 * 60_000;

/** A workload without a pod that an operator has to confirm the removal of. */
export interface HeldBackRemoval {
  readonly tenant: string;
  readonly podId: string;
  readonly uid: string;
  /** When the leader first saw it without a record. */
  readonly sinceMs: number;
}

export interface HeldBackRemovals {
  /** The number of removals and a digest of their uids: what an operator confirms is what was listed. */
  readonly code: string;
  /** How many a pass may remove without a confirmation. */
  readonly limit: number;
  readonly removals: readonly HeldBackRemoval[];
  /** More orphans, which are not due yet. */
  readonly youngerCount: number;
}

const NOTHING_HELD_BACK: HeldBackRemovals = { code: codeOf([]), limit: cleanUpLimit(0), removals: [], youngerCount: 0 };

/** Remembers since when a workload has had no record, and removes it when clean-up's rules allow. Lives for one term. */
export class OrphanWatch {
  readonly #store: Store;
  readonly #orchestrator: Pick<Workloads, 'remove'>;
  readonly #clock: Clock;
  readonly #log: Logger;
  #firstSeen = new Map<string, number>();
  /** Uids whose removal the orchestrator has accepted. */
  #beingRemoved = new Set<string>();
  /** Until when, on the monotonic clock, by uid. */
  readonly #confirmed = new Map<string, number>();
  #heldBack = NOTHING_HELD_BACK;

  constructor(parts: { store: Store; orchestrator: Pick<Workloads, 'remove'>; clock: Clock; log: Logger }) {
    this.#store = parts.store;
    this.#orchestrator = parts.orchestrator;
    this.#clock = parts.clock;
    this.#log = parts.log;
  }

  /** As of the last pass. */
  heldBack(): HeldBackRemovals {
    return this.#heldBack;
  }

  /** The next passes remove exactly what `code` stands for. Returns false when something else is held back now. */
  confirm(code: string): boolean {
    const { removals, code: present } = this.#heldBack;
    if (removals.length === 0 || code !== present) return false;
    const untilMs = this.#clock.monotonicMs() + CONFIRMATION_MS;
    for (const { uid } of removals) this.#confirmed.set(uid, untilMs);
    this.#log.warn({ count: removals.length, code }, 'an operator confirmed the removals that were held back');
    this.#heldBack = NOTHING_HELD_BACK;
    return true;
  }

  /** `withoutRecord`: workloads whose uid no record has. Their data is never removed here. */
  async pass(
    trust: StoreTrust,
    withoutRecord: readonly WorkloadObservation[],
    workloadCount: number,
    signal: AbortSignal,
  ): Promise<void> {
    const nowMs = this.#clock.monotonicMs();
    const firstSeen = new Map<string, number>();
    const candidates: OrphanCandidate[] = [];
    for (const workload of withoutRecord) {
      const since = this.#firstSeen.get(workload.uid) ?? nowMs;
      firstSeen.set(workload.uid, since);
      const fresh = await this.#lookUp(workload);
      if (fresh === 'owned') continue;
      const isBeingRemoved = this.#beingRemoved.has(workload.uid);
      candidates.push({ workload, isProvenDeleted: fresh === 'deleted', orphanForMs: nowMs - since, isBeingRemoved });
    }
    this.#firstSeen = firstSeen;
    this.#beingRemoved = new Set([...this.#beingRemoved].filter((uid) => firstSeen.has(uid)));
    for (const [uid, untilMs] of this.#confirmed) {
      if (untilMs <= nowMs || !firstSeen.has(uid)) this.#confirmed.delete(uid);
    }
    const plan = planCleanUp(trust, candidates, workloadCount, new Set(this.#confirmed.keys()));
    this.#holdBack(plan.heldBack, cleanUpLimit(workloadCount), plan.youngerCount);
    for (const workload of plan.remove) {
      const { tenant, podId, uid, run } = workload;
      this.#log.warn({ tenant, podId, uid }, 'removing a workload that has no pod');
      try {
        await this.#orchestrator.remove({ tenant, podId, uid }, { data: 'keep', run }, signal);
        this.#beingRemoved.add(uid);
      } catch (error) {
        this.#log.warn(
          { tenant, podId, uid, error: errorText(error) },
          'failed to remove a workload; the next pass retries',
        );
      }
    }
  }

  #holdBack(candidates: readonly OrphanCandidate[], limit: number, youngerCount: number): void {
    const nowMs = this.#clock.now();
    const removals = candidates.map(({ workload: { tenant, podId, uid }, orphanForMs }) => ({
      ...{ tenant, podId, uid },
      sinceMs: nowMs - orphanForMs,
    }));
    const code = codeOf(removals);
    if (removals.length > 0 && code !== this.#heldBack.code) {
      this.#log.warn(
        { count: removals.length, limit, code },
        'the removal of workloads that have no pod is held back: there are more than a pass may remove. List them and confirm with: podgate confirm',
      );
    }
    this.#heldBack = { code, limit, removals, youngerCount };
  }

  /** A fresh read by key: the list is older than the workloads may be. */
  async #lookUp(workload: WorkloadObservation): Promise<'owned' | 'deleted' | 'unknown'> {
    const key = podKey(workload.tenant, workload.podId);
    const stored = await this.#store.get('pod', key);
    if (stored?.value.uid === workload.uid) return 'owned';
    const tombstone = await this.#store.tombstone('pod', key);
    if (tombstone?.uid === workload.uid) return 'deleted';
    // The key belongs to a later pod, so this one's was deleted before.
    return stored !== null && stored.revision > workload.commit ? 'deleted' : 'unknown';
  }
}

function codeOf(removals: readonly Pick<HeldBackRemoval, 'uid'>[]): string {
  const uids = removals.map(({ uid }) => uid).sort();
  return `${uids.length}-${createHash('sha256').update(JSON.stringify(uids)).digest('hex').slice(0, 8)}`;
}
