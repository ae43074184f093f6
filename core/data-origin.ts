import { podKey } from './ids.ts';
import { granteesOf } from './permissions.ts';
import type { PodRecord } from './pod.ts';
import type { Store } from './store.ts';
import { type FilesRef, filesRefOf } from './volume.ts';
import { volumeKey } from './volume-put.ts';
import type { WorkloadRef } from './workload-ref.ts';

/** What the data of a new pod is a copy of, as decided at a start. It counts only while the pod has no data of its own. */
export type DataOrigin = {
  /** A sentence on why that may not be copied now, for the user of the new pod; null: it may. */
  readonly refusal: string | null;
} & ({ readonly pod: WorkloadRef } | { readonly snapshot: FilesRef });

/** Null: the pod is no clone. Throws when the store does not answer. */
export async function resolveOrigin(
  store: Pick<Store, 'get'>,
  { tenant, clonedFrom }: Pick<PodRecord, 'tenant' | 'clonedFrom'>,
): Promise<DataOrigin | null> {
  if (clonedFrom === undefined) return null;
  const { podId, snapshotId, uid, by } = clonedFrom;
  if (snapshotId !== undefined) return await resolveSnapshot(store, { tenant, id: snapshotId, uid, by });
  const source = (await store.get('pod', podKey(tenant, podId)))?.value ?? null;
  const isThere = source !== null && source.uid === uid && source.deleting === null;
  const refusal =
    isThere && mayClone(source, by) ? null : `There is no pod ${podId} any more that ${by} may clone: USER is needed.`;
  return { pod: { tenant, podId, uid }, refusal };
}

async function resolveSnapshot(
  store: Pick<Store, 'get'>,
  { by, ...ref }: Omit<FilesRef, 'kind'> & { readonly by: string },
): Promise<DataOrigin> {
  const record = (await store.get('snapshot', volumeKey(ref.tenant, ref.id)))?.value ?? null;
  const isThere = record !== null && record.uid === ref.uid && record.deleting === null;
  const isUsable = isThere && record.status === 'AVAILABLE' && mayClone(record, by);
  return {
    snapshot: isThere ? filesRefOf(record) : { kind: 'snapshot', ...ref },
    refusal: isUsable ? null : `There is no snapshot ${ref.id} any more that ${by} may clone: USER is needed.`,
  };
}

/**
 * USER on a pod or a snapshot of its data, by a permission of their own: the data is copied after the call, when no token
 * is there. USER can read the credentials of the pod, and with them everything in it.
 */
export function mayClone(
  { permissions, tenant }: Pick<PodRecord, 'permissions' | 'tenant'>,
  username: string,
): boolean {
  return granteesOf(tenant, username).some((grantee) => {
    const level = Object.hasOwn(permissions, grantee) ? permissions[grantee] : undefined;
    return level === 'USER' || level === 'ADMIN';
  });
}
