import { expect, it } from 'vitest';
import { listPages } from '../../../core/list-all.ts';
import type { Listed, ListQuery, Store } from '../../../core/store.ts';

/** Keys of one letter; each record has ten bytes. */
function storeOf(keys: string, calls: ListQuery[]): Pick<Store, 'list'> {
  return {
    list: (kind, query) => {
      calls.push(query);
      const { after = '', limit, maxBytes = Infinity } = query;
      const left = [...keys].filter((key) => key > after);
      const page = left.slice(0, Math.min(limit, Math.ceil(maxBytes / 10)));
      return Promise.resolve(page.map((key) => ({ kind, key, revision: 1, bytes: 10 }) as Listed<typeof kind>));
    },
  };
}

async function pagesOf(keys: string, size: { readonly pageSize?: number; readonly pageBytes?: number }) {
  const calls: ListQuery[] = [];
  const pages: string[] = [];
  for await (const page of listPages(storeOf(keys, calls), 'pod', size))
    pages.push(page.map(({ key }) => key).join(''));
  return { pages, reads: calls.length };
}

it('a list is read page by page, as large as either bound allows, and no further than to a page that fills neither', async () => {
  expect(await pagesOf('', {})).toEqual({ pages: [''], reads: 1 });
  expect(await pagesOf('abc', {})).toEqual({ pages: ['abc'], reads: 1 });
  expect(await pagesOf('abcde', { pageSize: 2 })).toEqual({ pages: ['ab', 'cd', 'e'], reads: 3 });
  expect(await pagesOf('abcde', { pageSize: 4, pageBytes: 15 })).toEqual({ pages: ['ab', 'cd', 'e'], reads: 3 });
  expect(await pagesOf('abcd', { pageSize: 4, pageBytes: 20 })).toEqual({ pages: ['ab', 'cd', ''], reads: 3 });
  expect(await pagesOf('abc', { pageBytes: 1 })).toEqual({ pages: ['a', 'b', 'c', ''], reads: 4 });
});
