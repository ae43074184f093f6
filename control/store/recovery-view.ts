import type { Lock } from '../../core/lock.ts';
import type { LogStore } from '../../core/log-store.ts';
import type { Store } from '../../core/store.ts';

/**
 * A suspect store as an operator's recovery writes to it: what it holds now counts as what was seen, so that it takes
 * writes, and takes no more of them when it is exchanged once again meanwhile.
 */
export interface RecoveryView {
  readonly store: Store;
  readonly lock: Lock;
  readonly logs: LogStore;
}
