import { isAborted } from '../../../core/abort.ts';
import { backoffMs } from '../../../core/backoff.ts';
import { compareAndSet } from '../../../core/compare-and-set.ts';
import type { Clock } from '../../../core/clock.ts';
import { mayClone } from '../../../core/data-origin.ts';
import type { DataSnapshots } from '../../../core/data-snapshots.ts';
import { errorText, PodgateError } from '../../../core/errors.ts';
import { podKey } from '../../../core/ids.ts';
import type { Logger } from '../../../core/logger.ts';
import type { Store } from '../../../core/store.ts';
import {
  filesRefOf,
  type SnapshotPod,
  type SnapshotRecord,
  type VolumeFiles,
  type VolumeRecord,
} from '../../../core/volume.ts';
import { snapshotPut, volumeKey } from '../../../core/volume-put.ts';
import { ATTEMPTS_MAX } from '../../objects/change.ts';
import type { FileJobs } from '../../objects/files/file-jobs.ts';

/** From the second failure on: a copy that a full disk ends may have read and written for long. */
const RETRY = { firstMs: 60_000, maxMs: 3_600_000 } as const;

export interface SnapshotCopies {
  /**
   * Copies the files of a snapshot that is CREATING and notes how that went. Resolves when it is over, also when another
   * call has begun it. Of one that the disk or the store has interrupted, the next call begins anew. Never rejects.
   */
  run(key: string): Promise<void>;
  /** The same, at once after the first failure; later ones are tried again after 1, 3, 7 minutes and so on. */
  retry(key: string): Promise<void>;
  /** Ends a copy that is under way. */
  cancel(key: string): Promise<void>;
}

export interface CopyParts {
  readonly store: Pick<Store, 'get' | 'commit'>;
  readonly files: VolumeFiles;
  /** Null: the data of pods cannot be copied. */
  readonly data: DataSnapshots | null;
  readonly jobs: FileJobs;
  readonly clock: Pick<Clock, 'now'>;
  readonly log: Logger;
}

/** CREATING: it is tried again. Null: so it is, and there is nothing to say. */
type Outcome = Pick<SnapshotRecord, 'status' | 'message' | 'takenAtMs'>;

/** A sentence on why the data of a pod may not be copied by its creator's permission, or null. */
export async function podProblem(
  store: Pick<Store, 'get'>,
  { tenant, createdBy }: Pick<SnapshotRecord, 'tenant' | 'createdBy'>,
  { podId, uid, template }: SnapshotPod,
): Promise<string | null> {
  const pod = (await store.get('pod', podKey(tenant, podId)))?.value ?? null;
  if (pod === null || pod.uid !== uid || pod.deleting !== null || !mayClone(pod, createdBy)) {
    return `There is no pod ${podId} any more on which ${createdBy} has USER.`;
  }
  return pod.spec.template === template ? null : `Pod ${podId} has another template by now.`;
}

interface Failures {
  readonly count: number;
  /** When the next attempt is due. */
  readonly dueMs: number;
}

export function createSnapshotCopies({ store, files, data, jobs, clock, log }: CopyParts): SnapshotCopies {
  /** In a row, by the key of a snapshot that is CREATING. */
  const failures = new Map<string, Failures>();

  function noteFailure(key: string): void {
    const count = (failures.get(key)?.count ?? 0) + 1;
    failures.set(key, { count, dueMs: clock.now() + backoffMs(count - 1, RETRY) });
  }

  async function copy(key: string, signal: AbortSignal): Promise<void> {
    const record = (await store.get('snapshot', key))?.value ?? null;
    if (record === null || record.deleting !== null || record.status !== 'CREATING' || signal.aborted) {
      failures.delete(key);
      return;
    }
    const outcome = await outcomeOf(record, signal);
    if (isAborted(signal) || (outcome !== null && outcome.status !== 'CREATING')) failures.delete(key);
    else noteFailure(key);
    if (outcome === null || (outcome.status === 'CREATING' && outcome.message === record.message)) return;
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

  async function outcomeOf(record: SnapshotRecord, signal: AbortSignal): Promise<Outcome | null> {
    const { tenant, snapshotId, sourcePod } = record;
    try {
      return await (sourcePod === undefined ? copyFiles(record, signal) : copyData(record, sourcePod, signal));
    } catch (error) {
      if (signal.aborted) return null;
      const message = error instanceof PodgateError ? error.publicMessages.join(' ') : '';
      if (error instanceof PodgateError && error.code.startsWith('api.')) return { status: 'ERROR', message };
      log.warn({ tenant, snapshot: snapshotId, error: errorText(error) }, 'failed to copy a snapshot; retrying');
      return message === '' ? null : { status: 'CREATING', message };
    }
  }

  async function copyFiles(record: SnapshotRecord, signal: AbortSignal): Promise<Outcome | null> {
    const { tenant, sourceVolumeId, sourceVolumeUid, sourceVolumePath, destinationPath, sizeLimit } = record;
    const readVolume = async (): Promise<VolumeRecord | null> => {
      const volume = (await store.get('volume', volumeKey(tenant, sourceVolumeId)))?.value ?? null;
      return volume?.uid === sourceVolumeUid && volume.deleting === null ? volume : null;
    };
    const gone = { status: 'ERROR', message: `There is no volume ${sourceVolumeId} any more.` } as const;
    const volume = await readVolume();
    if (volume === null) return gone;
    const from = filesRefOf(volume);
    await files.copy(
      { ref: from, path: sourceVolumePath },
      { ref: filesRefOf(record), path: destinationPath, sizeLimitMiB: sizeLimit },
      signal,
    );
    // Files that are removed while they are copied make an incomplete copy. Their record says so before that begins.
    const after = await readVolume();
    if (after === null) return gone;
    return filesRefOf(after).uid === from.uid ? { status: 'AVAILABLE', message: '' } : null;
  }

  /** By the permission that its creator has now: the call was long ago where a schedule has made it. */
  async function copyData(record: SnapshotRecord, source: SnapshotPod, signal: AbortSignal): Promise<Outcome> {
    const { tenant, sizeLimit } = record;
    const { podId, uid, template, username } = source;
    const problem = await podProblem(store, record, source);
    if (problem !== null) return { status: 'ERROR', message: problem };
    if (data === null) return { status: 'ERROR', message: 'This installation cannot copy the data of pods.' };
    const pod = { tenant, podId, uid };
    await data.take({ pod, template, username, to: filesRefOf(record), sizeLimitMiB: sizeLimit }, signal);
    return { status: 'AVAILABLE', message: '', takenAtMs: clock.now() };
  }

  const jobOf = (key: string): string => `snapshot ${key}`;
  const run = (key: string): Promise<void> => jobs.run(jobOf(key), (signal) => copy(key, signal));
  return {
    run,
    retry: async (key) => {
      if ((failures.get(key)?.dueMs ?? 0) <= clock.now()) await run(key);
    },
    cancel: async (key) => {
      failures.delete(key);
      await jobs.cancel(jobOf(key));
    },
  };
}
