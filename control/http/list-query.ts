import { z } from 'zod';

import { PodgateError } from '../../core/errors.ts';
import type { QueryParameter } from './operation.ts';

const LIMIT_MAX = 500;
/** Of a list that is sorted, unless told: it is put in order in memory. */
const SORTED_LIMIT = 100;
const CURSOR_MAX_LENGTH = 1_024;
const VALUE_MAX_LENGTH = 255;

export interface ListFilter {
  /** Of the query parameter. */
  readonly name: string;
  readonly description: string;
  readonly schema?: z.ZodType;
}

/** What a list can be sorted and filtered by. */
export interface ListDescription<T> {
  /** Name of the field that identifies an entry. */
  readonly id: string;
  /** Names of further fields to sort by. Their values are compared as texts. */
  readonly sorts: readonly string[];
  /** An entry is in the list if its value is the one asked for. */
  readonly filters: readonly ListFilter[];
  /** Of a field named above: one value, or several of which each will do. */
  readonly valuesOf: (entry: T, field: string) => string | readonly string[];
}

/** The end of a page: what comes behind it is the next one. */
interface Place {
  readonly value: string;
  readonly id: string;
}

export interface ListQuery<T> {
  /** Null = all of it: what clients of the Tapis API expect. */
  readonly limit: number | null;
  readonly description: ListDescription<T>;
  readonly sort: string;
  readonly isDescending: boolean;
  readonly after: Place | null;
  readonly isWanted: (entry: T) => boolean;
}

/** Where a list comes from. */
export interface ListSource<T> {
  /** All entries whose ids come behind this one, some at a time. */
  readonly read: (afterId: string | undefined) => AsyncIterable<readonly T[]>;
  /** They come in the order of ids. Otherwise `read` is asked for all. */
  readonly isInOrder: boolean;
  /** Of an entry in memory. */
  readonly bytesOf: (entry: T) => number;
  /** Called with the size of all entries of the page so far: throws when it is too much. */
  readonly hold: (bytes: number) => void;
}

export interface ListPage<T> {
  readonly parts: AsyncIterable<readonly T[]> | readonly (readonly T[])[];
  readonly metadata: { readonly next_cursor?: string | null };
}

export function listParameters<T>({ id, sorts, filters }: ListDescription<T>): readonly QueryParameter[] {
  return [
    {
      name: 'limit',
      description: `At most so many, 1 to ${LIMIT_MAX}; metadata.next_cursor then says where to go on. Default: all, or ${SORTED_LIMIT} of a list with sort or order.`,
      schema: z.int().min(1).max(LIMIT_MAX),
    },
    { name: 'cursor', description: 'metadata.next_cursor of the page before, with the same sort and order.' },
    { name: 'sort', description: `Default: ${id}.`, schema: z.enum([id, ...sorts]) },
    { name: 'order', description: 'Default: asc.', schema: z.enum(['asc', 'desc']) },
    { name: 'prefix', description: `Only entries whose ${id} begins with this.` },
    ...filters,
  ];
}

/** Throws 'api.invalid'. */
export function listQueryOf<T>(query: URLSearchParams, description: ListDescription<T>): ListQuery<T> {
  const { id, sorts, filters, valuesOf } = description;
  const sort = oneOf(query, 'sort', [id, ...sorts]) ?? id;
  const isDescending = oneOf(query, 'order', ['asc', 'desc']) === 'desc';
  const isSorted = query.has('sort') || query.has('order');
  const prefix = textOf(query, 'prefix') ?? '';
  const wanted = filters.flatMap(({ name, schema }) => {
    const value = textOf(query, name);
    if (value === null) return [];
    if (schema !== undefined && !schema.safeParse(value).success) {
      throw invalid(
        `${name}: ${schema instanceof z.ZodEnum ? `must be one of ${schema.options.join(', ')}` : 'is not valid'}`,
      );
    }
    return [{ name, value }];
  });
  return {
    limit: limitOf(query) ?? (isSorted ? SORTED_LIMIT : null),
    ...{ description, sort, isDescending },
    after: placeOf(query, { id, sort, isDescending }),
    isWanted: (entry) =>
      oneValue(valuesOf(entry, id)).startsWith(prefix) &&
      wanted.every(({ name, value }) => [valuesOf(entry, name)].flat().includes(value)),
  };
}

/**
 * The part of the list that is asked for. In the order of ids it is read from the source as it is, as far as needed.
 * Otherwise all of the list is read, and the entries of the page, `limit` at most, are in memory.
 */
export async function listPage<T>(query: ListQuery<T>, source: ListSource<T>): Promise<ListPage<T>> {
  const { limit, sort, isDescending, description, after } = query;
  const isPlain = sort === description.id && !isDescending;
  if (isPlain && limit === null && (source.isInOrder || after === null)) {
    return { parts: wantedOf(source.read(after?.id), query), metadata: {} };
  }
  return isPlain && source.isInOrder ? await firstOf(query, source) : await sortedOf(query, source);
}

async function* wantedOf<T>(
  parts: AsyncIterable<readonly T[]>,
  { isWanted }: ListQuery<T>,
): AsyncGenerator<readonly T[]> {
  for await (const part of parts) yield part.filter(isWanted);
}

async function firstOf<T>(query: ListQuery<T>, { read, bytesOf, hold }: ListSource<T>): Promise<ListPage<T>> {
  const { limit, after } = query;
  const page: T[] = [];
  let bytes = 0;
  for await (const part of wantedOf(read(after?.id), query)) {
    if (part.length === 0) continue;
    const left = (limit ?? Infinity) - page.length;
    if (left > 0) {
      const taken = part.slice(0, left);
      page.push(...taken);
      hold((bytes += taken.reduce((sum, entry) => sum + bytesOf(entry), 0)));
    }
    if (part.length > left) return pageOf(page, query, true);
  }
  return pageOf(page, query, false);
}

async function sortedOf<T>(query: ListQuery<T>, { read, bytesOf, hold }: ListSource<T>): Promise<ListPage<T>> {
  const { limit, after } = query;
  const most = limit ?? Infinity;
  const page: { readonly place: Place; readonly entry: T; readonly bytes: number }[] = [];
  let held = 0;
  let hasMore = false;
  for await (const part of wantedOf(read(undefined), query)) {
    for (const entry of part) {
      const place = placeIn(query, entry);
      if (after !== null && !isBehind(query, place, after)) continue;
      const last = page.at(-1);
      if (page.length >= most && last !== undefined) {
        hasMore = true;
        if (isBehind(query, place, last.place)) continue;
        page.pop();
        held -= last.bytes;
      }
      const bytes = bytesOf(entry);
      page.splice(indexFor(query, page, place), 0, { place, entry, bytes });
      hold((held += bytes));
    }
  }
  return pageOf(
    page.map(({ entry }) => entry),
    query,
    hasMore,
  );
}

function pageOf<T>(page: readonly T[], query: ListQuery<T>, hasMore: boolean): ListPage<T> {
  const last = page.at(-1);
  if (query.limit === null) return { parts: [page], metadata: {} };
  return { parts: [page], metadata: { next_cursor: hasMore && last !== undefined ? cursorOf(query, last) : null } };
}

/** The first index whose entry comes behind this place. */
function indexFor<T>(query: ListQuery<T>, page: readonly { readonly place: Place }[], place: Place): number {
  let [low, high] = [0, page.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    const other = page[middle]?.place ?? place;
    if (isBehind(query, other, place)) high = middle;
    else low = middle + 1;
  }
  return low;
}

function isBehind<T>({ isDescending }: ListQuery<T>, place: Place, other: Place): boolean {
  const [a, b] = place.value === other.value ? [place.id, other.id] : [place.value, other.value];
  return isDescending ? a < b : a > b;
}

function placeIn<T>({ description, sort }: ListQuery<T>, entry: T): Place {
  const { id, valuesOf } = description;
  return { value: oneValue(valuesOf(entry, sort)), id: oneValue(valuesOf(entry, id)) };
}

/** Opaque to clients. */
function cursorOf<T>(query: ListQuery<T>, entry: T): string {
  const { value, id } = placeIn(query, entry);
  const { sort, isDescending, description } = query;
  const isPlain = sort === description.id && !isDescending;
  return Buffer.from(isPlain ? id : JSON.stringify([sort, isDescending, value, id])).toString('base64url');
}

function placeOf(
  query: URLSearchParams,
  of: { readonly id: string; readonly sort: string; readonly isDescending: boolean },
): Place | null {
  const cursor = query.get('cursor');
  if (cursor === null) return null;
  const text = cursor.length > CURSOR_MAX_LENGTH ? '' : Buffer.from(cursor, 'base64url').toString('utf8');
  if (text === '' || Buffer.from(text).toString('base64url') !== cursor) throw invalidCursor();
  if (of.sort === of.id && !of.isDescending) {
    if (text.startsWith('[')) throw invalidCursor();
    return { value: text, id: text };
  }
  const parts = SortedCursor.safeParse(parsed(text));
  if (!parts.success || parts.data[0] !== of.sort || parts.data[1] !== of.isDescending) throw invalidCursor();
  return { value: parts.data[2], id: parts.data[3] };
}

const SortedCursor = z.tuple([z.string(), z.boolean(), z.string(), z.string()]);

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

function limitOf(query: URLSearchParams): number | null {
  const text = query.get('limit');
  if (text === null) return null;
  const limit = /^\d{1,4}$/.test(text) ? Number(text) : 0;
  if (limit >= 1 && limit <= LIMIT_MAX) return limit;
  throw invalid(`limit: must be a whole number from 1 to ${LIMIT_MAX}`);
}

function oneOf(query: URLSearchParams, name: string, values: readonly string[]): string | null {
  const value = query.get(name);
  if (value === null || values.includes(value)) return value;
  throw invalid(`${name}: must be one of ${values.join(', ')}`);
}

function textOf(query: URLSearchParams, name: string): string | null {
  const value = query.get(name);
  if (value === null || (value !== '' && value.length <= VALUE_MAX_LENGTH)) return value;
  throw invalid(`${name}: must have 1 to ${VALUE_MAX_LENGTH} characters`);
}

function oneValue(values: string | readonly string[]): string {
  return typeof values === 'string' ? values : (values[0] ?? '');
}

function invalidCursor(): PodgateError {
  return invalid('cursor: must be the next_cursor of a page with the same sort and order');
}

function invalid(sentence: string): PodgateError {
  return new PodgateError('api.invalid', { publicMessages: [sentence] });
}
