import { podKey } from './ids.ts';
import { permissionIndexes } from './permissions.ts';
import type { PodRecord, VolumeMount } from './pod.ts';
import type { Expected, Put } from './store.ts';
import { basedOnIndex, parseTemplateReference, templateTagKey } from './template-record.ts';

/** Index entry of the pods that a user has created: they count against that user's quota, no matter who uses them. */
export function ownerIndex(username: string): string {
  return `owner:${username}`;
}

/** Index entry of the pods that mount shared files, or have at their last start. */
export function mountIndex({ type, name }: Pick<VolumeMount, 'type' | 'name'>): string {
  return `mounts:${type}:${name}`;
}

function mountIndexes({ spec, applied }: PodRecord): readonly string[] {
  const mounts = [...spec.volumeMounts, ...(applied?.spec.volumeMounts ?? [])];
  return [...new Set(mounts.filter(({ type }) => type !== 'pvc').map(mountIndex))];
}

/**
 * The only way to write a pod record, for the API, the health loop and the spawner: a put replaces the index entries, so a
 * writer that computed them differently would hide the pod from its users. A pod that is being deleted has no user entries:
 * it is invisible to its users, and still counts against its creator's quota.
 */
export function podPut(record: PodRecord, expected: Expected): Put {
  const users = record.deleting === null ? permissionIndexes(record.permissions, record.tenant) : [];
  return {
    kind: 'pod',
    key: podKey(record.tenant, record.podId),
    expected,
    value: record,
    tenant: record.tenant,
    indexes: [...users, ownerIndex(record.createdBy), ...mountIndexes(record), ...templateIndexes(record)],
  };
}

/** By which a tag finds the pods that were made from it. */
function templateIndexes({ tenant, spec }: PodRecord): readonly string[] {
  if (spec.fromTemplate === undefined) return [];
  const { createdAtMs, ...tag } = parseTemplateReference(spec.fromTemplate.reference) ?? { createdAtMs: null };
  if (createdAtMs === null || !('tag' in tag)) return [];
  return [basedOnIndex(templateTagKey({ tenant, ...tag, createdAtMs }))];
}
