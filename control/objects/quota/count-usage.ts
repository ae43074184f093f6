import { listAll } from '../../../core/list-all.ts';
import {
  addUsage,
  NO_USAGE,
  type Usage,
  usageOfFiles,
  usageOfKeptVolume,
  usageOfObject,
  usageOfPod,
} from '../../../core/quota.ts';
import { ownVolumesOf, type PodRecord, type PodSpec } from '../../../core/pod.ts';
import { ownerIndex } from '../../../core/pod-put.ts';
import type { RecordKind, Store } from '../../../core/store.ts';

/** The kinds that are counted by the bytes of their records alone. */
export const PLAIN_KINDS = ['secret', 'template', 'template-tag', 'image'] as const satisfies readonly RecordKind[];

/** The kinds with files of their own, each counted as a volume. */
export const FILES_KINDS = ['volume', 'snapshot'] as const satisfies readonly RecordKind[];

/** How a pod is counted. */
export type UsageOf = (record: PodRecord) => Usage;

/** `hasOwnVolume`: a pod of that spec has a volume beside those it mounts by name. */
export function createUsageOf(hasOwnVolume: (spec: PodSpec) => boolean): UsageOf {
  return (record) => usageOfPod(record, volumeCount(record, hasOwnVolume));
}

/** Of the spec, of what runs, and of earlier runs: a volume stays until its pod is deleted, mounted or not. */
function volumeCount(record: PodRecord, hasOwnVolume: (spec: PodSpec) => boolean): number {
  const specs = [record.spec, ...(record.applied === null ? [] : [record.applied.spec])];
  const mounted = new Set([...(record.formerVolumes ?? []), ...specs.flatMap(ownVolumesOf)]);
  return mounted.size + (specs.some(hasOwnVolume) ? 1 : 0);
}

/** Of a user, or of a whole tenant (`user` is null), from the records themselves. */
export async function countUsage(
  store: Store,
  usageOf: UsageOf,
  { tenant, user }: { readonly tenant: string; readonly user: string | null },
): Promise<Usage> {
  const query = { tenant, ...(user === null ? {} : { index: ownerIndex(user) }) };
  let used = NO_USAGE;
  for await (const { value } of listAll(store, 'pod', query)) used = addUsage(used, usageOf(value));
  for await (const { value } of listAll(store, 'kept-volume', query)) used = addUsage(used, usageOfKeptVolume(value));
  for (const kind of FILES_KINDS) {
    for await (const { value } of listAll(store, kind, query)) used = addUsage(used, usageOfFiles(value));
  }
  for (const kind of PLAIN_KINDS) {
    for await (const { value } of listAll(store, kind, query)) used = addUsage(used, usageOfObject(value));
  }
  return used;
}
