import { listPages, type PageSize } from '../../core/list-all.ts';
import { EVERYONE_INDEX, userIndex } from '../../core/permissions.ts';
import type { RecordKind, Store, Stored } from '../../core/store.ts';
import type { Caller } from '../auth/authenticator.ts';

/**
 * The records of a kind on which the caller has a permission, by name or as one of all users of the tenant: each once, in
 * the order of keys, from those greater than `after`. At most two pages are in memory.
 */
export async function* listShared<K extends RecordKind>(
  store: Pick<Store, 'list'>,
  kind: K,
  { tenant, username }: Caller,
  page: PageSize & { readonly after?: string },
): AsyncGenerator<readonly Stored<K>[]> {
  const pagesOf = (index: string): AsyncGenerator<readonly Stored<K>[]> =>
    listPages(store, kind, { tenant, index, ...page });
  yield* mergePages([pagesOf(userIndex(username)), pagesOf(EVERYONE_INDEX)]);
}

/** One list of several, each in the order of keys: up to the key to which all of them have been read, again and again. */
async function* mergePages<R extends { readonly key: string }>(
  lists: readonly AsyncGenerator<readonly R[]>[],
): AsyncGenerator<readonly R[]> {
  let open = lists.map((pages) => ({ pages, rest: [] as readonly R[] }));
  for (;;) {
    for (const list of open) {
      if (list.rest.length > 0) continue;
      const next = await list.pages.next();
      list.rest = next.done === true ? [] : next.value;
    }
    open = open.filter(({ rest }) => rest.length > 0);
    const ends = open.flatMap(({ rest }) => rest.at(-1)?.key ?? []).sort(byText);
    const [upTo] = ends;
    if (upTo === undefined) return;
    const ready = new Map<string, R>();
    for (const list of open) {
      for (const record of list.rest) if (record.key <= upTo) ready.set(record.key, record);
      list.rest = list.rest.filter(({ key }) => key > upTo);
    }
    yield [...ready.values()].sort((a, b) => byText(a.key, b.key));
  }
}

function byText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
