import { permissionIndexes } from './permissions.ts';
import { ownerIndex } from './pod-put.ts';
import type { Expected, Put } from './store.ts';
import { restorationOf, type SnapshotRecord, type VolumeRecord } from './volume.ts';

/** Key of a volume or of a snapshot. */
export function volumeKey(tenant: string, id: string): string {
  return `${tenant}/${id}`;
}

export function volumePut(record: VolumeRecord, expected: Expected): Put {
  const { tenant, indexes } = places(record);
  const isRestoring = record.deleting === null && restorationOf(record) !== null;
  return {
    kind: 'volume',
    key: volumeKey(record.tenant, record.volumeId),
    expected,
    value: record,
    tenant,
    indexes: [...indexes, ...(isRestoring ? [RESTORING_INDEX] : [])],
  };
}

/** Index entry of volumes whose files are being replaced by those of a snapshot. */
export const RESTORING_INDEX = 'restoring';

/** Index entry of snapshots that have a schedule. */
export const SCHEDULE_INDEX = 'schedule';
/** Index entry of snapshots whose files are being copied. */
export const CREATING_INDEX = 'creating';

/** Index entry of the snapshots that the schedule of another has made. */
export function scheduledByIndex(snapshotId: string): string {
  return `scheduled-by:${snapshotId}`;
}

/** Index entry of the snapshots of the data of a pod, by its uid. */
export function podSnapshotIndex(uid: string): string {
  return `of-pod:${uid}`;
}

export function snapshotPut(record: SnapshotRecord, expected: Expected): Put {
  const { tenant, snapshotId, deleting, cron, status, scheduledBy, sourcePod } = record;
  const { indexes } = places(record);
  const work = [
    ...(cron === '' ? [] : [SCHEDULE_INDEX]),
    ...(status === 'CREATING' ? [CREATING_INDEX] : []),
    ...(scheduledBy === null ? [] : [scheduledByIndex(scheduledBy)]),
    ...(sourcePod === undefined ? [] : [podSnapshotIndex(sourcePod.uid)]),
  ];
  return {
    kind: 'snapshot',
    key: volumeKey(tenant, snapshotId),
    expected,
    value: record,
    tenant,
    indexes: [...indexes, ...(deleting === null ? work : [])],
  };
}

/** Index entry of what is being deleted: should that be interrupted, it is found and finished. */
export const DELETING_INDEX = 'deleting';

/** A volume that is being deleted is invisible to its users, but still counts for its creator. */
function places({
  tenant,
  permissions,
  deleting,
  createdBy,
}: VolumeRecord | SnapshotRecord): Pick<Put, 'tenant' | 'indexes'> {
  const users = deleting === null ? permissionIndexes(permissions, tenant) : [DELETING_INDEX];
  return { tenant, indexes: [...users, ownerIndex(createdBy)] };
}
