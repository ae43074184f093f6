import { granteesOf } from './permissions.ts';
import type { PermissionLevel, PodSpec, VolumeMount } from './pod.ts';
import type { Store } from './store.ts';
import {
  type FilesRef,
  filesRefOf,
  type MountedFiles,
  restorationOf,
  type SnapshotRecord,
  type VolumeRecord,
} from './volume.ts';
import { volumeKey } from './volume-put.ts';

/** Types of mounts, by what they show. */
const SHARED_KINDS = { tapisvolume: 'volume', tapissnapshot: 'snapshot' } as const satisfies Partial<
  Record<VolumeMount['type'], FilesRef['kind']>
>;
export type SharedType = keyof typeof SHARED_KINDS;

/** A mount of what is shared, and by whose permission. */
export type NamedMount = VolumeMount & { readonly type: SharedType; readonly mountedBy: string };

export function isNamedMount(mount: VolumeMount): mount is NamedMount {
  return mount.type !== 'pvc' && mount.mountedBy !== undefined;
}

export type ResolvedMounts =
  | { readonly kind: 'resolved'; readonly mounts: readonly MountedFiles[] }
  /** A sentence for the user of the pod. */
  | { readonly kind: 'failed'; readonly reason: string };

/** What a spec mounts, with the permissions of now. Throws when the store does not answer. */
export async function resolveMounts(
  store: Pick<Store, 'get'>,
  tenant: string,
  { volumeMounts }: Pick<PodSpec, 'volumeMounts'>,
): Promise<ResolvedMounts> {
  const mounts: MountedFiles[] = [];
  for (const mount of volumeMounts) {
    if (!isNamedMount(mount)) continue;
    const resolved = await resolveMount(store, tenant, mount);
    if (typeof resolved === 'string') return { kind: 'failed', reason: `volume_mounts: ${resolved}` };
    mounts.push(resolved);
  }
  return { kind: 'resolved', mounts };
}

/** A sentence on why the mount is not possible, or what it shows. */
export async function resolveMount(
  store: Pick<Store, 'get'>,
  tenant: string,
  mount: NamedMount,
): Promise<MountedFiles | string> {
  const { name, mountPath, subPath, readOnly: isReadOnly } = mount;
  const kind = SHARED_KINDS[mount.type];
  const record = (await store.get(kind, volumeKey(tenant, name)))?.value ?? null;
  if (record === null || record.deleting !== null || !mayMount(record, mount)) {
    return `there is no ${kind} ${name} on which ${mount.mountedBy} has ${isReadOnly ? 'READ' : 'USER; with READ, set read_only to true'}.`;
  }
  if ('sourcePod' in record) {
    return `snapshot ${name} is of the data of pod ${record.sourcePod.podId}, which cannot be mounted: clone it.`;
  }
  if ('status' in record && record.status !== 'AVAILABLE') {
    return `snapshot ${name} is ${record.status}${record.status === 'CREATING' ? '; start the pod again later' : ''}.`;
  }
  if (restorationOf(record) !== null) {
    return `volume ${name} is being restored; start the pod again later.`;
  }
  const { sizeLimit: sizeLimitMiB } = record;
  return { ref: filesRefOf(record), ...{ name, mountPath, subPath, isReadOnly, sizeLimitMiB } };
}

/** READ for a read-only mount, USER for others: by a permission of their own, since no token is there at later starts. */
function mayMount(
  { permissions, tenant }: VolumeRecord | SnapshotRecord,
  { mountedBy, readOnly }: NamedMount,
): boolean {
  const enough: readonly PermissionLevel[] = readOnly ? ['READ', 'USER', 'ADMIN'] : ['USER', 'ADMIN'];
  return granteesOf(tenant, mountedBy).some((grantee) => {
    const level = Object.hasOwn(permissions, grantee) ? permissions[grantee] : undefined;
    return level !== undefined && enough.includes(level);
  });
}
