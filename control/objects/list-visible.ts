import { listPages } from '../../core/list-all.ts';
import type { RecordTypes, Store } from '../../core/store.ts';
import type { Caller } from '../auth/authenticator.ts';
import { levelOf } from './access.ts';
import { listShared } from './list-shared.ts';
import type { ObjectRecord } from './object-kind.ts';

const PAGE = 50;

/** The kinds of objects that users own and share. */
type VisibleKind = { [K in keyof RecordTypes]: RecordTypes[K] extends ObjectRecord ? K : never }[keyof RecordTypes];

export interface VisibleOptions {
  readonly all: boolean;
  /** Only those whose keys come behind this one. */
  readonly after?: string;
}

/** Those on which the caller has a permission; all of the tenant for an administrator who asks for them. In the order of keys. */
export async function* listVisible<K extends VisibleKind>(
  store: Pick<Store, 'list'>,
  kind: K,
  caller: Caller,
  { all, after }: VisibleOptions,
): AsyncGenerator<RecordTypes[K]> {
  const range = { pageSize: PAGE, ...(after === undefined ? {} : { after }) };
  const pages = all
    ? listPages(store, kind, { tenant: caller.tenant, ...range })
    : listShared(store, kind, caller, range);
  for await (const page of pages) {
    for (const { value } of page) {
      if (value.deleting === null && (all || levelOf(value, caller.username) !== null)) yield value;
    }
  }
}
