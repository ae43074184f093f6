import { errorText } from '../../core/errors.ts';
import { judgeStore, type StoreTrust } from '../../core/lifecycle/clean-up.ts';
import type { Logger } from '../../core/logger.ts';
import type { Orchestrator, WorkloadObservation } from '../../core/orchestrator.ts';
import type { Store, StoreIdentity } from '../../core/store.ts';

/** What was last seen of the store, kept outside it, so that an older or foreign one is noticed. */
export interface LastSeenStore {
  read(): StoreIdentity | null;
  save(identity: StoreIdentity): Promise<void>;
}

export interface StoreJudgeOptions {
  readonly store: Pick<Store, 'identity'>;
  readonly orchestrator: Pick<Orchestrator, 'list'>;
  readonly lastSeen: LastSeenStore;
  /** For the log: how an operator has a suspect store believed. */
  readonly remedy: string;
  readonly log: Logger;
}

export interface Judgement {
  readonly trust: StoreTrust;
  readonly workloads: readonly WorkloadObservation[];
}

/** Every replica judges the store for itself: each has its own memory of it. */
export interface StoreJudge {
  /** Throws when store or orchestrator do not answer. */
  judge(signal: AbortSignal): Promise<Judgement>;
  /** The last judgement; null before the first. */
  trust(): StoreTrust | null;
}

export function createStoreJudge({ store, orchestrator, lastSeen, remedy, log }: StoreJudgeOptions): StoreJudge {
  let trust: StoreTrust | null = null;
  return {
    trust: () => trust,
    async judge(signal) {
      // In this order: whatever runs now was made at a commit that the identity, read later, has reached.
      const workloads = await orchestrator.list(signal);
      const identity = await store.identity();
      const judged = judgeStore(identity, lastSeen.read(), workloads);
      if (judged.kind === 'suspect' && trust?.kind !== 'suspect') {
        const { reason } = judged;
        log.error({ reason, remedy }, 'the store is suspect: no pod is touched until an operator has looked');
      }
      trust = judged;
      if (judged.kind === 'healthy') {
        // A full disk, say: then less may be noticed of a store that is put in this one's place. The pods go on.
        await lastSeen.save(identity).catch((error: unknown) => {
          log.warn({ error: errorText(error) }, 'what was seen of the store could not be noted');
        });
      }
      return { trust: judged, workloads };
    },
  };
}
