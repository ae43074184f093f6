/** A place in the history of a store: behind one of the changes of a commit. */
export interface FeedPlace {
  readonly storeId: string;
  readonly commit: number;
  /** Of the change within its commit, from 0; null = behind all of them. */
  readonly position: number | null;
}

/** So much of a store's id tells two stores apart. */
const STORE_ID_LENGTH = 8;
const TEXT = /^([\w-]{1,8})\.(\d{1,15})(?:\.(\d{1,9}))?$/;

/** As the id of an event. */
export function placeText({ storeId, commit, position }: FeedPlace): string {
  return `${storeId.slice(0, STORE_ID_LENGTH)}.${commit}${position === null ? '' : `.${position}`}`;
}

/** Null for what is no id of an event of this store. */
export function parsePlace(text: string, storeId: string): FeedPlace | null {
  const [, store, commit, position] = TEXT.exec(text) ?? [];
  if (store !== storeId.slice(0, STORE_ID_LENGTH) || commit === undefined) return null;
  return { storeId, commit: Number(commit), position: position === undefined ? null : Number(position) };
}

/** Does `place` come after `other` in the history? */
export function isAfter(place: FeedPlace, other: FeedPlace): boolean {
  if (place.commit !== other.commit) return place.commit > other.commit;
  return (place.position ?? Infinity) > (other.position ?? Infinity);
}

/** The commit after which to read the change feed so that nothing behind the place is missed. */
export function readAfter({ commit, position }: FeedPlace): number {
  return position === null ? commit : commit - 1;
}

/** Counts the changes of each commit as the feed brings them. */
export function placeAfter(last: FeedPlace, commit: number): FeedPlace {
  const position = commit === last.commit && last.position !== null ? last.position + 1 : 0;
  return { ...last, commit, position };
}
