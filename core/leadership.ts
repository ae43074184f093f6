import type { Fence } from './lock.ts';

/** One stretch of leading. */
export interface Term {
  /** Every commit of the term carries it. */
  readonly fence: Fence;
  /** Aborts when the term is over, for whatever reason. */
  readonly signal: AbortSignal;
  /**
   * To be asked before every act: a process that was paused wakes up in the middle of its work, and its timers, which
   * would abort the signal, come later than that.
   */
  isOver(): boolean;
  /** A commit was fenced, say: another leads already. */
  end(reason: string): void;
}

export interface Leadership {
  /** Leads whenever it has the lease, one term after the other, until the signal aborts. */
  run(lead: (term: Term) => Promise<void>, signal: AbortSignal): Promise<void>;
  isLeading(): boolean;
}
