import { permissionIndexes } from './permissions.ts';
import { ownerIndex } from './pod-put.ts';
import type { Expected, Put } from './store.ts';
import type { VolumeRecord } from './volume.ts';

export function volumeKey(tenant: string, id: string): string {
  return `${tenant}/${id}`;
}

export function volumePut(record: VolumeRecord, expected: Expected): Put {
  return { kind: 'volume', key: volumeKey(record.tenant, record.volumeId), expected, value: record, ...places(record) };
}

/** One that is being deleted is invisible to its users, and still counts for whoever created it. */
function places({ tenant, permissions, deleting, createdBy }: VolumeRecord): Pick<Put, 'tenant' | 'indexes'> {
  const users = deleting === null ? permissionIndexes(permissions, tenant) : [];
  return { tenant, indexes: [...users, ownerIndex(createdBy)] };
}
