import { within } from '../../../core/abort.ts';
import { PodgateError } from '../../../core/errors.ts';
import { filesRefOf, restorationOf, type SnapshotRecord, type VolumeRecord } from '../../../core/volume.ts';
import { volumePut } from '../../../core/volume-put.ts';
import { checkedBody } from '../../http/checked-body.ts';
import type { AuthenticatedCall, Operation } from '../../http/operation.ts';
import { readObject } from '../../objects/access.ts';
import { snapshotObjects } from '../../objects/files/files-record.ts';
import { usingPods } from '../../objects/files/mounting-pods.ts';
import type { FilesRecordOperations } from '../../objects/files/record-operations.ts';
import type { ObjectKind } from '../../objects/object-kind.ts';
import { VolumeAnswer } from './schema.ts';
import type { VolumeParts } from './volume-parts.ts';

/** As for snapshots that are taken. */
const RESTORE_WAIT_MS = 10_000;

export function restoreOperation(
  parts: VolumeParts,
  kind: ObjectKind<VolumeRecord>,
  common: FilesRecordOperations<'volume'>,
): Operation {
  const { store, restores, schemas } = parts;

  async function requireUnused({ tenant, volumeId }: VolumeRecord): Promise<void> {
    const pods = await usingPods(store, { tenant, kind: 'volume', id: volumeId });
    if (pods === null) return;
    throw conflict(`The volume ${volumeId} is mounted by ${pods}: stop what mounts it first, and start it afterwards.`);
  }

  /** Files outside of its path would be lost with the former ones. */
  async function requireWhole(volume: VolumeRecord, { snapshotId, sourceVolumePath }: SnapshotRecord): Promise<void> {
    if (/^\/+$/.test(sourceVolumePath)) return;
    const entries = parts.files.list(filesRefOf(volume), '')[Symbol.asyncIterator]();
    const isEmpty = (await entries.next()).done === true;
    await entries.return?.();
    if (isEmpty) return;
    throw conflict(
      `snapshot_id: ${snapshotId} has only ${sourceVolumePath} of its volume, and volume ${volume.volumeId} has files. Restore it to an empty volume, and copy from there.`,
    );
  }

  async function begin(call: AuthenticatedCall, { uid, snapshotId }: SnapshotRecord): Promise<VolumeRecord> {
    const copyUid = parts.newUid();
    const { record } = await common.change(call, { needed: 'USER', act: 'Restoring' }, (before) => {
      requireNotRestoring(before);
      const formerUid = filesRefOf(before).uid;
      const restoring = { snapshotId, snapshotUid: uid, copyUid, formerUid };
      return { restoring, message: '', generation: before.generation + 1 };
    });
    return record;
  }

  /** A pod has been started since it was checked: it has either seen the mark, and does not start, or is seen here. */
  async function giveUp(key: string, { restoring }: VolumeRecord): Promise<void> {
    const stored = await store.get('volume', key);
    if (stored === null || stored.value.restoring?.copyUid !== restoring?.copyUid) return;
    await store.commit({ puts: [volumePut({ ...stored.value, restoring: null }, stored.revision)] });
  }

  return {
    tag: 'Volumes',
    result: VolumeAnswer,
    access: 'token',
    operationId: 'restore_volume',
    alsoRefuses: ['api.not-found', 'api.conflict', 'api.not-available'],
    methods: ['post'],
    path: '/pods/volumes/{volume_id}/restore',
    summary:
      'Replaces all files of a volume by those of a snapshot. USER on both. No pod that mounts the volume may run. A copy ' +
      'that takes longer than ten seconds goes on after the response, with status RESTORING.',
    headers: ['If-Match'],
    body: schemas.RestoreVolume,
    handle: async (call) => {
      const { snapshotId } = checkedBody(schemas.RestoreVolume, call.body);
      const volume = await common.read(call, 'USER', 'Restoring');
      const snapshot = await readObject(snapshotObjects(store), {
        ...{ caller: call.caller, id: snapshotId, needed: 'USER', act: 'Restoring' },
      });
      const { sourcePod } = snapshot.value;
      if (sourcePod !== undefined) {
        throw new PodgateError('api.not-available', {
          publicMessages: [
            `Snapshot ${snapshotId} is of the data of pod ${sourcePod.podId}, which is not restored in place. Clone it: podgate clone ${sourcePod.podId} NEW_POD --snapshot ${snapshotId}`,
          ],
        });
      }
      if (snapshot.value.status !== 'AVAILABLE') {
        throw conflict(
          `snapshot_id: ${snapshotId} is ${snapshot.value.status}; only what is AVAILABLE can be restored.`,
        );
      }
      requireNotRestoring(volume);
      await requireUnused(volume);
      await requireWhole(volume, snapshot.value);
      const begun = await begin(call, snapshot.value);
      const key = kind.keyOf(begun.tenant, begun.volumeId);
      await requireUnused(begun).catch(async (error: unknown) => {
        await giveUp(key, begun);
        throw error;
      });
      await within(restores.run(key), RESTORE_WAIT_MS);
      const now = (await kind.get(key))?.value ?? begun;
      const message = now.message ?? '';
      if (message !== '') throw new PodgateError('api.invalid', { publicMessages: [message] });
      const isOver = restorationOf(now) === null;
      return await common.reply(now, isOver ? 'Snapshot restored successfully.' : 'The snapshot is being restored.');
    },
  };
}

/** Throws 'api.conflict': what is written now would be lost. */
export function requireNotRestoring(record: VolumeRecord): void {
  const restoring = restorationOf(record);
  if (restoring === null) return;
  throw conflict(
    `The snapshot ${restoring.snapshotId} is being restored to volume ${record.volumeId}: try again later.`,
  );
}

export function conflict(sentence: string): PodgateError {
  return new PodgateError('api.conflict', { publicMessages: [sentence] });
}
