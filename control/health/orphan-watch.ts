import type { Clock } from '../../core/clock.ts';
import { errorText } from '../../core/errors.ts';
import { podKey } from '../../core/ids.ts';
import { type OrphanCandidate, planCleanUp, type StoreTrust } from '../../core/lifecycle/clean-up.ts';
import type { Logger } from '../../core/logger.ts';
import type { Orchestrator, WorkloadObservation } from '../../core/orchestrator.ts';
import type { Store } from '../../core/store.ts';

/** Remembers since when a workload has had no record, and removes it when clean-up's rules allow. */
export class OrphanWatch {
  readonly #store: Store;
  readonly #orchestrator: Pick<Orchestrator, 'remove'>;
  readonly #clock: Clock;
  readonly #log: Logger;
  #firstSeen = new Map<string, number>();

  constructor(parts: { store: Store; orchestrator: Pick<Orchestrator, 'remove'>; clock: Clock; log: Logger }) {
    this.#store = parts.store;
    this.#orchestrator = parts.orchestrator;
    this.#clock = parts.clock;
    this.#log = parts.log;
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
      candidates.push({ workload, isProvenDeleted: fresh === 'deleted', orphanForMs: nowMs - since });
    }
    this.#firstSeen = firstSeen;
    for (const workload of planCleanUp(trust, candidates, workloadCount)) {
      const { tenant, podId, uid, run } = workload;
      this.#log.warn({ tenant, podId, uid }, 'removing a workload that has no pod');
      await this.#orchestrator.remove({ tenant, podId, uid }, { data: 'keep', run }, signal).catch((error: unknown) => {
        this.#log.warn(
          { tenant, podId, uid, error: errorText(error) },
          'it could not be removed; the next pass tries again',
        );
      });
    }
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
