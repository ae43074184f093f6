import type { z } from 'zod';

import { within } from '../../../core/abort.ts';
import { PodgateError } from '../../../core/errors.ts';
import type { Store } from '../../../core/store.ts';
import type { SnapshotPod, SnapshotRecord, VolumeFiles } from '../../../core/volume.ts';
import type { Caller } from '../../auth/authenticator.ts';
import { checkedBody } from '../../http/checked-body.ts';
import type { Operation } from '../../http/operation.ts';
import { readObject } from '../../objects/access.ts';
import type { ChangeParts } from '../../objects/change.ts';
import { createWithinQuota } from '../../objects/create-within-quota.ts';
import { ID_MAX_LENGTH } from '../../objects/files/fields.ts';
import { purgeFilesRecord, sizeOf, snapshotObjects, volumeObjects } from '../../objects/files/files-record.ts';
import { filesRecordOperations } from '../../objects/files/record-operations.ts';
import type { SnapshotCopies } from './copies.ts';
import { SCHEDULED_ID_LENGTH } from './schedule.ts';
import { SnapshotAnswer, type SnapshotSchemas } from './schema.ts';

/** Clients of Tapis expect a snapshot that is AVAILABLE: larger ones are copied after the response. */
const COPY_WAIT_MS = 10_000;

/** A pod whose data the caller may have copied. */
export interface SnapshotSource {
  readonly pod: SnapshotPod;
  /** Tells its users. */
  readonly note: (snapshotId: string) => Promise<void>;
}

export interface SnapshotParts extends Omit<ChangeParts, 'store'> {
  readonly store: Store;
  readonly files: VolumeFiles;
  readonly copies: SnapshotCopies;
  readonly newUid: () => string;
  readonly schemas: SnapshotSchemas;
  /** Throws PodgateError when the data of that pod cannot be copied, or not for the caller. */
  readonly sourcePodOf: (caller: Caller, podId: string) => Promise<SnapshotSource>;
}

export function snapshotOperations(parts: SnapshotParts): readonly Operation[] {
  const { store, files, copies, schemas, clock } = parts;
  const kind = snapshotObjects(store);
  const shared = { tag: 'Snapshots', result: SnapshotAnswer } as const;

  const answer = async (record: SnapshotRecord): Promise<z.output<typeof SnapshotAnswer>> => ({
    snapshot_id: record.snapshotId,
    source_volume_id: record.sourceVolumeId,
    source_volume_path: record.sourceVolumePath,
    source_pod_id: record.sourcePod?.podId ?? '',
    destination_path: record.destinationPath,
    description: record.description,
    size_limit: record.sizeLimit,
    cron: record.cron,
    retention_policy: record.retentionPolicy,
    ...(record.status === 'AVAILABLE' ? await sizeOf(files, record) : { size: 0 }),
    status: record.status,
    message: record.message,
    scheduled_by: record.scheduledBy ?? '',
    creation_ts: new Date(record.createdAtMs).toISOString(),
    update_ts: new Date(record.updatedAtMs).toISOString(),
  });
  const common = filesRecordOperations({
    ...parts,
    name: 'snapshot',
    kind,
    result: SnapshotAnswer,
    answer,
    sorts: ['status'],
    filters: [
      { name: 'status', description: 'Only snapshots with this status.', schema: SnapshotAnswer.shape.status },
      { name: 'source_volume_id', description: 'Only snapshots of this volume.' },
      { name: 'source_pod_id', description: 'Only snapshots of the data of this pod.' },
      { name: 'scheduled_by', description: 'Only snapshots that the cron of this one has made.' },
    ],
    deletionNote: ' Those that its schedule has made stay.',
    stopWork: (key) => copies.cancel(key),
  });

  /** What of a new record says what it is a copy of. */
  async function sourceOf(caller: Caller, written: WrittenSource): Promise<SourceFields> {
    const { sourceVolumeId, sourceVolumePath, sourcePodId, destinationPath } = written;
    const given = [sourceVolumeId, sourcePodId].filter((id) => typeof id === 'string');
    if (given.length !== 1) throw invalid('give either source_volume_id or source_pod_id');
    if (typeof sourcePodId === 'string') {
      if (typeof sourceVolumePath === 'string') {
        throw invalid('source_volume_path: is for volumes; leave it out with source_pod_id');
      }
      if (destinationPath !== '') throw invalid('destination_path: is for volumes; leave it out with source_pod_id');
      const { pod, note } = await parts.sourcePodOf(caller, sourcePodId);
      const source = { sourcePod: pod, sourceVolumeId: '', sourceVolumeUid: '', sourceVolumePath: '' };
      return { source, note: () => note(written.snapshotId) };
    }
    if (typeof sourceVolumePath !== 'string') throw invalid('source_volume_path: is required');
    const id = sourceVolumeId ?? '';
    const request = { caller, id, needed: 'USER', act: 'Taking a snapshot' } as const;
    const { value: volume } = await readObject(volumeObjects(store), request);
    const source = { sourceVolumeId: id, sourceVolumeUid: volume.uid, sourceVolumePath };
    return { source, note: () => Promise.resolve() };
  }

  return [
    common.list,
    {
      ...shared,
      access: 'token',
      operationId: 'create_snapshot',
      alsoRefuses: ['api.not-found', 'api.conflict', 'api.not-available'],
      methods: ['post'],
      path: '/pods/snapshots',
      summary:
        'Copies a path of a volume, or the data of a pod, on which you need USER. You become ADMIN of the snapshot. A copy ' +
        'that takes longer than ten seconds goes on after the response, with status CREATING.',
      body: schemas.NewSnapshot,
      handle: async ({ caller, body }) => {
        const written = checkedBody(schemas.NewSnapshot, body);
        const { snapshotId, destinationPath, cron, retentionPolicy } = written;
        requireRoomForTime(snapshotId, cron);
        const { source, note } = await sourceOf(caller, written);
        const nowMs = clock.now();
        const record: SnapshotRecord = {
          uid: parts.newUid(),
          tenant: caller.tenant,
          snapshotId,
          createdBy: caller.username,
          generation: 1,
          ...{ ...source, destinationPath, cron, retentionPolicy },
          description: written.description,
          sizeLimit: written.sizeLimit,
          permissions: { [caller.username]: 'ADMIN' },
          deleting: null,
          scheduledBy: null,
          servedUntilMs: nowMs,
          status: 'CREATING',
          message: '',
          createdAtMs: nowMs,
          updatedAtMs: nowMs,
        };
        const key = kind.keyOf(caller.tenant, snapshotId);
        // One whose deletion was interrupted is finished first.
        await purgeFilesRecord(parts, 'snapshot', key);
        await createWithinQuota(kind, parts, caller, record);
        await within(copies.run(key), COPY_WAIT_MS);
        const made = await kind.get(key);
        if (made?.value.uid !== record.uid) return await common.reply(record, 'Snapshot created successfully.');
        if (made.value.status === 'ERROR') {
          await store.commit({ puts: [kind.put({ ...made.value, deleting: {} }, made.revision)] });
          await purgeFilesRecord(parts, 'snapshot', key);
          throw new PodgateError('api.invalid', { publicMessages: [made.value.message] });
        }
        await note();
        return await common.reply(made.value, 'Snapshot created successfully.');
      },
    },
    common.get,
    {
      ...shared,
      access: 'token',
      operationId: 'update_snapshot',
      methods: ['put'],
      path: '/pods/snapshots/{snapshot_id}',
      summary:
        'Changes description, size_limit, cron and retention_policy. USER. Limit, schedule and policy apply to snapshots made from then on.',
      headers: ['If-Match'],
      body: schemas.UpdateSnapshot,
      handle: async (call) => {
        const written = checkedBody(schemas.UpdateSnapshot, call.body);
        return await common.update(call, (before) => {
          const after = {
            description: written.description ?? before.description,
            sizeLimit: written.sizeLimit ?? before.sizeLimit,
            cron: written.cron ?? before.cron,
            retentionPolicy: written.retentionPolicy ?? before.retentionPolicy,
          };
          requireRoomForTime(before.snapshotId, after.cron);
          const fields = ['description', 'sizeLimit', 'cron', 'retentionPolicy'] as const;
          if (fields.every((field) => before[field] === after[field])) return null;
          // A new schedule has no past.
          const served = after.cron === before.cron ? {} : { servedUntilMs: clock.now() };
          return { ...after, ...served, generation: before.generation + 1 };
        });
      },
    },
    common.remove,
    ...common.others,
  ];
}

interface WrittenSource {
  readonly snapshotId: string;
  readonly sourceVolumeId?: string | null | undefined;
  readonly sourceVolumePath?: string | null | undefined;
  readonly sourcePodId?: string | null | undefined;
  readonly destinationPath: string;
}

interface SourceFields {
  readonly source: Pick<SnapshotRecord, 'sourcePod' | 'sourceVolumeId' | 'sourceVolumeUid' | 'sourceVolumePath'>;
  /** Once it is being taken. */
  readonly note: () => Promise<void>;
}

function invalid(sentence: string): PodgateError {
  return new PodgateError('api.invalid', { publicMessages: [sentence] });
}

/** The snapshots of a schedule are named after it and after their time. */
function requireRoomForTime(snapshotId: string, cron: string): void {
  const most = ID_MAX_LENGTH - SCHEDULED_ID_LENGTH;
  if (cron === '' || snapshotId.length <= most) return;
  throw new PodgateError('api.invalid', {
    publicMessages: [`cron: a snapshot with a schedule has a name of at most ${most} characters`],
  });
}
