import { makeZip } from 'client-zip';
import { z } from 'zod';

import { PodgateError } from '../../../core/errors.ts';
import type { PermissionLevel } from '../../../core/pod.ts';
import type { FileEntry, FilesRef, OpenedDirectory, OpenedFile, VolumeFiles } from '../../../core/volume.ts';
import { parseVolumePath } from '../../../core/volume-path.ts';
import { parseByteRange, rangeIfSame, UnsatisfiableRange } from '../../http/byte-range.ts';
import { entityTag } from '../../http/if-match.ts';
import { jsonList } from '../../http/json-pieces.ts';
import type { AuthenticatedCall, BytesReply, Operation } from '../../http/operation.ts';
import { fileTime, fileTimeText } from './file-time.ts';

const ZIP_ENTRIES_MAX = 50_000;
/**
 * Counted for every archive: of a user's 64 MiB in flight, four archives leave some for other calls. It bounds how many
 * descriptors archives hold, too: two for each level of directories.
 */
const ZIP_LEAST_BYTES = 15 * 1024 * 1024;
/** Of memory, beside its name, that each entry takes until the archive is complete. */
const ZIP_ENTRY_BYTES = 1_024;
/** Entries after which it is counted again. */
const ZIP_RESERVE_EVERY = 256;
/** A few pieces of a file. */
const STREAM_BYTES = 512 * 1024;

export const FileModel = z.object({
  path: z.string().describe('Absolute, within the volume or snapshot.'),
  name: z.string(),
  type: z.enum(['file', 'dir', 'symbolic_link', 'other']),
  size: z.int().describe('Bytes.'),
  lastModified: z.string(),
  nativePermissions: z.string().describe('Such as rw-r-----.'),
});

export interface FileOperationParts {
  /** `volume`, in paths (`/pods/volumes/{volume_id}`) and sentences. */
  readonly noun: 'volume' | 'snapshot';
  readonly files: VolumeFiles;
  /** Throws 'api.not-found' or 'api.forbidden'. */
  readonly refOf: (call: AuthenticatedCall, needed: PermissionLevel, act: string) => Promise<FilesRef>;
}

/** What can be done with the files of a volume or a snapshot without changing them. */
export function fileOperations({ noun, files, refOf }: FileOperationParts): readonly Operation[] {
  const title = `${noun.charAt(0).toUpperCase()}${noun.slice(1)}`;
  const under = `/pods/${noun}s/{${noun}_id}`;
  const shared = { tag: `${title}s` } as const;
  const opened = async (call: AuthenticatedCall, act: string): Promise<OpenedFile | OpenedDirectory> => {
    const path = call.params['path'] ?? '';
    requireBelowRoot(path);
    return await files.open(await refOf(call, 'USER', act), path);
  };
  return [
    {
      ...shared,
      access: 'token',
      operationId: `list_${noun}_files`,
      ...(noun === 'snapshot' && { alsoRefuses: ['api.conflict'] as const }),
      methods: ['get'],
      path: `${under}/list`,
      summary: `One directory of a ${noun}. READ.`,
      query: [{ name: 'path', description: 'Which directory; all levels are reached one by one. Default: the root.' }],
      result: z.array(FileModel),
      limits: { responseBytes: STREAM_BYTES },
      handle: async (call) => {
        const path = call.query.get('path') ?? '';
        const entries = files.list(await refOf(call, 'READ', 'Listing files'), path);
        return {
          kind: 'json-pieces',
          message: `${title} file listing retrieved successfully.`,
          pieces: jsonList(modelsOf(path, entries)),
        };
      },
    },
    {
      ...shared,
      access: 'token',
      operationId: `get_${noun}_contents`,
      ...(noun === 'snapshot' && { alsoRefuses: ['api.conflict'] as const }),
      methods: ['get'],
      path: `${under}/contents/{path}`,
      summary: `A file of a ${noun}, or with zip=true a file or a directory as a ZIP archive. USER.`,
      query: [{ name: 'zip', description: 'true: as a ZIP archive, without compression. Default: false.' }],
      result: z.string(),
      headers: ['Range', 'If-Range'],
      replies: 'bytes',
      limits: { responseBytes: STREAM_BYTES },
      handle: async (call) => {
        const isZip = flagOf(call, 'zip');
        const found = await opened(call, 'Reading files');
        if (isZip) return await zipReply(found, call);
        if (found.kind === 'file') return await fileReply(found, call, {});
        await found.close();
        throw invalid('path: is a directory; add ?zip=true to get it as a ZIP archive');
      },
    },
    {
      ...shared,
      access: 'token',
      operationId: `download_${noun}_file`,
      ...(noun === 'snapshot' && { alsoRefuses: ['api.conflict'] as const }),
      methods: ['get'],
      path: `${under}/download/{path}`,
      summary: `A file of a ${noun} as an attachment; takes a Range header. USER.`,
      result: z.string(),
      headers: ['Range', 'If-Range'],
      replies: 'bytes',
      limits: { responseBytes: STREAM_BYTES },
      handle: async (call) => {
        const found = await opened(call, 'Downloading files');
        if (found.kind === 'file') {
          return await fileReply(found, call, {
            [`X-${title}-Id`]: call.params[`${noun}_id`] ?? '',
            'X-Source-Path': encodeURI(call.params['path'] ?? ''),
          });
        }
        await found.close();
        throw invalid('path: is a directory; get it with the contents operation and ?zip=true');
      },
    },
  ];
}

/** Throws 'api.invalid': all files at once are not for one response. */
export function requireBelowRoot(path: string): void {
  const parsed = parseVolumePath(path);
  if (parsed.kind === 'refused') throw invalid(`path: ${parsed.problem}`);
  if (parsed.names.length === 0) throw invalid('path: must not be empty or "/"');
}

async function fileReply(
  file: OpenedFile,
  { range: header, ifRange }: AuthenticatedCall,
  headers: Readonly<Record<string, string>>,
): Promise<BytesReply> {
  const { sizeBytes, modifiedMs, changeTag } = file;
  const validators =
    changeTag === null ? null : { entityTag: entityTag(changeTag), lastModified: fileTime(modifiedMs).toUTCString() };
  const range = parseByteRange(rangeIfSame(header, ifRange, validators), sizeBytes);
  if (range.kind === 'unsatisfiable') {
    await file.close();
    throw new UnsatisfiableRange(sizeBytes);
  }
  const [start, end] = range.kind === 'part' ? [range.start, range.end] : [0, sizeBytes];
  return {
    kind: 'bytes',
    status: range.kind === 'part' ? 206 : 200,
    type: 'application/octet-stream',
    length: end - start,
    headers: {
      ...headers,
      'Accept-Ranges': 'bytes',
      'Content-Disposition': attachment(file.name),
      ...(validators === null ? {} : { ETag: validators.entityTag, 'Last-Modified': validators.lastModified }),
      ...(range.kind === 'part' ? { 'Content-Range': `bytes ${start}-${end - 1}/${sizeBytes}` } : {}),
    },
    bytes: file.read(start, end),
    release: () => file.close(),
  };
}

/** Stored, not compressed: what is large is compressed already, and a gateway has better uses for its CPU. */
async function zipReply(found: OpenedFile | OpenedDirectory, { reserve }: AuthenticatedCall): Promise<BytesReply> {
  try {
    reserve(ZIP_LEAST_BYTES);
  } catch (error) {
    await found.close();
    throw error;
  }
  return {
    kind: 'bytes',
    type: 'application/zip',
    length: null,
    headers: { 'Content-Disposition': attachment(`${found.name}.zip`) },
    bytes: makeZip(zipEntries(found, reserve)),
    release: () => found.close(),
  };
}

/** The list at the end of an archive stays in memory until then: `reserve` gets its size. */
async function* zipEntries(found: OpenedFile | OpenedDirectory, reserve: AuthenticatedCall['reserve']) {
  if (found.kind === 'file') {
    const { name, modifiedMs, sizeBytes } = found;
    yield { name, lastModified: fileTime(modifiedMs), input: found.read(0, sizeBytes) };
    return;
  }
  let entries = 0;
  let heldBytes = 0;
  for await (const { path, modifiedMs, bytes } of found.walk(ZIP_ENTRIES_MAX)) {
    entries += 1;
    heldBytes += ZIP_ENTRY_BYTES + 3 * path.length;
    if (entries % ZIP_RESERVE_EVERY === 0) reserve(Math.max(ZIP_LEAST_BYTES, heldBytes));
    const name = `${found.name}/${path}`;
    const lastModified = fileTime(modifiedMs);
    yield bytes === null ? { name: `${name}/`, lastModified } : { name, lastModified, input: bytes };
  }
}

async function* modelsOf(path: string, entries: AsyncIterable<FileEntry>): AsyncGenerator<z.output<typeof FileModel>> {
  const parsed = parseVolumePath(path);
  const directory = parsed.kind === 'path' ? parsed.names.map((name) => `/${name}`).join('') : '';
  for await (const { name, type, sizeBytes, modifiedMs, mode } of entries) {
    yield {
      path: `${directory}/${name}`,
      name,
      type,
      size: sizeBytes,
      lastModified: fileTimeText(modifiedMs),
      nativePermissions: permissionText(mode),
    };
  }
}

/** Such as rw-r-----. */
export function permissionText(mode: number): string {
  return Array.from('rwxrwxrwx', (letter, index) => ((mode >> (8 - index)) & 1 ? letter : '-')).join('');
}

/** RFC 6266 and 8187: any name, and no way out of the header. */
export function attachment(name: string): string {
  const encoded = encodeURIComponent(name).replaceAll(/['()*]/g, (sign) => `%${sign.charCodeAt(0).toString(16)}`);
  return `attachment; filename*=UTF-8''${encoded}`;
}

function flagOf({ query }: AuthenticatedCall, name: string): boolean {
  const value = query.get(name);
  if (value === null || /^(true|false)$/i.test(value)) return value?.toLowerCase() === 'true';
  throw invalid(`${name}: must be true or false`);
}

function invalid(sentence: string): PodgateError {
  return new PodgateError('api.invalid', { publicMessages: [sentence] });
}
