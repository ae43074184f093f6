import { usageOfFiles } from '../../../core/quota.ts';
import { errorText, PodgateError } from '../../../core/errors.ts';
import { levelOf } from '../access.ts';
import { listPages } from '../../../core/list-all.ts';
import { userIndex } from '../../../core/permissions.ts';
import type { Term } from '../../../core/leadership.ts';
import type { Logger } from '../../../core/logger.ts';
import type { Store } from '../../../core/store.ts';
import type { VolumeFiles, VolumeRecord } from '../../../core/volume.ts';
import { DELETING_INDEX, volumeKey, volumePut } from '../../../core/volume-put.ts';
import type { Caller } from '../../auth/authenticator.ts';
import { mountingPods } from './mounting-pods.ts';
import type { ObjectKind } from '../object-kind.ts';

const MIB = 1024 * 1024;
const PAGE = 50;

export function volumeObjects(store: Pick<Store, 'get'>): ObjectKind<VolumeRecord> {
  return {
    noun: 'volume',
    keyOf: volumeKey,
    idOf: ({ volumeId }) => volumeId,
    get: (key) => store.get('volume', key),
    put: volumePut,
    usageOf: usageOfFiles,
    note: async () => undefined,
    notFound: (id) =>
      new PodgateError('api.not-found', {
        publicMessages: [`There is no volume ${JSON.stringify(id.slice(0, 128))}.`],
      }),
  };
}

/** Those on which the caller has a permission; all of the tenant for an administrator who asks for them. */
export async function* listFilesRecords(
  store: Pick<Store, 'list'>,
  kind: 'volume',
  { tenant, username }: Caller,
  { all }: { readonly all: boolean },
): AsyncGenerator<VolumeRecord> {
  const query = { tenant, ...(all ? {} : { index: userIndex(username) }), pageSize: PAGE };
  for await (const page of listPages(store, kind, query)) {
    for (const { value } of page) {
      if (value.deleting === null && (all || levelOf(value, username) !== null)) yield value;
    }
  }
}

/** In MB, as responses say it. */
export async function sizeOf(files: VolumeFiles, kind: 'volume', uid: string): Promise<number> {
  const { bytes } = await files.usage({ kind, uid });
  return Math.ceil(bytes / MIB);
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
  for await (const page of listPages(parts.store, 'volume', { index: DELETING_INDEX, pageSize: PAGE })) {
    for (const { key } of page) {
      if (term.isOver()) return;
      await purgeFilesRecord(parts, 'volume', key).catch((error: unknown) => {
        parts.log.warn({ key, error: errorText(error) }, 'failed to finish the deletion of a volume; will retry');
      });
    }
  }
}

/**
 * Removes the files of one that is being deleted, then its record. May be interrupted and repeated. One that a pod mounts is
 * no longer being deleted afterwards: a start that comes at the same time has either seen the mark, and been refused, or is
 * seen here. Throws 'api.conflict' then.
 */
export async function purgeFilesRecord({ store, files }: PurgeParts, kind: 'volume', key: string): Promise<void> {
  const stored = await store.get(kind, key);
  if (stored === null || stored.value.deleting === null) return;
  const { uid, tenant, volumeId: id } = stored.value;
  const pods = await mountingPods(store, { tenant, type: 'tapisvolume', id });
  if (pods !== null) {
    await store.commit({ puts: [volumePut({ ...stored.value, deleting: null }, stored.revision)] });
    throw mounted(kind, id, pods);
  }
  await files.remove({ kind, uid });
  await store.commit({ deletes: [{ kind, key, expected: stored.revision, uid }] });
}

function mounted(noun: string, id: string, pods: string): PodgateError {
  return new PodgateError('api.conflict', {
    publicMessages: [`The ${noun} ${id} is mounted by ${pods}: remove it from volume_mounts first.`],
  });
}
