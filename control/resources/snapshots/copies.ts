import { compareAndSet } from '../../../core/compare-and-set.ts';
import type { Clock } from '../../../core/clock.ts';
import { errorText, PodgateError } from '../../../core/errors.ts';
import type { Logger } from '../../../core/logger.ts';
import type { Store } from '../../../core/store.ts';
import { filesRefOf, type SnapshotRecord, type VolumeFiles, type VolumeRecord } from '../../../core/volume.ts';
import { snapshotPut, volumeKey } from '../../../core/volume-put.ts';
import { ATTEMPTS_MAX } from '../../objects/change.ts';
import type { FileJobs } from '../../objects/files/file-jobs.ts';

export interface SnapshotCopies {
  /**
   * Copies the files of a snapshot that is CREATING and notes how that went. Resolves when it is over, also when another
   * call has begun it. Of one that the disk or the store has interrupted, the next call begins anew. Never rejects.
   */
  run(key: string): Promise<void>;
  /** Ends a copy that is under way. */
  cancel(key: string): Promise<void>;
}

export interface CopyParts {
  readonly store: Pick<Store, 'get' | 'commit'>;
  readonly files: VolumeFiles;
  readonly jobs: FileJobs;
  readonly clock: Pick<Clock, 'now'>;
  readonly log: Logger;
}

export function createSnapshotCopies({ store, files, jobs, clock, log }: CopyParts): SnapshotCopies {
  async function copy(key: string, signal: AbortSignal): Promise<void> {
    const record = (await store.get('snapshot', key))?.value ?? null;
    if (record === null || record.deleting !== null || record.status !== 'CREATING' || signal.aborted) return;
    const outcome = await copyFiles(record, signal);
    if (outcome === null) return;
    const ref = filesRefOf(record);
    if (outcome.status === 'ERROR') await files.remove(ref);
    const isNoted = await compareAndSet(async (): Promise<boolean | null> => {
      const stored = await store.get('snapshot', key);
      if (stored?.value.uid !== record.uid) return false;
      const put = snapshotPut({ ...stored.value, ...outcome, updatedAtMs: clock.now() }, stored.revision);
      return (await store.commit({ puts: [put] })).kind === 'committed' ? true : null;
    }, ATTEMPTS_MAX);
    if (isNoted === false) await files.remove(ref);
  }

  /** Null: interrupted. */
  async function copyFiles(
    record: SnapshotRecord,
    signal: AbortSignal,
  ): Promise<Pick<SnapshotRecord, 'status' | 'message'> | null> {
    const { tenant, sourceVolumeId, sourceVolumeUid, sourceVolumePath, destinationPath, sizeLimit } = record;
    const readVolume = async (): Promise<VolumeRecord | null> => {
      const volume = (await store.get('volume', volumeKey(tenant, sourceVolumeId)))?.value ?? null;
      return volume?.uid === sourceVolumeUid && volume.deleting === null ? volume : null;
    };
    const gone = { status: 'ERROR', message: `There is no volume ${sourceVolumeId} any more.` } as const;
    const volume = await readVolume();
    if (volume === null) return gone;
    const from = filesRefOf(volume);
    try {
      await files.copy(
        { ref: from, path: sourceVolumePath },
        { ref: filesRefOf(record), path: destinationPath, sizeLimitMiB: sizeLimit },
        signal,
      );
      // Files that are removed while they are copied make an incomplete copy. Their record says so before that begins.
      const after = await readVolume();
      if (after === null) return gone;
      return filesRefOf(after).uid === from.uid ? { status: 'AVAILABLE', message: '' } : null;
    } catch (error) {
      if (signal.aborted) return null;
      if (error instanceof PodgateError && error.code.startsWith('api.')) {
        return { status: 'ERROR', message: error.publicMessages.join(' ') };
      }
      log.warn(
        { tenant, snapshot: record.snapshotId, error: errorText(error) },
        'a snapshot could not be copied; retrying',
      );
      return null;
    }
  }

  const jobOf = (key: string): string => `snapshot ${key}`;
  return {
    run: (key) => jobs.run(jobOf(key), (signal) => copy(key, signal)),
    cancel: (key) => jobs.cancel(jobOf(key)),
  };
}
