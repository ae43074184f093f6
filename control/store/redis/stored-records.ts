import type { RecordKind, Stored, Tombstone } from '../../../core/store.ts';
import { decodeRecord, encodeRecord, recordKind, type RecordSchemas } from '../record-schema.ts';
import type { RecordTypes } from '../../../core/store.ts';
import { numberIn, splitAtSpace } from './redis-reply.ts';

/** Name of a record in the hashes of the store. Kinds hold no space. */
export function fieldOf(kind: RecordKind, key: string): string {
  return `${kind} ${key.toWellFormed()}`;
}

/** "<schema> <json>", as a put and the change feed have it. */
export function valueText<K extends RecordKind>(schemas: RecordSchemas, kind: K, value: RecordTypes[K]): string {
  const { schema, json } = encodeRecord(schemas, kind, value);
  return `${schema} ${json}`;
}

export function parseValue<K extends RecordKind>(schemas: RecordSchemas, kind: K, key: string, text: string) {
  const [schema, json] = splitAtSpace(text);
  return decodeRecord(schemas, kind, key, { schema: numberIn(schema), json });
}

/** From "<revision> <schema> <json>". */
export function parseRecord<K extends RecordKind>(
  schemas: RecordSchemas,
  kind: K,
  key: string,
  text: string,
): Stored<K> {
  const [revision, value] = splitAtSpace(text);
  return { kind, key, revision: numberIn(revision), value: parseValue(schemas, kind, key, value) };
}

/** From "<revision> <uid>". */
export function parseTombstone(kind: RecordKind, key: string, text: string): Tombstone {
  const [revision, uid] = splitAtSpace(text);
  return { kind, key, uid, revision: numberIn(revision) };
}

/** From the name of a record: which, also of kinds that only a newer release knows. */
export function parseField(schemas: RecordSchemas, field: string): { readonly kind: RecordKind; readonly key: string } {
  const [kind, key] = splitAtSpace(field);
  return { kind: recordKind(schemas, kind), key };
}

/**
 * What the members of one list begin with, before the key. Texts carry their length in bytes, so that none of these is
 * the beginning of another's.
 */
export function listPrefix(kind: RecordKind, tenant: string | undefined, index: string | undefined): string {
  if (index === undefined) return tenant === undefined ? `${kind} all ` : `${kind} tenant ${withLength(tenant)}`;
  const named = withLength(index);
  return tenant === undefined ? `${kind} index ${named}` : `${kind} both ${withLength(tenant)}${named}`;
}

function withLength(text: string): string {
  const wellFormed = text.toWellFormed();
  return `${Buffer.byteLength(wellFormed)}:${wellFormed}`;
}

/** A record's members of the sorted set `lists`. */
export function placesOf(kind: RecordKind, key: string, tenant: string, indexes: readonly string[]): readonly string[] {
  const prefixes = [
    listPrefix(kind, undefined, undefined),
    listPrefix(kind, tenant, undefined),
    ...[...new Set(indexes)].flatMap((index) => [listPrefix(kind, undefined, index), listPrefix(kind, tenant, index)]),
  ];
  return prefixes.map((prefix) => prefix + key.toWellFormed());
}
