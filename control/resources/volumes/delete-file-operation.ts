import { z } from 'zod';

import { compareAndSet } from '../../../core/compare-and-set.ts';
import { filesRefOf, type VolumeRecord } from '../../../core/volume.ts';
import type { Caller } from '../../auth/authenticator.ts';
import type { Operation } from '../../http/operation.ts';
import { auditWrites } from '../../objects/audit/audit-writes.ts';
import { auditedObject } from '../../objects/audit/object-writes.ts';
import { ATTEMPTS_MAX, tooManyConflicts } from '../../objects/change.ts';
import { requireBelowRoot } from '../../objects/files/file-operations.ts';
import type { FilesRecordOperations } from '../../objects/files/record-operations.ts';
import type { ObjectKind } from '../../objects/object-kind.ts';
import { requireNotRestoring } from './restore-operation.ts';
import { requireSameFiles } from './same-files.ts';
import type { VolumeParts } from './volume-parts.ts';

export function deleteFileOperation(
  parts: VolumeParts,
  kind: ObjectKind<VolumeRecord>,
  common: FilesRecordOperations<'volume'>,
): Operation {
  const { store, files, clock } = parts;

  /** Files are not in the store: the entry follows the deletion, so that none is about a file that is still there. */
  async function audit(caller: Caller, record: VolumeRecord, path: string): Promise<void> {
    const changes = [{ field: 'files', before: path, after: null }];
    const outcome = await compareAndSet(async () => {
      const act = { caller, atMs: clock.now(), changes, isDeletion: false };
      const { puts } = await auditWrites(store, auditedObject(kind, record), act);
      return (await store.commit({ puts })).kind === 'committed' ? true : null;
    }, ATTEMPTS_MAX);
    if (outcome === null) throw tooManyConflicts(kind, record.volumeId);
  }

  return {
    tag: 'Volumes',
    access: 'token',
    operationId: 'delete_volume_file',
    alsoRefuses: ['api.not-found', 'api.conflict'],
    methods: ['delete'],
    // A path in the query: clients resolve "..", so that "contents/.." would delete the volume.
    path: '/pods/volumes/{volume_id}/files',
    summary:
      'Deletes a file of a volume, a link (never what it leads to), or an empty directory. USER. A directory that is ' +
      'not empty is refused.',
    query: [{ name: 'path', description: 'Of the file, in the volume. Required.' }],
    result: z.string(),
    handle: async (call) => {
      const path = call.query.get('path') ?? '';
      requireBelowRoot(path);
      const record = await common.read(call, 'USER', 'Deleting files');
      requireNotRestoring(record);
      await files.removeFile(filesRefOf(record), path);
      await requireSameFiles(parts, kind, record, 'check its files, and delete the file again');
      await audit(call.caller, record, path);
      return { kind: 'json', message: 'Volume file successfully deleted.', result: '' };
    },
  };
}
