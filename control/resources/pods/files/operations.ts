import { z } from 'zod';

import { PodgateError } from '../../../../core/errors.ts';
import { jsonList } from '../../../http/json-pieces.ts';
import type { AuthenticatedCall, Operation, QueryParameter } from '../../../http/operation.ts';
import { fileTimeText } from '../../../objects/files/file-time.ts';
import { attachment, FileModel, permissionText } from '../../../objects/files/file-operations.ts';
import type { PodService } from '../pod-service.ts';
import { podIdOf } from '../pod-query.ts';
import { PATH_FIELD, type PodFile, TRANSFER_DEADLINE_MS } from './pod-files.ts';

const GIB = 1024 ** 3;
const UPLOAD_MAX_BYTES = 10 * GIB;
/** Pieces of a file on their way. */
const STREAM_BYTES = 1024 * 1024;
export const UPLOAD_LIMITS = {
  bodyBytes: UPLOAD_MAX_BYTES + STREAM_BYTES,
  bodyTimeoutMs: TRANSFER_DEADLINE_MS,
  responseBytes: STREAM_BYTES,
} as const;
/** What lists a directory, and the list. */
const LIST_BYTES = 8 * 1024 * 1024;
const TYPES: Readonly<Record<number, z.output<typeof FileModel>['type']>> = {
  0o04: 'dir',
  0o10: 'file',
  0o12: 'symbolic_link',
};

const PATH: QueryParameter = {
  name: 'path',
  description: 'In place of the path behind the name of the operation: may be absolute.',
};
const UploadedFile = z.object({ path: z.string().describe('Absolute.'), size: z.int().describe('Bytes.') });

/** Files in running pods: docs/commands-and-files.md. */
export function podFileOperations({ files }: Pick<PodService, 'files'>): readonly Operation[] {
  const shared = { tag: 'Pods' } as const;
  return [
    {
      ...shared,
      access: 'token',
      operationId: 'upload_to_pod',
      methods: ['post'],
      path: '/pods/{pod_id}/upload_to_pod',
      summary:
        'Writes a file in a running pod, as the user of the pod; directories above it are made. ADMIN. A file of that ' +
        'name is replaced once the upload is complete.',
      takesFile: true,
      formFields: {
        [PATH_FIELD]:
          'A path, absolute or relative to the working directory of the pod; of a directory: the file keeps its name. ' +
          'Best sent before the file, which then need not be moved between file systems.',
      },
      result: UploadedFile,
      limits: UPLOAD_LIMITS,
      handle: async (call) => {
        const request = { podId: podIdOf(call), signal: call.signal };
        const { path, sizeBytes } = await files.write(call.caller, request, call.receiveFile);
        return { kind: 'json', message: 'File uploaded successfully.', result: { path, size: sizeBytes } };
      },
    },
    {
      ...shared,
      access: 'token',
      operationId: 'list_files_in_pod',
      alsoRefuses: ['api.conflict'],
      methods: ['get'],
      path: '/pods/{pod_id}/list_files{url_path}',
      summary: 'A directory of a running pod, or one file. ADMIN. Default: the working directory of the pod.',
      query: [PATH],
      result: z.array(FileModel),
      limits: { responseBytes: LIST_BYTES },
      handle: async (call) => {
        const path = pathOf(call);
        const request = { podId: podIdOf(call), path: path === '' ? '.' : path, signal: call.signal };
        const listed = await files.list(call.caller, request);
        return {
          kind: 'json-pieces',
          message: 'Files listed successfully.',
          pieces: jsonList(listed.map(modelOf)),
        };
      },
    },
    {
      ...shared,
      access: 'token',
      operationId: 'download_from_pod',
      alsoRefuses: ['api.conflict'],
      methods: ['get'],
      path: '/pods/{pod_id}/download_from_pod{url_path}',
      summary: 'A file of a running pod. ADMIN.',
      query: [PATH],
      result: z.string(),
      replies: 'bytes',
      limits: { responseBytes: STREAM_BYTES },
      handle: async (call) => {
        const path = pathOf(call);
        if (path === '') throw invalid('path: is required; list_files lists directories');
        const request = { podId: podIdOf(call), path, signal: call.signal };
        const { sizeBytes, bytes, close } = await files.open(call.caller, request);
        return {
          kind: 'bytes',
          type: 'application/octet-stream',
          length: sizeBytes,
          headers: { 'Content-Disposition': attachment(path.split('/').at(-1) ?? '') },
          bytes,
          release: close,
        };
      },
    },
  ];
}

/** As in Tapis: what follows the name of the operation is relative, and `?path=` may be absolute. '': neither. */
function pathOf({ params, query }: AuthenticatedCall): string {
  const inUrl = (params['url_path'] ?? '').replace(/^\/+/, '');
  const inQuery = query.get('path') ?? '';
  if (inUrl !== '' && inQuery !== '') throw invalid('path: send it in the URL or as ?path=, not both');
  return inUrl === '' ? inQuery : inUrl;
}

function modelOf({ name, path, mode, sizeBytes, modifiedMs }: PodFile): z.output<typeof FileModel> {
  return {
    path,
    name,
    type: TYPES[mode >> 12] ?? 'other',
    size: sizeBytes,
    lastModified: fileTimeText(modifiedMs),
    nativePermissions: permissionText(mode),
  };
}

function invalid(sentence: string): PodgateError {
  return new PodgateError('api.invalid', { publicMessages: [sentence] });
}
