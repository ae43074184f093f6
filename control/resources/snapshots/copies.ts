import { compareAndSet } from '../../../core/compare-and-set.ts';
import type { Clock } from '../../../core/clock.ts';
import { errorText, PodgateError } from '../../../core/errors.ts';
import type { Logger } from '../../../core/logger.ts';
import type { Store } from '../../../core/store.ts';
import { filesRefOf, type SnapshotRecord, type VolumeFiles } from '../../../core/volume.ts';
import { snapshotPut, volumeKey } from '../../../core/volume-put.ts';
import { ATTEMPTS_MAX } from '../../objects/change.ts';

/** Copies that run at a time. */
const COPIES_MAX = 2;

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
  readonly clock: Pick<Clock, 'now'>;
  readonly log: Logger;
}

/** One for all of a control child, so that no snapshot is copied twice at a time. */
export function createSnapshotCopies({ store, files, clock, log }: CopyParts): SnapshotCopies {
  const running = new Map<string, { readonly done: Promise<void>; readonly cancel: AbortController }>();
  const waiting: (() => void)[] = [];
  let active = 0;

  async function inTurn(work: () => Promise<void>): Promise<void> {
    if (active >= COPIES_MAX) await new Promise<void>((resolve) => waiting.push(resolve));
    active += 1;
    try {
      await work();
    } finally {
      active -= 1;
      waiting.shift()?.();
    }
  }

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
    const volume = (await store.get('volume', volumeKey(tenant, sourceVolumeId)))?.value ?? null;
    if (volume === null || volume.deleting !== null || volume.uid !== sourceVolumeUid) {
      return { status: 'ERROR', message: `There is no volume ${sourceVolumeId} any more.` };
    }
    try {
      await files.copy(
        { ref: filesRefOf(volume), path: sourceVolumePath },
        { ref: filesRefOf(record), path: destinationPath, sizeLimitMiB: sizeLimit },
        signal,
      );
      return { status: 'AVAILABLE', message: '' };
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

  function run(key: string): Promise<void> {
    const present = running.get(key);
    if (present !== undefined) return present.done;
    const cancel = new AbortController();
    const done = inTurn(() => copy(key, cancel.signal))
      .catch((error: unknown) => {
        log.warn({ key, error: errorText(error) }, 'the copy of a snapshot was interrupted; retrying');
      })
      .finally(() => running.delete(key));
    running.set(key, { done, cancel });
    return done;
  }

  return {
    run,
    async cancel(key) {
      running.get(key)?.cancel.abort();
      await running.get(key)?.done;
    },
  };
}
