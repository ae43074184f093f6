import type { Change, Store } from '../../../core/store.ts';
import { type FeedPlace, isAfter, placeAfter, readAfter } from './feed-place.ts';

export interface PlacedChange {
  readonly place: FeedPlace;
  readonly change: Change;
}

/**
 * Every change behind the place, as it happens, each with its own place. Behind a gap the places are of the store that is
 * there now. Throws what the store throws.
 */
export async function* placedChanges(
  store: Pick<Store, 'changes' | 'identity'>,
  from: FeedPlace,
  signal: AbortSignal,
): AsyncGenerator<PlacedChange> {
  const after = readAfter(from);
  let place: FeedPlace = { ...from, commit: after, position: null };
  for await (const change of store.changes(after, signal)) {
    if (change.kind === 'gap') {
      const { storeId } = await store.identity();
      place = { storeId, commit: change.commit, position: null };
      yield { place, change };
    } else {
      place = placeAfter(place, change.commit);
      if (isAfter(place, from) || place.storeId !== from.storeId) yield { place, change };
    }
  }
}
