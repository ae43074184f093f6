import type { ListQuery, RecordKind, Store, Stored } from './store.ts';

/** Records in memory at a time, where the reader keeps none; fewer when they are large, as those of a user can be. */
const PAGE = 500;
const PAGE_BYTES = 1024 * 1024;

export interface PageSize {
  readonly pageSize?: number;
  readonly pageBytes?: number;
}

/** Every record of a kind, in the order of keys, a page at a time: at most `pageSize` records of about `pageBytes`. */
export async function* listPages<K extends RecordKind>(
  store: Pick<Store, 'list'>,
  kind: K,
  query: Pick<ListQuery, 'tenant' | 'index' | 'after'> & PageSize = {},
): AsyncGenerator<readonly Stored<K>[]> {
  const { pageSize: limit = PAGE, pageBytes: maxBytes = PAGE_BYTES, after: start, ...rest } = query;
  let after = start;
  for (;;) {
    const page = await store.list(kind, { ...rest, limit, maxBytes, ...(after === undefined ? {} : { after }) });
    yield page;
    after = page.at(-1)?.key;
    const isFull = page.length >= limit || page.reduce((sum, { bytes }) => sum + bytes, 0) >= maxBytes;
    if (after === undefined || !isFull) return;
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
