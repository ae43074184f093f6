import type { ListQuery, RecordKind, Store, Stored } from './store.ts';

/** Records in memory at a time, where the reader keeps none. */
const PAGE = 500;

/** Every record of a kind, in the order of keys, a page at a time. */
export async function* listPages<K extends RecordKind>(
  store: Pick<Store, 'list'>,
  kind: K,
  query: Pick<ListQuery, 'tenant' | 'index' | 'after'> & { readonly pageSize?: number } = {},
): AsyncGenerator<readonly Stored<K>[]> {
  const { pageSize: limit = PAGE, after: start, ...rest } = query;
  let after = start;
  for (;;) {
    const page = await store.list(kind, { ...rest, limit, ...(after === undefined ? {} : { after }) });
    yield page;
    after = page.at(-1)?.key;
    if (after === undefined || page.length < limit) return;
  }
}

/** The same, one by one. */
export async function* listAll<K extends RecordKind>(
  store: Pick<Store, 'list'>,
  kind: K,
  query: Pick<ListQuery, 'tenant' | 'index'> = {},
): AsyncGenerator<Stored<K>> {
  for await (const page of listPages(store, kind, query)) yield* page;
}

/** The same, in memory. */
export async function readAll<K extends RecordKind>(
  store: Pick<Store, 'list'>,
  kind: K,
): Promise<readonly Stored<K>[]> {
  const records: Stored<K>[] = [];
  for await (const page of listPages(store, kind)) records.push(...page);
  return records;
}
