import { PodgateError } from '../../core/errors.ts';
import type { PodRecord } from '../../core/pod.ts';
import type { RecordKind, RecordTypes } from '../../core/store.ts';

/** How one kind of record is written now, and how what older releases wrote becomes it. */
export interface RecordSchema {
  readonly version: number;
  /**
   * From each older version (the key) to the next one. Values are parsed JSON. What has the newer shape already stays
   * as it is: records in workloads' annotations carry no version.
   */
  readonly upgrades: Readonly<Record<number, (value: unknown) => unknown>>;
}
export type RecordSchemas = Readonly<Record<RecordKind, RecordSchema>>;

/** Version 1 knew no volume mounts. */
function withVolumeMounts(value: unknown): unknown {
  const record = value as { readonly spec: object; readonly applied: { readonly spec: object } | null };
  const completed = (spec: object): object => ({ volumeMounts: [], ...spec });
  return {
    ...record,
    spec: completed(record.spec),
    applied: record.applied === null ? null : { ...record.applied, spec: completed(record.applied.spec) },
  };
}

/** A change of a record's type that old records do not satisfy raises the version and adds an upgrade. */
export const RECORD_SCHEMAS: RecordSchemas = {
  // 3: values of environment variables may be sealed. Those that are not stay as they are, until the health loop comes.
  pod: { version: 3, upgrades: { 1: withVolumeMounts, 2: (value) => value } },
  credential: { version: 1, upgrades: {} },
  certificate: { version: 1, upgrades: {} },
  'acme-account': { version: 1, upgrades: {} },
  'certificate-budget': { version: 1, upgrades: {} },
  challenge: { version: 1, upgrades: {} },
  'challenge-text': { version: 1, upgrades: {} },
  usage: { version: 1, upgrades: {} },
  'kept-volume': { version: 1, upgrades: {} },
  // 2: its files may have another uid than its own.
  volume: { version: 2, upgrades: { 1: (value) => value } },
  // 2: it may be of the data of a pod, whose files are not shown.
  snapshot: { version: 2, upgrades: { 1: (value) => value } },
  secret: { version: 1, upgrades: {} },
  template: { version: 1, upgrades: {} },
  'template-tag': { version: 1, upgrades: {} },
  image: { version: 1, upgrades: {} },
  audit: { version: 1, upgrades: {} },
};

/** A record as a store keeps it: JSON with the version it was written in. */
export interface EncodedRecord {
  readonly schema: number;
  readonly json: string;
}

export function encodeRecord<K extends RecordKind>(
  schemas: RecordSchemas,
  kind: K,
  value: RecordTypes[K],
): EncodedRecord {
  return { schema: schemas[kind].version, json: JSON.stringify(value) };
}

/**
 * The record in today's shape. Throws PodgateError 'store.unavailable' for what a newer release wrote: guessing at
 * fields this release does not know would lose them at the next write.
 */
export function decodeRecord<K extends RecordKind>(
  schemas: RecordSchemas,
  kind: K,
  key: string,
  { schema, json }: EncodedRecord,
): RecordTypes[K] {
  const { version, upgrades } = schemas[kind];
  if (schema > version) {
    throw unreadable(`The ${kind} record ${key} was written by a newer release (version ${schema}, here ${version}).`);
  }
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch {
    // Without the cause: V8 quotes the text in its message, and records hold what users wrote.
    throw unreadable(`The ${kind} record ${key} is not JSON.`);
  }
  for (let from = schema; from < version; from++) {
    const upgrade = upgrades[from];
    if (upgrade === undefined) throw unreadable(`The ${kind} record ${key} has version ${schema}: too old to upgrade.`);
    value = upgrade(value);
  }
  return value as RecordTypes[K];
}

/**
 * A pod's record as it stands in the annotations of its workload, in today's shape; null for what is none. It was written
 * by some release, perhaps cut or changed by others since: only what a record must have is believed.
 */
export function recordOfAnnotation(text: string, schemas: RecordSchemas = RECORD_SCHEMAS): PodRecord | null {
  const { version, upgrades } = schemas.pod;
  try {
    let value: unknown = JSON.parse(text);
    for (let from = 1; from < version; from++) value = upgrades[from]?.(value) ?? value;
    return isPodRecord(value) ? value : null;
  } catch {
    return null;
  }
}

function isPodRecord(value: unknown): value is PodRecord {
  const hasTypes = (object: unknown, types: Readonly<Record<string, string>>): object is object =>
    typeof object === 'object' &&
    object !== null &&
    Object.entries(types).every(([name, type]) => typeof (object as Readonly<Record<string, unknown>>)[name] === type);
  const TEXTS = { uid: 'string', tenant: 'string', podId: 'string', createdBy: 'string', wish: 'string' };
  const NUMBERS = { generation: 'number', run: 'number', createdAtMs: 'number' };
  return (
    hasTypes(value, { ...TEXTS, ...NUMBERS, spec: 'object', permissions: 'object', applied: 'object' }) &&
    'spec' in value &&
    hasTypes(value.spec, { template: 'string', networking: 'object', resources: 'object' })
  );
}

/** `kind` comes from the store: a newer release may have written kinds that this one does not know. */
export function recordKind(schemas: RecordSchemas, kind: string): RecordKind {
  if (!Object.hasOwn(schemas, kind)) throw unreadable(`The store holds a record of the unknown kind ${kind}.`);
  return kind as RecordKind;
}

function unreadable(detail: string): PodgateError {
  return new PodgateError('store.unavailable', { detail });
}
