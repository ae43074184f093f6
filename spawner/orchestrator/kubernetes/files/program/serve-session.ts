import { once } from 'node:events';
import type { Duplex } from 'node:stream';
import { errorText, PodgateError } from '../../../../../core/errors.ts';
import type { FileEntry, FilesRef, OpenedDirectory, OpenedFile, VolumeFiles } from '../../../../../core/volume.ts';
import { numberAt, recordAt, textAt, type JsonRecord } from '../../api/json.ts';
import { bytesFrame, type Frame, messageFrame, PROTOCOL, readFrames } from '../frames.ts';
import type { JoinedCopies } from './joined-copies.ts';

/** Names of a directory that are sent as one message. */
const ENTRIES = 64;
/** While an operation has nothing to send, so that nobody takes the connection for dead. */
const BEAT_MS = 10_000;
/** A caller that has been refused leaves at once. */
const LEAVE_MS = 30_000;

export interface SessionParts {
  readonly files: VolumeFiles;
  readonly copies: JoinedCopies;
}

/**
 * One operation on files for one caller at the other end of `connection`: `list`, `open` (and any number of `read` or
 * `walk` of what is open), `write`, `remove-file`, `copy` or `usage`. The end of the connection is the end of the operation.
 */
export async function serveSession({ files, copies }: SessionParts, connection: Duplex): Promise<void> {
  const frames = readFrames(connection as AsyncIterable<Buffer>);
  const gone = new AbortController();
  connection.once('close', () => gone.abort());
  const send = async (bytes: Buffer): Promise<void> => {
    gone.signal.throwIfAborted();
    if (!connection.write(bytes)) await once(connection, 'drain', { signal: gone.signal });
  };
  const say = (message: object): Promise<void> => send(messageFrame(message));
  const beat = setInterval(() => {
    if (!connection.writableNeedDrain && !gone.signal.aborted) connection.write(messageFrame({ kind: 'beat' }));
  }, BEAT_MS);
  try {
    await say({ kind: 'hello', protocol: PROTOCOL });
    const request = await nextMessage(frames);
    if (request === null) return;
    const ref = refAt(request, 'ref');
    const path = textAt(request, 'path');
    switch (textAt(request, 'kind')) {
      case 'list':
        await sendList(files.list(ref, path), say);
        return;
      case 'open':
        await serveOpened(await files.open(ref, path), frames, { say, send });
        return;
      case 'write':
        await files.write(ref, path, untilEnd(frames), { sizeLimitMiB: numberAt(request, 'sizeLimitMiB') ?? 0 });
        await say({ kind: 'done', usage: await files.usage(ref) });
        return;
      case 'remove-file':
        await files.removeFile(ref, path);
        await say({ kind: 'done', usage: await files.usage(ref) });
        return;
      case 'usage':
        await say({ kind: 'done', usage: await files.usage(ref) });
        return;
      case 'copy': {
        const to = {
          ref: refAt(request, 'to'),
          path: textAt(request, 'toPath'),
          sizeLimitMiB: numberAt(request, 'sizeLimitMiB') ?? 0,
        };
        const cut = cutOff(frames, gone);
        await copies.join({ ref, path }, to, gone.signal);
        cut.stop();
        await say({ kind: 'done', usage: await files.usage(to.ref) });
        return;
      }
      default:
        throw new Error('this operation is not known');
    }
  } catch (error) {
    if (!gone.signal.aborted) await say(errorMessage(error)).catch(() => undefined);
    // A runtime resets a connection whose input is not read to its end, and the message would be lost with it.
    await readToEnd(frames, connection).catch(() => undefined);
  } finally {
    clearInterval(beat);
    connection.end();
  }
}

interface Out {
  readonly say: (message: object) => Promise<void>;
  readonly send: (bytes: Buffer) => Promise<void>;
}

async function sendList(entries: AsyncIterable<FileEntry>, say: Out['say']): Promise<void> {
  let waiting: FileEntry[] = [];
  for await (const entry of entries) {
    waiting.push(entry);
    if (waiting.length < ENTRIES) continue;
    await say({ kind: 'entries', entries: waiting });
    waiting = [];
  }
  await say({ kind: 'entries', entries: waiting });
  await say({ kind: 'done' });
}

async function serveOpened(
  opened: OpenedFile | OpenedDirectory,
  frames: AsyncIterator<Frame>,
  { say, send }: Out,
): Promise<void> {
  try {
    const { kind, name } = opened;
    if (opened.kind === 'directory') {
      await say({ kind, name });
    } else {
      const { sizeBytes, modifiedMs, changeTag } = opened;
      await say({ kind, name, sizeBytes, modifiedMs, changeTag });
    }
    for (let request = await nextMessage(frames); request !== null; request = await nextMessage(frames)) {
      if (opened.kind === 'file') {
        const [start, end] = [numberAt(request, 'start') ?? 0, numberAt(request, 'end') ?? 0];
        for await (const bytes of opened.read(start, end)) await send(bytesFrame(bytes));
      } else {
        for await (const { bytes, ...entry } of opened.walk(numberAt(request, 'most') ?? 0)) {
          await say({ kind: 'entry', ...entry, isFile: bytes !== null });
          if (bytes === null) continue;
          for await (const piece of bytes) await send(bytesFrame(piece));
          await say({ kind: 'file-end' });
        }
      }
      await say({ kind: 'done' });
    }
  } finally {
    await opened.close();
  }
}

async function readToEnd(frames: AsyncIterator<Frame>, connection: Duplex): Promise<void> {
  const timer = setTimeout(() => connection.destroy(), LEAVE_MS);
  try {
    for (let next = await frames.next(); next.done !== true; next = await frames.next());
  } finally {
    clearTimeout(timer);
  }
}

/** Null: the caller has gone. */
async function nextMessage(frames: AsyncIterator<Frame>): Promise<JsonRecord | null> {
  const next = await frames.next();
  if (next.done === true) return null;
  if (next.value.kind !== 'message') throw new Error('bytes where a message should be');
  return next.value.message;
}

/** The bytes of an upload. One that breaks off throws, so that nothing of it stays. */
async function* untilEnd(frames: AsyncIterator<Frame>): AsyncGenerator<Uint8Array> {
  for (;;) {
    const next = await frames.next();
    if (next.done === true) throw new Error('the upload broke off');
    if (next.value.kind === 'message') return;
    yield next.value.bytes;
  }
}

/** Nothing more is to come while a copy is made: what comes is the end, which is noticed only when somebody reads. */
function cutOff(frames: AsyncIterator<Frame>, gone: AbortController): { readonly stop: () => void } {
  let isStopped = false;
  const over = (): void => {
    if (!isStopped) gone.abort();
  };
  frames.next().then(over, over);
  return { stop: () => void (isStopped = true) };
}

function refAt(request: JsonRecord, key: string): FilesRef {
  const ref = recordAt(request, key);
  const kind = textAt(ref, 'kind') === 'snapshot' ? 'snapshot' : 'volume';
  return { kind, uid: textAt(ref, 'uid'), tenant: '', id: '' };
}

/** `publicMessages` are for people; `detail` for Podgate's log. */
export function errorMessage(error: unknown): object {
  const known = error instanceof PodgateError ? error : new PodgateError('orchestrator.unavailable', { cause: error });
  return { kind: 'error', code: known.code, publicMessages: known.publicMessages, detail: errorText(error) };
}
