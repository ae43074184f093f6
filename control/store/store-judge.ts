import { isAborted } from '../../core/abort.ts';
import { judgeStore, type StoreTrust } from '../../core/lifecycle/clean-up.ts';
import type { WorkloadObservation, Workloads } from '../../core/workloads.ts';
import type { Store } from '../../core/store.ts';
import type { StoreGuard } from './store-guard.ts';

export interface StoreJudgeOptions {
  readonly store: Pick<Store, 'identity'>;
  readonly guard: StoreGuard;
  readonly orchestrator: Pick<Workloads, 'list'>;
}

export interface Judgement {
  readonly trust: StoreTrust;
  readonly workloads: readonly WorkloadObservation[];
}

/**
 * Judges the store by what this process has seen of it, which the store itself compares (StoreGuard), and by what runs.
 * Every replica judges for itself: each has its own memory.
 */
export interface StoreJudge {
  /** Throws when the store or the orchestrator does not respond. */
  judge(signal: AbortSignal): Promise<Judgement>;
  /** As of the last answer of the store, which may be newer than the last judgement; null before the first of either. */
  trust(): StoreTrust | null;
  /** Of the present period of trust: aborts when it ends. */
  trusted(): AbortSignal;
  /** What did not respond at the last judgement; null = both did, or there has been none yet. */
  unanswered(): 'orchestrator' | 'store' | null;
}

export function createStoreJudge({ store, guard, orchestrator }: StoreJudgeOptions): StoreJudge {
  let isJudged = false;
  let unanswered: 'orchestrator' | 'store' | null = null;

  function trust(): StoreTrust | null {
    const reason = guard.suspicion();
    if (reason !== null) return { kind: 'suspect', reason };
    return isJudged ? { kind: 'healthy' } : null;
  }

  async function answerOf<T>(from: 'orchestrator' | 'store', question: Promise<T>, signal: AbortSignal): Promise<T> {
    try {
      const answer = await question;
      if (unanswered === from) unanswered = null;
      return answer;
    } catch (error) {
      if (!isAborted(signal)) unanswered = from;
      throw error;
    }
  }

  return {
    trust,
    trusted: () => guard.trusted(),
    unanswered: () => unanswered,
    async judge(signal) {
      // In this order: whatever runs now was made at a commit that the identity, read later, has reached.
      const workloads = await answerOf('orchestrator', orchestrator.list(signal), signal);
      const identity = await answerOf('store', store.identity(), signal);
      guard.judged(judgeStore(identity, workloads));
      isJudged = true;
      return { trust: trust() ?? { kind: 'healthy' }, workloads };
    },
  };
}
