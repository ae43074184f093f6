import { PodgateError } from '../../core/errors.ts';
import { judgeStore, type StoreTrust } from '../../core/lifecycle/clean-up.ts';
import type { Store, StoreIdentity } from '../../core/store.ts';
import type { LastSeenStore, StoreJudge } from './store-judge.ts';

export interface TrustedStoreOptions {
  readonly store: Store;
  readonly judge: Pick<StoreJudge, 'trust'>;
  readonly lastSeen: Pick<LastSeenStore, 'read'>;
}

/**
 * The store for whoever takes orders: it reads as ever, and refuses commits while the store is suspect. They would raise
 * the counter of a restored copy until it looks newer than what runs, and be lost when the right store comes back. Looks
 * at the identity itself, since the last judgement may be from before the copy was put in place.
 */
export function createTrustedStore({ store, judge, lastSeen }: TrustedStoreOptions): Store {
  /** By our own commits, which are ahead of what is noted once in a pass. */
  let newest: StoreIdentity | null = null;

  async function trust(): Promise<StoreTrust> {
    const judged = judge.trust();
    if (judged?.kind === 'suspect') return judged;
    // Read first: others commit while the identity is on its way, and it may be behind what they note meanwhile.
    const known = [lastSeen.read(), newest];
    const identity = await store.identity();
    for (const seen of known) {
      const found = judgeStore(identity, seen, []);
      if (found.kind === 'suspect') return found;
    }
    if (newest?.storeId !== identity.storeId || newest.commits < identity.commits) newest = identity;
    return { kind: 'healthy' };
  }

  return {
    get: (kind, key) => store.get(kind, key),
    tombstone: (kind, key) => store.tombstone(kind, key),
    list: (kind, query) => store.list(kind, query),
    changes: (after, signal) => store.changes(after, signal),
    identity: () => store.identity(),
    adopt: (adoption) => store.adopt(adoption),
    async commit(batch) {
      const found = await trust();
      if (found.kind === 'suspect') throw suspect(found.reason);
      const result = await store.commit(batch);
      if (result.kind === 'committed' && newest !== null && result.commit > newest.commits) {
        newest = { ...newest, commits: result.commit };
      }
      return result;
    },
  };
}

function suspect(reason: string): PodgateError {
  return new PodgateError('store.unavailable', {
    publicMessages: [
      'The store is suspect: nothing can be changed until the operator has looked at it. What runs goes on.',
    ],
    detail: `refused while the store is suspect: ${reason}`,
  });
}
