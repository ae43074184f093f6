import { podKey } from './ids.ts';
import { permissionIndexes } from './permissions.ts';
import type { PodRecord } from './pod.ts';
import type { Expected, Put } from './store.ts';

/** Index entry of the pods a user has created: they count against that user's quota, whoever may use them. */
export function ownerIndex(username: string): string {
  return `owner:${username}`;
}

/**
 * The one way to write a pod record, for the API, the health loop and the spawner alike: a put replaces the index
 * entries, so that a writer who made them differently would hide the pod from its users. A pod being deleted has none of them:
 * it is invisible to its users, and still counts for whoever created it.
 */
export function podPut(record: PodRecord, expected: Expected): Put {
  const users = record.deleting === null ? permissionIndexes(record.permissions, record.tenant) : [];
  return {
    kind: 'pod',
    key: podKey(record.tenant, record.podId),
    expected,
    value: record,
    tenant: record.tenant,
    indexes: [...users, ownerIndex(record.createdBy)],
  };
}
