import type { Store } from '../../../core/store.ts';
import type { Caller } from '../../auth/authenticator.ts';
import type { ObjectKind, ObjectRecord } from '../object-kind.ts';
import { auditChanges } from './audit-changes.ts';
import { type AuditedObject, type AuditWrites, auditWrites } from './audit-writes.ts';

/** A change of an object; null = it is not there. One that is marked as deleting counts as gone. */
export interface ObjectAct<R> {
  readonly caller: Caller;
  readonly atMs: number;
  readonly before: R | null;
  readonly after: R | null;
}

/** What belongs into the commit of this change. */
export async function auditObject<R extends ObjectRecord>(
  kind: ObjectKind<R>,
  store: Pick<Store, 'get'>,
  { caller, atMs, before, after }: ObjectAct<R>,
): Promise<AuditWrites> {
  const record = after ?? before;
  if (record === null) return { puts: [], deletes: [] };
  const isDeletion = after === null || (after.deleting !== null && before?.deleting === null);
  const changes = auditChanges(fieldsOf(kind, before), isDeletion ? null : fieldsOf(kind, after));
  return await auditWrites(store, auditedObject(kind, record), { caller, atMs, changes, isDeletion });
}

export function auditedObject<R extends ObjectRecord>(kind: ObjectKind<R>, record: R): AuditedObject {
  const { uid, tenant, createdBy, permissions } = record;
  const readers = Object.keys(permissions).filter((user) => permissions[user] === 'ADMIN');
  return { kind: kind.noun, id: kind.idOf(record), uid, tenant, createdBy, readers };
}

function fieldsOf<R extends ObjectRecord>(kind: ObjectKind<R>, record: R | null) {
  return record === null ? null : { ...kind.audited(record), permissions: { ...record.permissions } };
}
