import { randomUUID } from 'node:crypto';

import { PodgateError } from '../../../../core/errors.ts';
import { EXEC_DEADLINE_MAX_MS } from '../../../../core/shell.ts';
import type { Caller } from '../../../auth/authenticator.ts';
import type { ReceivedForm } from '../../../http/received-form.ts';
import type { Places } from '../../../http/limits/places.ts';
import { readPod } from '../pod-objects.ts';
import { noteAction, type PodParts } from '../pod-parts.ts';
import { runScript } from './run-script.ts';
import { LIST, PLACE, READ, STAGE, UNSTAGE } from './scripts.ts';

const LIST_DEADLINE_MS = 30_000;
const PATH_MAX_BYTES = 4_095;
/** Below what a gateway waits for a silent API. */
const PLACE_DEADLINE_MS = 80_000;
const UNSTAGE_DEADLINE_MS = 30_000;
/** The line with a file's size. */
const SIZE_LINE_MAX_BYTES = 20;
export const TRANSFER_DEADLINE_MS = EXEC_DEADLINE_MAX_MS;

export interface PodFile {
  readonly name: string;
  /** Absolute. */
  readonly path: string;
  /** As stat(2) has it: type and permissions. */
  readonly mode: number;
  readonly sizeBytes: number;
  readonly modifiedMs: number;
}

export interface OpenedPodFile {
  /** Null: it is not known before its end, as for files of /proc. */
  readonly sizeBytes: number | null;
  /** Once. They end where the file ends, and throw when the pod or the time is lost on the way. */
  readonly bytes: AsyncIterable<Uint8Array>;
  readonly close: () => Promise<void>;
}

export interface WrittenPodFile {
  /** Absolute. */
  readonly path: string;
  readonly sizeBytes: number;
}

interface FileRequest {
  readonly podId: string;
  /** Relative to the working directory of the pod, or absolute. */
  readonly path: string;
  readonly signal: AbortSignal;
}

export interface WriteRequest extends Omit<FileRequest, 'path'> {
  /** The field of the form that names the path. Default: PATH_FIELD. */
  readonly pathField?: string;
  /** USER is enough, and the path must be one below the working directory. Default: false. */
  readonly isForUsers?: boolean;
}

/**
 * Files of running pods, each read or written by the pod's own user. All need ADMIN unless the request says otherwise, and
 * throw PodgateError.
 */
export interface PodFiles {
  list(caller: Caller, request: FileRequest): Promise<readonly PodFile[]>;
  open(caller: Caller, request: FileRequest): Promise<OpenedPodFile>;
  /** `receive` hands over the bytes and the form around them, whose field names the path; it may come after the file. */
  write(
    caller: Caller,
    request: WriteRequest,
    receive: <T>(use: (bytes: AsyncIterable<Uint8Array>, form: ReceivedForm) => Promise<T>) => Promise<T>,
  ): Promise<WrittenPodFile>;
}

export const PATH_FIELD = 'dest_path';

export function createPodFiles(parts: PodParts, places: Places): PodFiles {
  return {
    async list(caller, { podId, path, signal }) {
      const { value: record } = await readPod(parts, caller, podId, 'ADMIN', 'Listing files');
      const leave = places.enter(caller);
      try {
        const mark = `\n${randomUUID()} `;
        const run = { script: LIST, args: [scriptPath(path), mark], deadlineMs: LIST_DEADLINE_MS, path };
        return parseListing(await runScript(parts, record, run, signal), mark);
      } finally {
        leave();
      }
    },

    async open(caller, { podId, path, signal }) {
      const { value: record } = await readPod(parts, caller, podId, 'ADMIN', 'Downloading files');
      const args = [scriptPath(path)];
      const leave = places.enter(caller);
      const closing = new AbortController();
      const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>();
      const writer = writable.getWriter();
      // Both ends are told of what breaks off; whether anybody still listens does not matter.
      writer.closed.catch(() => undefined);
      const run = (async () => {
        try {
          await noteAction(parts, record, `'${caller.username}' downloads ${shownPath(path)}`);
          const output = (bytes: Uint8Array): Promise<void> => writer.write(bytes);
          const script = { script: READ, args, deadlineMs: TRANSFER_DEADLINE_MS, path, output };
          await runScript(parts, record, script, AbortSignal.any([signal, closing.signal]));
          await writer.close();
        } catch (error) {
          await writer.abort(error).catch(() => undefined);
        } finally {
          leave();
        }
      })();
      const close = async (): Promise<void> => {
        closing.abort();
        // What has been read and is not taken is forgotten.
        await writer.abort().catch(() => undefined);
        await run;
      };
      try {
        return { ...(await parseFile(readable)), close };
      } catch (error) {
        await close();
        throw error;
      }
    },

    async write(caller, { podId, signal, pathField = PATH_FIELD, isForUsers = false }, receive) {
      const needed = isForUsers ? 'USER' : 'ADMIN';
      const { value: record } = await readPod(parts, caller, podId, needed, 'Uploading files');
      const checked = (path: string): string => scriptPath(path, { field: pathField, isInside: isForUsers });
      const leave = places.enter(caller);
      const staged = `.podgate-upload-${randomUUID()}`;
      const store = async (bytes: AsyncIterable<Uint8Array>, form: ReceivedForm): Promise<WrittenPodFile> => {
        const early = form.fields.get(pathField) ?? '';
        const args = [early === '' ? '' : checked(early), staged];
        let sizeBytes = 0;
        const counted = async function* (): AsyncGenerator<Uint8Array> {
          for await (const piece of bytes) {
            sizeBytes += piece.length;
            yield piece;
          }
        };
        try {
          const stage = { script: STAGE, args, deadlineMs: TRANSFER_DEADLINE_MS, path: early, input: counted() };
          const stagedAt = await runScript(parts, record, stage, signal);
          const path = early === '' ? ((await form.allFields()).get(pathField) ?? '') : early;
          const to = [checked(path), stagedAt, fileNameOf(form.filename)];
          await noteAction(parts, record, `'${caller.username}' uploads ${shownPath(path)}`);
          const place = { script: PLACE, args: to, deadlineMs: PLACE_DEADLINE_MS, path };
          return { path: await runScript(parts, record, place, signal), sizeBytes };
        } catch (error) {
          const unstage = { script: UNSTAGE, args, deadlineMs: UNSTAGE_DEADLINE_MS, path: early };
          await runScript(parts, record, unstage, new AbortController().signal).catch(() => undefined);
          throw error;
        }
      };
      try {
        return await receive(store);
      } finally {
        leave();
      }
    },
  };
}

/**
 * Throws 'api.invalid'. Whatever it is, no program takes it for an option, and it has a directory. `isInside`: it must stay
 * below the working directory, as far as its words say.
 */
function scriptPath(path: string, { field = PATH_FIELD, isInside = false } = {}): string {
  if (path === '') throw invalid(`${field}: is required`);
  if (isInside && (path.startsWith('/') || path.split('/').includes('..')))
    throw invalid(`${field}: must be relative, without '..'`);
  if (path.includes('\0')) throw invalid('path: must not contain NUL bytes');
  if (Buffer.byteLength(path) > PATH_MAX_BYTES) throw invalid(`path: must have at most ${PATH_MAX_BYTES} bytes`);
  return path.startsWith('/') ? path : `./${path}`;
}

function fileNameOf(filename: string): string {
  const name = filename.split('/').at(-1) ?? '';
  // What is not UTF-8 has become U+FFFD.
  if (name.includes('\uFFFD')) throw invalid('file: its name must be valid UTF-8');
  return name === '' || name === '.' || name === '..' || name.includes('\0') ? 'file' : name;
}

function shownPath(path: string): string {
  return JSON.stringify(path.slice(0, 200));
}

function parseListing(text: string, mark: string): readonly PodFile[] {
  const [directory = '', ...entries] = text.split(mark);
  return entries
    .flatMap((entry) => {
      const [, mode = '', size = '', seconds = '', path = ''] =
        /^([\da-f]+) (\d+) (-?\d+) ([^]*?)\n?$/.exec(entry) ?? [];
      if (path === '') return [];
      const name = path.split('/').at(-1) ?? path;
      const absolute = path.startsWith('/') ? path : `${directory}/${path.replace(/^(\.\/)+/, '')}`;
      return [
        {
          name,
          path: absolute.replaceAll(/\/+/g, '/'),
          mode: Number.parseInt(mode, 16),
          sizeBytes: Number(size),
          modifiedMs: Number(seconds) * 1_000,
        },
      ];
    })
    .sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** Of what READ prints. Rejects with what has kept it from beginning. */
async function parseFile(readable: ReadableStream<Uint8Array>): Promise<Omit<OpenedPodFile, 'close'>> {
  const pieces = readable.values();
  let begun: Uint8Array = new Uint8Array();
  while (!begun.includes(0x0a)) {
    const next = await pieces.next();
    if (next.done === true) throw new PodgateError('orchestrator.unavailable', { detail: 'a file without its size' });
    begun = Buffer.concat([begun, next.value]);
    if (begun.length > SIZE_LINE_MAX_BYTES) break;
  }
  // What runs in a pod is its user's: its `stat` may print anything, without end.
  const line = Buffer.from(begun.subarray(0, Math.max(0, begun.indexOf(0x0a)))).toString();
  if (!/^\d{1,15}$/.test(line)) {
    throw new PodgateError('api.conflict', {
      publicMessages: ['`stat` in the pod does not print the size of a file.'],
    });
  }
  const end = line.length;
  const sizeBytes = Number(line) === 0 ? null : Number(line);
  const rest = begun.subarray(end + 1);
  const bytes = async function* (): AsyncGenerator<Uint8Array> {
    let count = rest.length;
    if (rest.length > 0) yield rest;
    for await (const piece of pieces) {
      count += piece.length;
      yield piece;
    }
    if (sizeBytes !== null && count !== sizeBytes) throw new Error('the file has become shorter');
  };
  return { sizeBytes, bytes: bytes() };
}

function invalid(sentence: string): PodgateError {
  return new PodgateError('api.invalid', { publicMessages: [sentence] });
}
