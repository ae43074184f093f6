import { isAborted } from '../../../core/abort.ts';
import type { Clock } from '../../../core/clock.ts';
import { compareAndSet } from '../../../core/compare-and-set.ts';
import { PodgateError } from '../../../core/errors.ts';
import type { Term } from '../../../core/leadership.ts';
import { listAll } from '../../../core/list-all.ts';
import type { Store } from '../../../core/store.ts';
import {
  type FilesRef,
  filesRefOf,
  type Restoration,
  restorationOf,
  type SnapshotRecord,
  type VolumeFiles,
  type VolumeRecord,
} from '../../../core/volume.ts';
import { RESTORING_INDEX, volumeKey, volumePut } from '../../../core/volume-put.ts';
import { ATTEMPTS_MAX } from '../../objects/change.ts';
import type { FileJobs } from '../../objects/files/file-jobs.ts';

export interface VolumeRestores {
  /**
   * Replaces the files of a volume that is `restoring`, and notes how that went. Resolves when it is over, also when
   * another call has begun it. What was interrupted is done by the next call. Never rejects.
   */
  run(key: string): Promise<void>;
  /** Ends one that is under way. */
  cancel(key: string): Promise<void>;
}

export interface RestoreParts {
  readonly store: Pick<Store, 'get' | 'commit'>;
  readonly files: VolumeFiles;
  readonly jobs: FileJobs;
  readonly clock: Pick<Clock, 'now'>;
}

/**
 * The copy is made under a uid of its own, and one commit makes it the files of the volume: whenever a process ends, a
 * volume has its former files or those of the snapshot. In a cluster the copy is a claim of its own.
 */
export function createVolumeRestores({ store, files, jobs, clock }: RestoreParts): VolumeRestores {
  async function restore(key: string, signal: AbortSignal): Promise<void> {
    const volume = (await store.get('volume', key))?.value ?? null;
    const restoring = volume === null ? null : restorationOf(volume);
    if (volume === null || restoring === null || volume.deleting !== null || signal.aborted) return;
    const own = filesRefOf(volume);
    const copy: FilesRef = { ...own, uid: restoring.copyUid };
    if (own.uid !== copy.uid) {
      const problem = await copyFiles(volume, restoring, copy, signal);
      if (isAborted(signal)) return;
      const change = problem === null ? { filesUid: copy.uid, message: '' } : { restoring: null, message: problem };
      const outcome = await note(key, restoring, change);
      // Of another replica, which has finished it.
      if (outcome === 'restored') return;
      // Also when it was deleted meanwhile, by a call that may not have seen the last of the copy.
      if (outcome === 'gone' || problem !== null) {
        await files.remove(copy);
        return;
      }
    }
    await files.remove({ ...own, uid: restoring.formerUid });
    await note(key, restoring, { restoring: null });
  }

  /** A sentence on why it cannot be made, or null. Throws what is no PodgateError: it is tried again. */
  async function copyFiles(
    { tenant, sizeLimit }: VolumeRecord,
    { snapshotId, snapshotUid }: Restoration,
    copy: FilesRef,
    signal: AbortSignal,
  ): Promise<string | null> {
    const read = async (): Promise<SnapshotRecord | null> => {
      const snapshot = (await store.get('snapshot', volumeKey(tenant, snapshotId)))?.value ?? null;
      const isThere = snapshot?.uid === snapshotUid && snapshot.deleting === null && snapshot.status === 'AVAILABLE';
      return isThere ? snapshot : null;
    };
    const gone = `Snapshot ${snapshotId} was deleted before it was restored. The volume has its former files.`;
    const snapshot = await read();
    if (snapshot === null) return gone;
    const from = { ref: filesRefOf(snapshot), path: snapshot.destinationPath };
    const to = { ref: copy, path: snapshot.sourceVolumePath, sizeLimitMiB: sizeLimit };
    try {
      await files.copy(from, to, signal);
    } catch (error) {
      if (!(error instanceof PodgateError)) throw error;
      return `Snapshot ${snapshotId} could not be restored: ${error.publicMessages.join(' ')} The volume has its former files.`;
    }
    // A deletion marks the record first: had it begun, some files might have been gone before they were copied.
    return (await read()) === null ? gone : null;
  }

  /**
   * 'restored': the copy is the files of the volume already, and only their former ones may be left. 'gone': the copy is of
   * no use any more.
   */
  async function note(
    key: string,
    { copyUid }: Restoration,
    change: Partial<VolumeRecord>,
  ): Promise<'noted' | 'restored' | 'gone'> {
    const isLast = change.filesUid === undefined && change.message === undefined;
    const outcome = await compareAndSet(async () => {
      const stored = await store.get('volume', key);
      if (stored?.value.filesUid === copyUid && !isLast) return 'restored';
      if (stored?.value.restoring?.copyUid !== copyUid || stored.value.deleting !== null) return 'gone';
      const put = volumePut({ ...stored.value, ...change, updatedAtMs: clock.now() }, stored.revision);
      return (await store.commit({ puts: [put] })).kind === 'committed' ? 'noted' : null;
    }, ATTEMPTS_MAX);
    if (outcome === null) throw new Error('the volume is being changed by too many others');
    return outcome;
  }

  const jobOf = (key: string): string => `volume ${key}`;
  return {
    run: (key) => jobs.run(jobOf(key), (signal) => restore(key, signal)),
    cancel: (key) => jobs.cancel(jobOf(key)),
  };
}

/** What a process that ended has left undone. */
export async function turnRestores(
  { store, restores }: { readonly store: Pick<Store, 'list'>; readonly restores: VolumeRestores },
  term: Pick<Term, 'isOver'>,
): Promise<void> {
  for await (const { key } of listAll(store, 'volume', { index: RESTORING_INDEX })) {
    if (term.isOver()) return;
    void restores.run(key);
  }
}
