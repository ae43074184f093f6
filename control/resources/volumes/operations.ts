import { z } from 'zod';

import { PodgateError } from '../../../core/errors.ts';
import type { VolumeFiles, VolumeRecord } from '../../../core/volume.ts';
import { checkFields } from '../../http/field-checks.ts';
import { preconditionOf } from '../../http/if-match.ts';
import { jsonList } from '../../http/json-pieces.ts';
import type { AuthenticatedCall, JsonReply, Operation } from '../../http/operation.ts';
import { readObject } from '../../objects/access.ts';
import { changeObject, type ChangeParts } from '../../objects/change.ts';
import { createWithinQuota } from '../../objects/create-within-quota.ts';
import { fileOperations, requireBelowRoot } from '../../objects/files/file-operations.ts';
import { listFilesRecords, purgeFilesRecord, sizeOf, volumeObjects } from '../../objects/files/files-record.ts';
import { permissionOperations } from '../../objects/permission-operations.ts';
import { createObjectPermissions } from '../../objects/permissions.ts';
import type { Store } from '../../../core/store.ts';
import { VolumeAnswer, type VolumeSchemas } from './schema.ts';

const MIB = 1024 * 1024;
/** For the boundaries of the form around the file. */
const FORM_BYTES = MIB;
/** 10 GiB at 0.5 MB a second. */
const UPLOAD_TIMEOUT_MS = 6 * 3_600_000;
/** Pieces of it that are in memory at a time. */
const UPLOAD_MEMORY_BYTES = 512 * 1024;

export interface VolumeParts extends Omit<ChangeParts, 'store'> {
  readonly store: Store;
  readonly files: VolumeFiles;
  readonly newUid: () => string;
  readonly maxSizeMiB: number;
  readonly schemas: VolumeSchemas;
}

export function volumeOperations(parts: VolumeParts): readonly Operation[] {
  const { store, files, schemas, clock } = parts;
  const kind = volumeObjects(store);
  const shared = { tag: 'Volumes', result: VolumeAnswer } as const;

  const answer = async (record: VolumeRecord): Promise<z.output<typeof VolumeAnswer>> => ({
    volume_id: record.volumeId,
    description: record.description,
    size_limit: record.sizeLimit,
    size: await sizeOf(files, 'volume', record.uid),
    status: 'AVAILABLE',
    creation_ts: new Date(record.createdAtMs).toISOString(),
    update_ts: new Date(record.updatedAtMs).toISOString(),
  });
  const reply = async (record: VolumeRecord, message: string): Promise<JsonReply> => ({
    kind: 'json',
    message,
    result: await answer(record),
    generation: record.generation,
  });
  const idOf = ({ params }: AuthenticatedCall): string => params['volume_id'] ?? '';
  const read = async (call: AuthenticatedCall, needed: 'READ' | 'USER', act: string): Promise<VolumeRecord> =>
    (await readObject(kind, { caller: call.caller, id: idOf(call), needed, act })).value;
  async function* answers(call: AuthenticatedCall): AsyncGenerator<z.output<typeof VolumeAnswer>> {
    for await (const record of listFilesRecords(store, 'volume', call.caller, { all: call.isAdminView })) {
      yield await answer(record);
    }
  }

  return [
    {
      ...shared,
      access: 'token',
      operationId: 'list_volumes',
      methods: ['get'],
      path: '/pods/volumes',
      summary: 'The volumes on which you have READ or more; with X-Pods-Admin, all of the tenant.',
      headers: ['X-Pods-Admin'],
      result: z.array(VolumeAnswer),
      handle: async (call) => ({
        kind: 'json-pieces',
        message: 'Volumes retrieved successfully.',
        pieces: jsonList(answers(call)),
      }),
    },
    {
      ...shared,
      access: 'token',
      operationId: 'create_volume',
      methods: ['post'],
      path: '/pods/volumes',
      summary: 'Creates a volume, of which you become ADMIN.',
      body: schemas.NewVolume,
      handle: async ({ caller, body }) => {
        const { values, problems } = checkFields(schemas.NewVolume, body);
        const { volume_id: volumeId, description, size_limit: sizeLimit } = values;
        if (problems.length > 0 || volumeId === undefined || description === undefined || sizeLimit === undefined) {
          throw new PodgateError('api.invalid', { publicMessages: problems });
        }
        const nowMs = clock.now();
        const record: VolumeRecord = {
          uid: parts.newUid(),
          tenant: caller.tenant,
          volumeId,
          createdBy: caller.username,
          generation: 1,
          ...{ description, sizeLimit },
          permissions: { [caller.username]: 'ADMIN' },
          deleting: null,
          createdAtMs: nowMs,
          updatedAtMs: nowMs,
        };
        // One whose deletion was interrupted is finished first.
        await purgeFilesRecord(parts, 'volume', kind.keyOf(caller.tenant, volumeId));
        await createWithinQuota(kind, parts, record);
        return await reply(record, 'Volume created successfully.');
      },
    },
    {
      ...shared,
      access: 'token',
      operationId: 'get_volume',
      methods: ['get'],
      path: '/pods/volumes/{volume_id}',
      summary: 'A volume. READ.',
      handle: async (call) => await reply(await read(call, 'READ', 'Reading'), 'Volume retrieved successfully.'),
    },
    {
      ...shared,
      access: 'token',
      operationId: 'update_volume',
      methods: ['put'],
      path: '/pods/volumes/{volume_id}',
      summary:
        'Changes description and size_limit. USER. A size_limit below what is in use keeps more from being written.',
      headers: ['If-Match'],
      body: schemas.UpdateVolume,
      handle: async (call) => {
        const { values, problems } = checkFields(schemas.UpdateVolume, call.body);
        if (problems.length > 0) throw new PodgateError('api.invalid', { publicMessages: problems });
        const precondition = preconditionOf(call.ifMatch);
        const { record, isChanged } = await changeObject(kind, parts, {
          caller: call.caller,
          id: idOf(call),
          needed: 'USER',
          act: 'Updating',
          decide: (before) => {
            requireGeneration(precondition, before.generation);
            const description = values.description ?? before.description;
            const sizeLimit = values.size_limit ?? before.sizeLimit;
            if (description === before.description && sizeLimit === before.sizeLimit) return { change: null };
            return { change: { description, sizeLimit, generation: before.generation + 1 } };
          },
        });
        if (isChanged) return await reply(record, 'Volume updated successfully.');
        const message = 'Incoming data made no changes to volume. Is incoming data equal to current data?';
        return { ...(await reply(record, message)), outcome: 'error' };
      },
    },
    {
      ...shared,
      access: 'token',
      operationId: 'delete_volume',
      methods: ['delete'],
      path: '/pods/volumes/{volume_id}',
      summary: 'Deletes a volume with its files. ADMIN.',
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
        await purgeFilesRecord(parts, 'volume', kind.keyOf(record.tenant, record.volumeId));
        return { kind: 'json', message: 'Volume successfully deleted.', result: '' };
      },
    },
    {
      ...shared,
      access: 'token',
      operationId: 'upload_to_volume',
      methods: ['post'],
      path: '/pods/volumes/{volume_id}/upload/{path}',
      summary:
        'Writes a file, from the field "file" of a form; directories above it are made. USER. A file of that name is ' +
        'replaced once the upload is complete; an upload that is not leaves nothing.',
      takesFile: true,
      result: z.string(),
      limits: {
        bodyBytes: parts.maxSizeMiB * MIB + FORM_BYTES,
        bodyTimeoutMs: UPLOAD_TIMEOUT_MS,
        responseBytes: UPLOAD_MEMORY_BYTES,
      },
      handle: async (call) => {
        const path = call.params['path'] ?? '';
        requireBelowRoot(path);
        const { uid, sizeLimit: sizeLimitMiB } = await read(call, 'USER', 'Uploading');
        await call.receiveFile((bytes) => files.write({ kind: 'volume', uid }, path, bytes, { sizeLimitMiB }));
        // As in Tapis, whose function returns nothing.
        return { kind: 'json', message: 'Volume file upload successful.', result: 'None' };
      },
    },
    ...fileOperations({
      noun: 'volume',
      files,
      refOf: async (call, needed, act) => {
        const stored = await readObject(kind, { caller: call.caller, id: idOf(call), needed, act });
        return { kind: 'volume', uid: stored.value.uid };
      },
    }),
    ...permissionOperations('volume', createObjectPermissions(kind, parts), '/pods'),
  ];
}

function requireGeneration(precondition: (generation: number) => boolean, generation: number): void {
  if (precondition(generation)) return;
  throw new PodgateError('api.precondition-failed', { publicMessages: ['The volume has changed since you read it.'] });
}
