import { setTimeout as delay } from 'node:timers/promises';
import { z } from 'zod';

import { PodgateError } from '../../../core/errors.ts';
import type { Store } from '../../../core/store.ts';
import type { SnapshotRecord, VolumeFiles } from '../../../core/volume.ts';
import { checkedBody } from '../../http/checked-body.ts';
import { preconditionOf } from '../../http/if-match.ts';
import { jsonList } from '../../http/json-pieces.ts';
import type { AuthenticatedCall, JsonReply, Operation } from '../../http/operation.ts';
import { readObject } from '../../objects/access.ts';
import { changeObject, type ChangeParts } from '../../objects/change.ts';
import { createWithinQuota } from '../../objects/create-within-quota.ts';
import { ID_MAX_LENGTH } from '../../objects/files/fields.ts';
import { fileOperations } from '../../objects/files/file-operations.ts';
import {
  listFilesRecords,
  purgeFilesRecord,
  sizeOf,
  snapshotObjects,
  volumeObjects,
} from '../../objects/files/files-record.ts';
import { permissionOperations } from '../../objects/permission-operations.ts';
import { createObjectPermissions } from '../../objects/permissions.ts';
import type { SnapshotCopies } from './copies.ts';
import { SCHEDULED_ID_LENGTH } from './schedule.ts';
import { SnapshotAnswer, type SnapshotSchemas } from './schema.ts';

/** Clients of Tapis expect a snapshot that is AVAILABLE: larger ones are copied after the response. */
const COPY_WAIT_MS = 10_000;

export interface SnapshotParts extends Omit<ChangeParts, 'store'> {
  readonly store: Store;
  readonly files: VolumeFiles;
  readonly copies: SnapshotCopies;
  readonly newUid: () => string;
  readonly schemas: SnapshotSchemas;
}

export function snapshotOperations(parts: SnapshotParts): readonly Operation[] {
  const { store, files, copies, schemas, clock } = parts;
  const kind = snapshotObjects(store);
  const shared = { tag: 'Snapshots', result: SnapshotAnswer } as const;

  const answer = async (record: SnapshotRecord): Promise<z.output<typeof SnapshotAnswer>> => ({
    snapshot_id: record.snapshotId,
    source_volume_id: record.sourceVolumeId,
    source_volume_path: record.sourceVolumePath,
    destination_path: record.destinationPath,
    description: record.description,
    size_limit: record.sizeLimit,
    cron: record.cron,
    retention_policy: record.retentionPolicy,
    size: record.status === 'AVAILABLE' ? await sizeOf(files, 'snapshot', record.uid) : 0,
    status: record.status,
    message: record.message,
    scheduled_by: record.scheduledBy ?? '',
    creation_ts: new Date(record.createdAtMs).toISOString(),
    update_ts: new Date(record.updatedAtMs).toISOString(),
  });
  const reply = async (record: SnapshotRecord, message: string): Promise<JsonReply> => ({
    kind: 'json',
    message,
    result: await answer(record),
    generation: record.generation,
  });
  const idOf = ({ params }: AuthenticatedCall): string => params['snapshot_id'] ?? '';
  const read = async (call: AuthenticatedCall, needed: 'READ' | 'USER', act: string): Promise<SnapshotRecord> =>
    (await readObject(kind, { caller: call.caller, id: idOf(call), needed, act })).value;
  async function* answers(call: AuthenticatedCall): AsyncGenerator<z.output<typeof SnapshotAnswer>> {
    for await (const record of listFilesRecords(store, 'snapshot', call.caller, { all: call.isAdminView })) {
      yield await answer(record);
    }
  }

  return [
    {
      ...shared,
      access: 'token',
      operationId: 'list_snapshots',
      methods: ['get'],
      path: '/pods/snapshots',
      summary: 'The snapshots on which you have READ or more; with X-Pods-Admin, all of the tenant.',
      headers: ['X-Pods-Admin'],
      result: z.array(SnapshotAnswer),
      handle: async (call) => ({
        kind: 'json-pieces',
        message: 'Snapshots retrieved successfully.',
        pieces: jsonList(answers(call)),
      }),
    },
    {
      ...shared,
      access: 'token',
      operationId: 'create_snapshot',
      methods: ['post'],
      path: '/pods/snapshots',
      summary:
        'Copies a path of a volume, on which you need USER. You become ADMIN of the snapshot. A copy that takes longer than ' +
        'ten seconds goes on after the response, with status CREATING.',
      body: schemas.NewSnapshot,
      handle: async ({ caller, body }) => {
        const written = checkedBody(schemas.NewSnapshot, body);
        const { snapshotId, sourceVolumeId, sourceVolumePath, destinationPath, cron, retentionPolicy } = written;
        requireRoomForTime(snapshotId, cron);
        const volumeRequest = { caller, id: sourceVolumeId, needed: 'USER', act: 'Taking a snapshot' } as const;
        const volume = await readObject(volumeObjects(store), volumeRequest);
        const nowMs = clock.now();
        const record: SnapshotRecord = {
          uid: parts.newUid(),
          tenant: caller.tenant,
          snapshotId,
          createdBy: caller.username,
          generation: 1,
          ...{ sourceVolumeId, sourceVolumePath, destinationPath, cron, retentionPolicy },
          sourceVolumeUid: volume.value.uid,
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
        await createWithinQuota(kind, parts, record);
        const over = new AbortController();
        await Promise.race([
          copies.run(key),
          delay(COPY_WAIT_MS, undefined, { signal: over.signal }).catch(() => null),
        ]);
        over.abort();
        const made = await kind.get(key);
        if (made?.value.uid !== record.uid) return await reply(record, 'Snapshot created successfully.');
        if (made.value.status === 'ERROR') {
          await store.commit({ puts: [kind.put({ ...made.value, deleting: {} }, made.revision)] });
          await purgeFilesRecord(parts, 'snapshot', key);
          throw new PodgateError('api.invalid', { publicMessages: [made.value.message] });
        }
        return await reply(made.value, 'Snapshot created successfully.');
      },
    },
    {
      ...shared,
      access: 'token',
      operationId: 'get_snapshot',
      methods: ['get'],
      path: '/pods/snapshots/{snapshot_id}',
      summary: 'A snapshot. READ.',
      handle: async (call) => await reply(await read(call, 'READ', 'Reading'), 'Snapshot retrieved successfully.'),
    },
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
        const precondition = preconditionOf(call.ifMatch);
        const { record, isChanged } = await changeObject(kind, parts, {
          caller: call.caller,
          id: idOf(call),
          needed: 'USER',
          act: 'Updating',
          decide: (before) => {
            requireGeneration(precondition, before.generation);
            const after = {
              description: written.description ?? before.description,
              sizeLimit: written.sizeLimit ?? before.sizeLimit,
              cron: written.cron ?? before.cron,
              retentionPolicy: written.retentionPolicy ?? before.retentionPolicy,
            };
            requireRoomForTime(before.snapshotId, after.cron);
            const fields = ['description', 'sizeLimit', 'cron', 'retentionPolicy'] as const;
            if (fields.every((field) => before[field] === after[field])) return { change: null };
            // A new schedule has no past.
            const served = after.cron === before.cron ? {} : { servedUntilMs: clock.now() };
            return { change: { ...after, ...served, generation: before.generation + 1 } };
          },
        });
        if (isChanged) return await reply(record, 'Snapshot updated successfully.');
        const message = 'Incoming data made no changes to snapshot. Is incoming data equal to current data?';
        return { ...(await reply(record, message)), outcome: 'error' };
      },
    },
    {
      ...shared,
      access: 'token',
      operationId: 'delete_snapshot',
      methods: ['delete'],
      path: '/pods/snapshots/{snapshot_id}',
      summary: 'Deletes a snapshot with its files. ADMIN. Those that its schedule has made stay.',
      headers: ['If-Match'],
      result: z.string(),
      handle: async (call) => {
        const precondition = preconditionOf(call.ifMatch);
        const { record } = await changeObject(kind, parts, {
          caller: call.caller,
          id: idOf(call),
          needed: 'ADMIN',
          act: 'Deleting',
          decide: (before) => {
            requireGeneration(precondition, before.generation);
            return { change: { deleting: {} } };
          },
        });
        const key = kind.keyOf(record.tenant, record.snapshotId);
        await copies.cancel(key);
        await purgeFilesRecord(parts, 'snapshot', key);
        return { kind: 'json', message: 'Snapshot successfully deleted.', result: '' };
      },
    },
    ...fileOperations({
      noun: 'snapshot',
      files,
      refOf: async (call, needed, act) => {
        const { value } = await readObject(kind, { caller: call.caller, id: idOf(call), needed, act });
        return { kind: 'snapshot', uid: value.uid };
      },
    }),
    ...permissionOperations('snapshot', createObjectPermissions(kind, parts), '/pods'),
  ];
}

/** The snapshots of a schedule are named after it and after their time. */
function requireRoomForTime(snapshotId: string, cron: string): void {
  const most = ID_MAX_LENGTH - SCHEDULED_ID_LENGTH;
  if (cron === '' || snapshotId.length <= most) return;
  throw new PodgateError('api.invalid', {
    publicMessages: [`cron: a snapshot with a schedule has a name of at most ${most} characters`],
  });
}

function requireGeneration(precondition: (generation: number) => boolean, generation: number): void {
  if (precondition(generation)) return;
  throw new PodgateError('api.precondition-failed', {
    publicMessages: ['The snapshot has changed since you read it.'],
  });
}
