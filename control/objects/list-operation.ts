import { jsonList } from '../http/json-pieces.ts';
import { type ListDescription, type ListFilter, listPage, listQueryOf } from '../http/list-query.ts';
import type { AuthenticatedCall, JsonPiecesReply } from '../http/operation.ts';

/** Entries that are read at a time. */
const PART = 50;

/** Of objects as they are returned: fields have their names on the wire. */
export function listDescription(
  id: string,
  sorts: readonly string[],
  filters: readonly ListFilter[] = [],
): ListDescription<object> {
  return {
    ...{ id, sorts, filters },
    valuesOf: (entry, field) => {
      const value: unknown = Reflect.get(entry, field);
      return typeof value === 'string' ? value : '';
    },
  };
}

interface ListedObjects {
  readonly description: ListDescription<object>;
  readonly message: string;
  /** Of an entry, as it is in memory. */
  readonly entryBytes: number;
  readonly isInOrder: boolean;
  readonly entries: (afterId: string | undefined) => AsyncIterable<object>;
}

/** The reply to a list operation, in whose query are the parameters of the description. Throws 'api.invalid'. */
export async function replyList(
  call: AuthenticatedCall,
  { description, message, entryBytes, isInOrder, entries }: ListedObjects,
): Promise<JsonPiecesReply> {
  const { parts, metadata } = await listPage(listQueryOf(call.query, description), {
    read: (afterId) => inParts(entries(afterId)),
    isInOrder,
    bytesOf: () => entryBytes,
    hold: (bytes) => call.reserve(bytes),
  });
  return { kind: 'json-pieces', message, metadata, pieces: jsonList(oneByOne(parts)) };
}

async function* inParts<T>(entries: AsyncIterable<T>): AsyncGenerator<readonly T[]> {
  let part: T[] = [];
  for await (const entry of entries) {
    part.push(entry);
    if (part.length < PART) continue;
    yield part;
    part = [];
  }
  yield part;
}

async function* oneByOne<T>(parts: AsyncIterable<readonly T[]> | Iterable<readonly T[]>): AsyncGenerator<T> {
  for await (const part of parts) yield* part;
}
