import { randomBytes } from 'node:crypto';

import { type AuditChange, type AuditEntry, auditKey, type AuditRecord, deletedAuditKey } from '../../../core/audit.ts';
import { auditPut } from '../../../core/audit-put.ts';
import type { Delete, Put, Store, Stored } from '../../../core/store.ts';
import type { Caller } from '../../auth/authenticator.ts';

/** Of one object, and of all deleted objects that one user had created. */
const OBJECT_BOUNDS = { entries: 50, bytes: 32 * 1024 };
const DELETED_BOUNDS = { entries: 200, bytes: 64 * 1024 };
const AGE_MAX_MS = 90 * 24 * 60 * 60 * 1000;

/** The object that is changed. */
export interface AuditedObject {
  readonly kind: string;
  readonly id: string;
  readonly uid: string;
  readonly tenant: string;
  readonly createdBy: string;
  /** Users who may read what was done to it, from now on. */
  readonly readers: readonly string[];
}

export interface AuditWrites {
  readonly puts: readonly Put[];
  readonly deletes: readonly Delete[];
}

export interface AuditedAct {
  readonly caller: Caller;
  readonly atMs: number;
  readonly changes: readonly AuditChange[];
  /** The object goes: what is known of it moves to what is kept of its creator's deleted objects. */
  readonly isDeletion: boolean;
}

/**
 * What belongs into the commit of a change, so that there is no change without its entry. Entries that are too many, too
 * large or too old go. To be computed anew for each attempt.
 */
export async function auditWrites(
  store: Pick<Store, 'get'>,
  object: AuditedObject,
  { caller, atMs, changes, isDeletion }: AuditedAct,
): Promise<AuditWrites> {
  const { uid, tenant, createdBy } = object;
  const key = auditKey(tenant, uid);
  const stored = await store.get('audit', key);
  const former = stored?.value.entries ?? [];
  const entries = [...former, { ...entryOf(object, caller, atMs, changes), id: idAfter(former.at(-1), atMs) }];
  if (!isDeletion) {
    const kept = keptOf(entries, atMs, OBJECT_BOUNDS);
    const record: AuditRecord = { uid, tenant, readers: object.readers, entries: kept };
    return { puts: [auditPut(key, record, stored?.revision ?? 'absent')], deletes: [] };
  }
  const deletedKey = deletedAuditKey(tenant, createdBy);
  const deleted = await store.get('audit', deletedKey);
  const record: AuditRecord = {
    ...{ uid: deletedKey, tenant, readers: [createdBy] },
    entries: keptOf([...(deleted?.value.entries ?? []), ...entries], atMs, DELETED_BOUNDS),
  };
  return {
    puts: [auditPut(deletedKey, record, deleted?.revision ?? 'absent')],
    deletes: removalOf(stored),
  };
}

/** For the commit that removes an object: what was not moved, since no user has deleted it, goes with it. */
export async function auditRemoval(
  store: Pick<Store, 'get'>,
  { tenant, uid }: Pick<AuditedObject, 'tenant' | 'uid'>,
): Promise<readonly Delete[]> {
  return removalOf(await store.get('audit', auditKey(tenant, uid)));
}

function removalOf(stored: Stored<'audit'> | null): readonly Delete[] {
  if (stored === null) return [];
  return [{ kind: 'audit', key: stored.key, expected: stored.revision, uid: stored.value.uid }];
}

/** Deletions of what one user has created write one record: within this process, one after the other. */
export function deletionLane({ tenant, createdBy }: Pick<AuditedObject, 'tenant' | 'createdBy'>): string {
  return `audit ${deletedAuditKey(tenant, createdBy)}`;
}

/** Those that may still be read. */
export function currentEntries(entries: readonly AuditEntry[], nowMs: number): readonly AuditEntry[] {
  return entries.filter(({ atMs }) => atMs > nowMs - AGE_MAX_MS);
}

function entryOf(
  object: AuditedObject,
  caller: Caller,
  atMs: number,
  changes: readonly AuditChange[],
): Omit<AuditEntry, 'id'> {
  const { origin, username, service = null } = caller;
  return {
    ...{ atMs, user: username, service, changes },
    operation: origin?.operationId ?? '',
    requestId: origin?.requestId ?? '',
    address: origin?.address ?? '',
    ...{ objectKind: object.kind, objectId: object.id, objectUid: object.uid },
  };
}

/** Behind the one before, though both may be of the same millisecond. */
function idAfter(before: AuditEntry | undefined, atMs: number): string {
  const placeMs = Math.max(atMs, before === undefined ? 0 : Number.parseInt(before.id, 10) + 1);
  return `${String(placeMs).padStart(15, '0')}-${randomBytes(6).toString('hex')}`;
}

/** The newest of them, within the bounds. The very newest is always there. */
function keptOf(
  entries: readonly AuditEntry[],
  nowMs: number,
  bounds: { readonly entries: number; readonly bytes: number },
): readonly AuditEntry[] {
  const kept: AuditEntry[] = [];
  let bytes = 0;
  for (const entry of currentEntries(entries, nowMs).toReversed()) {
    bytes += Buffer.byteLength(JSON.stringify(entry));
    if (kept.length > 0 && (kept.length === bounds.entries || bytes > bounds.bytes)) break;
    kept.unshift(entry);
  }
  return kept;
}
