import { PodgateError } from '../../core/errors.ts';
import type { StoreTrust } from '../../core/lifecycle/clean-up.ts';
import type { Logger } from '../../core/logger.ts';
import type { StoreMark, StoreMemory } from '../../core/store.ts';

/** What a store says of a mark, in the same atomic step as whatever it was asked for. */
export type Verdict = 'same' | 'empty' | 'other' | 'older' | 'parted';

const REASONS: Readonly<Record<Exclude<Verdict, 'same'>, string>> = {
  empty: 'the store is empty',
  other: 'the store is another one than before',
  older: 'the store is older than last seen',
  parted: 'the store is an older copy that has been changed since: commits that were seen are missing from it',
};

/** Where a store stands. */
export type Tip = Omit<StoreMark, 'fence'>;

const REMEDY = 'Bring the right store back. Or, to go on with this one: podgate recover';

/**
 * What one process knows of its store, shared by everything that reads or writes it: the mark that every write presents,
 * and whether the store is to be believed. Decision 0028.
 */
export interface StoreGuard {
  /** Null = no store has been seen yet. */
  mark(): StoreMark | null;
  /** Why the store is not to be believed; null = it is. */
  suspicion(): string | null;
  /** Throws PodgateError 'store.suspect' while it is not. To be called before a write is sent; `what` is for the log. */
  assertTrusted(what: string): void;
  /** The signal of the present period of trust: aborted as soon as it ends, and while there is none. */
  trusted(): AbortSignal;
  /**
   * To be called with what the store said of the mark that was presented, before anybody acts on the answer. False when
   * it contradicts what this process has seen.
   */
  compared(presented: StoreMark | null, verdict: Verdict, tip: Tip): boolean;
  /** To be called with where the store stood, once that is durable, after `compared`. The mark never goes back. */
  saw(presented: StoreMark | null, tip: Tip): void;
  fenceGiven(fence: number): void;
  /** The whole comparison has just been made anew and found nothing: what contradicted before has gone. */
  verified(): void;
  /** The files of the store were exchanged under this process: nothing but a restart gets at the new ones. */
  exchanged(reason: string): void;
  /** By what runs: see judgeStore. */
  judged(trust: StoreTrust): void;
}

export function createStoreGuard(options: { readonly memory: StoreMemory; readonly log: Logger }): StoreGuard {
  const { memory, log } = options;
  let mark = memory.read();
  let exchangedReason: string | null = null;
  let contradiction: string | null = null;
  let evidence: string | null = null;
  let period = new AbortController();

  function suspicion(): string | null {
    return exchangedReason ?? contradiction ?? evidence;
  }

  /** Runs a change of the reasons and tells of what follows from it. */
  function reconsider(change: () => void): void {
    const before = suspicion();
    change();
    const reason = suspicion();
    if (reason === before) return;
    if (reason === null) {
      period = new AbortController();
      log.info({}, 'the store is trusted again');
      return;
    }
    log.error({ reason, remedy: REMEDY }, 'the store is suspect: nothing is written and no pod is touched');
    period.abort(refusal('period of trust'));
  }

  function refusal(what: string): PodgateError {
    return new PodgateError('store.suspect', { detail: `${what}: refused, ${suspicion() ?? 'the store was suspect'}` });
  }

  function advance(next: StoreMark): void {
    mark = next;
    memory.note(next);
  }

  return {
    mark: () => mark,
    suspicion,
    assertTrusted(what) {
      if (suspicion() !== null) throw refusal(what);
    },
    trusted: () => period.signal,
    compared(presented, verdict, tip) {
      if (verdict !== 'same') {
        reconsider(() => (contradiction = REASONS[verdict]));
        return false;
      }
      // Sent before the mark had come so far: the number it was given belongs to what was seen meanwhile.
      const isTwice =
        mark !== null && mark !== presented && mark.storeId === tip.storeId && mark.commits === tip.commits;
      if (!isTwice || mark?.stamp === '' || mark?.stamp === tip.stamp) return true;
      reconsider(() => (contradiction = REASONS.parted));
      return false;
    },
    saw(presented, tip) {
      if (contradiction !== null || exchangedReason !== null) return;
      if (mark === null) advance({ ...tip, fence: 0 });
      else if (mark.storeId === tip.storeId) {
        const isFurther = tip.commits > mark.commits || (tip.commits === mark.commits && mark.stamp === '');
        if (isFurther && (tip.commits !== mark.commits || tip.stamp !== '')) advance({ ...tip, fence: mark.fence });
      } else if (presented?.storeId === mark.storeId) {
        // The store takes the place of the one that was presented, or its verdict would have been another.
        advance({ ...tip, fence: mark.fence });
      }
    },
    fenceGiven(fence) {
      if (mark !== null && fence > mark.fence) advance({ ...mark, fence });
    },
    verified() {
      reconsider(() => (contradiction = null));
    },
    exchanged(reason) {
      reconsider(() => (exchangedReason = reason));
    },
    judged(trust) {
      reconsider(() => (evidence = trust.kind === 'suspect' ? trust.reason : null));
    },
  };
}

/** Forgets with the process: for a command that runs once, and for tests. */
export function createStoreMemory(mark: StoreMark | null = null): StoreMemory {
  let last = mark;
  return { read: () => last, note: (next) => void (last = next) };
}
