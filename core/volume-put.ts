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

/** Index entry of what is being deleted: should that be interrupted, it is found and finished. */
export const DELETING_INDEX = 'deleting';

/** One that is being deleted is invisible to its users, and still counts for whoever created it. */
function places({ tenant, permissions, deleting, createdBy }: VolumeRecord): Pick<Put, 'tenant' | 'indexes'> {
  const users = deleting === null ? permissionIndexes(permissions, tenant) : [DELETING_INDEX];
  return { tenant, indexes: [...users, ownerIndex(createdBy)] };
}
