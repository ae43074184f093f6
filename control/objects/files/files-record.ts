import { usageOfFiles } from '../../../core/quota.ts';
import { errorText, PodgateError } from '../../../core/errors.ts';
import { listPages } from '../../../core/list-all.ts';
import type { Term } from '../../../core/leadership.ts';
import type { Logger } from '../../../core/logger.ts';
import type { Store } from '../../../core/store.ts';
import {
  allFilesOf,
  filesRefOf,
  type SnapshotRecord,
  type VolumeFiles,
  type VolumeRecord,
} from '../../../core/volume.ts';
import { DELETING_INDEX, snapshotPut, volumeKey, volumePut } from '../../../core/volume-put.ts';
import { auditRemoval } from '../audit/audit-writes.ts';
import { FILES_KINDS } from '../quota/count-usage.ts';
import { mountingPods } from './mounting-pods.ts';
import type { ObjectKind } from '../object-kind.ts';

const MIB = 1024 * 1024;
const PAGE = 50;

export type FilesKind = (typeof FILES_KINDS)[number];

export function volumeObjects(store: Pick<Store, 'get'>): ObjectKind<VolumeRecord> {
  return {
    noun: 'volume',
    keyOf: volumeKey,
    idOf: ({ volumeId }) => volumeId,
    get: (key) => store.get('volume', key),
    put: volumePut,
    usageOf: usageOfFiles,
    audited: ({ description, sizeLimit, restoring }) => ({
      ...{ description, size_limit: sizeLimit },
      restoring: restoring?.snapshotId ?? '',
    }),
    note: async () => undefined,
    notFound: (id) => notFound('volume', id),
  };
}

export function snapshotObjects(store: Pick<Store, 'get'>): ObjectKind<SnapshotRecord> {
  return {
    noun: 'snapshot',
    keyOf: volumeKey,
    idOf: ({ snapshotId }) => snapshotId,
    get: (key) => store.get('snapshot', key),
    put: snapshotPut,
    usageOf: usageOfFiles,
    audited: ({
      description,
      sizeLimit,
      cron,
      retentionPolicy,
      sourceVolumeId,
      sourceVolumePath,
      destinationPath,
      sourcePod,
    }) => ({
      ...{ description, size_limit: sizeLimit, cron, retention_policy: retentionPolicy },
      ...{ source_volume_id: sourceVolumeId, source_volume_path: sourceVolumePath, destination_path: destinationPath },
      ...(sourcePod === undefined ? {} : { source_pod_id: sourcePod.podId }),
    }),
    note: async () => undefined,
    notFound: (id) => notFound('snapshot', id),
  };
}

/** Throws 'api.conflict' for a snapshot of the data of a pod: it has passwords of the database, and is of no use in parts. */
export function requireShownFiles(record: VolumeRecord | SnapshotRecord): void {
  if (!('sourcePod' in record)) return;
  const { snapshotId, sourcePod } = record;
  const pod = sourcePod.podId;
  throw new PodgateError('api.conflict', {
    publicMessages: [
      `Snapshot ${snapshotId} is of the data of pod ${pod}, whose files are not shown. Clone it: podgate clone ${pod} NEW_POD --snapshot ${snapshotId}`,
    ],
  });
}

function notFound(noun: string, id: string): PodgateError {
  return new PodgateError('api.not-found', {
    publicMessages: [`There is no ${noun} ${JSON.stringify(id.slice(0, 128))}.`],
  });
}

/** In MB, as responses say it; nothing where it is not known. */
export async function sizeOf(
  files: VolumeFiles,
  record: VolumeRecord | SnapshotRecord,
): Promise<{ readonly size?: number }> {
  const usage = await files.usage(filesRefOf(record));
  return usage === null ? {} : { size: Math.ceil(usage.bytes / MIB) };
}

interface PurgeParts {
  readonly store: Pick<Store, 'get' | 'list' | 'commit'>;
  readonly files: VolumeFiles;
}

/** Finishes deletions that were interrupted. Of one that fails, the next call tries again. */
export async function purgeFilesRecords(
  parts: PurgeParts & { readonly log: Logger },
  term: Pick<Term, 'isOver'>,
): Promise<void> {
  for (const kind of FILES_KINDS) {
    for await (const page of listPages(parts.store, kind, { index: DELETING_INDEX, pageSize: PAGE })) {
      for (const { key } of page) {
        if (term.isOver()) return;
        await purgeFilesRecord(parts, kind, key).catch((error: unknown) => {
          parts.log.warn({ kind, key, error: errorText(error) }, 'failed to finish a deletion of files; will retry');
        });
      }
    }
  }
}

/**
 * Removes the files of one that is being deleted, then its record. May be interrupted and repeated. One that a pod mounts is
 * no longer being deleted afterwards: a start that comes at the same time has either seen the mark, and been refused, or is
 * seen here. Throws 'api.conflict' then.
 */
export async function purgeFilesRecord({ store, files }: PurgeParts, kind: FilesKind, key: string): Promise<void> {
  const stored = await store.get(kind, key);
  if (stored === null || stored.value.deleting === null) return;
  const { uid } = stored.value;
  const { tenant, id } = filesRefOf(stored.value);
  const all = allFilesOf(stored.value);
  const pods = await mountingPods(store, { tenant, kind, id });
  if (pods !== null) {
    const kept = { ...stored.value, deleting: null };
    const put = 'volumeId' in kept ? volumePut(kept, stored.revision) : snapshotPut(kept, stored.revision);
    await store.commit({ puts: [put] });
    throw mounted(kind, id, pods);
  }
  for (const ref of all) await files.remove(ref);
  const audit = await auditRemoval(store, { tenant, uid });
  const removed = await store.commit({ deletes: [{ kind, key, expected: stored.revision, uid }, ...audit] });
  // An upload that was under way may have made them anew; one that ends later finds no record, and removes them itself.
  if (removed.kind === 'committed') for (const ref of all) await files.remove(ref);
}

function mounted(noun: string, id: string, pods: string): PodgateError {
  return new PodgateError('api.conflict', {
    publicMessages: [`The ${noun} ${id} is mounted by ${pods}: remove it from volume_mounts first.`],
  });
}
