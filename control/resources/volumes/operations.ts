import { z } from 'zod';

import { PodgateError } from '../../../core/errors.ts';
import { filesRefOf, restorationOf, type VolumeRecord } from '../../../core/volume.ts';
import { checkedBody } from '../../http/checked-body.ts';
import type { AuthenticatedCall, Operation } from '../../http/operation.ts';
import { createWithinQuota } from '../../objects/create-within-quota.ts';
import { requireBelowRoot } from '../../objects/files/file-operations.ts';
import { purgeFilesRecord, sizeOf, volumeObjects } from '../../objects/files/files-record.ts';
import { filesRecordOperations } from '../../objects/files/record-operations.ts';
import { deleteFileOperation } from './delete-file-operation.ts';
import { requireNotRestoring, restoreOperation } from './restore-operation.ts';
import { requireSameFiles } from './same-files.ts';
import { VolumeAnswer } from './schema.ts';
import type { VolumeParts } from './volume-parts.ts';

const MIB = 1024 * 1024;
/** For the boundaries of the form around the file. */
const FORM_BYTES = MIB;
/** 10 GiB at 0.5 MB a second. */
const UPLOAD_TIMEOUT_MS = 6 * 3_600_000;
/** Pieces of it that are in memory at a time. */
const UPLOAD_MEMORY_BYTES = 512 * 1024;

export function volumeOperations(parts: VolumeParts): readonly Operation[] {
  const { store, files, schemas, clock } = parts;
  const kind = volumeObjects(store);
  const shared = { tag: 'Volumes', result: VolumeAnswer } as const;

  const answer = async (record: VolumeRecord): Promise<z.output<typeof VolumeAnswer>> => ({
    volume_id: record.volumeId,
    description: record.description,
    size_limit: record.sizeLimit,
    ...(await sizeOf(files, record)),
    status: restorationOf(record) === null ? 'AVAILABLE' : 'RESTORING',
    message: record.message ?? '',
    creation_ts: new Date(record.createdAtMs).toISOString(),
    update_ts: new Date(record.updatedAtMs).toISOString(),
  });
  const common = filesRecordOperations({
    ...{ ...parts, name: 'volume', kind, result: VolumeAnswer, answer },
    stopWork: (key) => parts.restores.cancel(key),
  });

  /** Is this limit a greater one? Throws where the storage could not grow to it. */
  async function raisesLimit(call: AuthenticatedCall, sizeLimit: number): Promise<boolean> {
    if (files.grow === undefined) return false;
    const record = await common.read(call, 'USER', 'Updating');
    if (sizeLimit <= record.sizeLimit) return false;
    await files.grow(filesRefOf(record), sizeLimit, { isTrial: true });
    return true;
  }

  async function growFiles(call: AuthenticatedCall, sizeLimit: number, isRaised: boolean): Promise<void> {
    if (files.grow === undefined) return;
    const record = await common.read(call, 'USER', 'Updating');
    // Another call may have lowered it meanwhile.
    if (sizeLimit > record.sizeLimit) return;
    await files.grow(filesRefOf(record), sizeLimit, { isTrial: false }).catch((error: unknown) => {
      // The limit was as great before: earlier releases did not enlarge the storage.
      if (isRaised || !(error instanceof PodgateError) || error.code !== 'api.conflict') throw error;
    });
  }

  return [
    common.list,
    {
      ...shared,
      access: 'token',
      operationId: 'create_volume',
      methods: ['post'],
      path: '/pods/volumes',
      summary: 'Creates a volume, of which you become ADMIN.',
      body: schemas.NewVolume,
      handle: async ({ caller, body }) => {
        const { volumeId, description, sizeLimit } = checkedBody(schemas.NewVolume, body);
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
        await createWithinQuota(kind, parts, caller, record);
        return await common.reply(record, 'Volume created successfully.');
      },
    },
    common.get,
    {
      ...shared,
      access: 'token',
      operationId: 'update_volume',
      methods: ['put'],
      path: '/pods/volumes/{volume_id}',
      summary:
        'Changes description and size_limit. USER. A size_limit below what is in use keeps more from being written. 409 ' +
        'where the storage of the cluster cannot grow to a greater one.',
      headers: ['If-Match'],
      body: schemas.UpdateVolume,
      handle: async (call) => {
        const written = checkedBody(schemas.UpdateVolume, call.body);
        const wanted = written.sizeLimit ?? null;
        // Refused before anything is changed. What is then interrupted is made up for by the same call, or the next use.
        const isRaised = wanted !== null && (await raisesLimit(call, wanted));
        const reply = await common.update(call, (before) => {
          const description = written.description ?? before.description;
          const sizeLimit = written.sizeLimit ?? before.sizeLimit;
          if (description === before.description && sizeLimit === before.sizeLimit) return null;
          return { description, sizeLimit, generation: before.generation + 1 };
        });
        if (wanted !== null) await growFiles(call, wanted, isRaised);
        return reply;
      },
    },
    common.remove,
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
        const record = await common.read(call, 'USER', 'Uploading');
        requireNotRestoring(record);
        const ref = filesRefOf(record);
        const limits = { sizeLimitMiB: record.sizeLimit };
        await call.receiveFile((bytes) => files.write(ref, path, bytes, limits));
        await requireSameFiles(parts, kind, record, 'upload the file again');
        // As in Tapis, whose function returns nothing.
        return { kind: 'json', message: 'Volume file upload successful.', result: 'None' };
      },
    },
    deleteFileOperation(parts, kind, common),
    restoreOperation(parts, kind, common),
    ...common.others,
  ];
}
