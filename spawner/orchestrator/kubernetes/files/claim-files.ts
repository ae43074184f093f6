import { PodgateError } from '../../../../core/errors.ts';
import type {
  FileEntry,
  FilesRef,
  FilesUsage,
  FileType,
  OpenedDirectory,
  OpenedFile,
  VolumeFiles,
  WalkedEntry,
} from '../../../../core/volume.ts';
import { parseVolumePath } from '../../../../core/volume-path.ts';
import { type JsonRecord, listAt, numberAt, recordAt, textAt } from '../api/json.ts';
import type { FilesClaims } from './claims.ts';
import type { FileServers } from './file-servers.ts';
import type { Session } from './file-session.ts';
import { FRAME_MAX_BYTES } from './frames.ts';
import type { FileServer } from './server-manifest.ts';

/** A server ends by itself after five minutes: until shortly before it is asked, later it would have to be started. */
const ASKED_MS = 4 * 60_000;
const REMEMBERED_MAX = 10_000;
const TYPES: readonly FileType[] = ['file', 'dir', 'symbolic_link', 'other'];

interface LastUse {
  readonly usage: FilesUsage | null;
  /** Of its server, as of performance.now(); -Infinity: it has not been used. */
  readonly usedAtMs: number;
}

/**
 * Volumes and snapshots as claims of the cluster, made when they are first written to or mounted. One that has no claim
 * yet is empty. Their files are handled by file servers, with the code that handles them on a single machine.
 */
export class ClaimFiles implements VolumeFiles {
  readonly #claims: FilesClaims;
  readonly #servers: FileServers;
  /** By uid, the longest known first. */
  readonly #last = new Map<string, LastUse>();
  /** Never aborts: what only has this ends by itself, or is closed. */
  readonly #signal = new AbortController().signal;

  constructor(claims: FilesClaims, servers: FileServers) {
    this.#claims = claims;
    this.#servers = servers;
  }

  async *list(ref: FilesRef, path: string): AsyncGenerator<FileEntry> {
    const names = namesOf(path);
    if (!(await this.#claims.exists(ref, this.#signal))) {
      if (names[0] !== undefined) throw absent(names[0]);
      return;
    }
    const session = await this.#open(ref);
    try {
      await session.say({ kind: 'list', ref, path });
      for (;;) {
        const message = await session.message();
        if (textAt(message, 'kind') !== 'entries') return;
        yield* listAt(message, 'entries').map(entryOf);
      }
    } finally {
      session.close();
    }
  }

  async open(ref: FilesRef, path: string): Promise<OpenedFile | OpenedDirectory> {
    const names = namesOf(path);
    if (!(await this.#claims.exists(ref, this.#signal))) {
      if (names[0] !== undefined) throw absent(names[0]);
      return { kind: 'directory', name: '', walk: emptyWalk, close: () => Promise.resolve() };
    }
    const session = await this.#open(ref);
    try {
      await session.say({ kind: 'open', ref, path });
      return openedOf(session, await session.message());
    } catch (error) {
      session.close();
      throw error;
    }
  }

  async write(
    ref: FilesRef,
    path: string,
    source: AsyncIterable<Uint8Array>,
    { sizeLimitMiB }: { readonly sizeLimitMiB: number },
  ): Promise<void> {
    namesOf(path);
    await this.#claims.require(ref, sizeLimitMiB, this.#signal);
    const session = await this.#open(ref);
    try {
      await session.say({ kind: 'write', ref, path, sizeLimitMiB });
      this.#measured(ref, await upload(session, source));
    } finally {
      session.close();
    }
  }

  async removeFile(ref: FilesRef, path: string): Promise<void> {
    const [first] = namesOf(path);
    if (first === undefined) throw invalid('path: must name a file; it is empty');
    if (!(await this.#claims.exists(ref, this.#signal))) throw absent(first);
    const session = await this.#open(ref);
    try {
      await session.say({ kind: 'remove-file', ref, path });
      this.#measured(ref, await session.message());
    } finally {
      session.close();
    }
  }

  async copy(
    from: { readonly ref: FilesRef; readonly path: string },
    to: { readonly ref: FilesRef; readonly path: string; readonly sizeLimitMiB: number },
    signal: AbortSignal,
  ): Promise<void> {
    const names = namesOf(from.path);
    if (!(await this.#claims.exists(from.ref, signal))) {
      if (names[0] !== undefined) throw absent(names[0]);
      // A copy of nothing: it has no claim either.
      return;
    }
    await this.#claims.require(to.ref, to.sizeLimitMiB, signal);
    const server: FileServer = { role: 'copy', ref: to.ref, refs: [from.ref, to.ref] };
    try {
      await this.#servers.use(server, signal, async (session) => {
        await session.say({
          ...{ kind: 'copy', ref: from.ref, path: from.path },
          ...{ to: to.ref, toPath: to.path, sizeLimitMiB: to.sizeLimitMiB },
        });
        this.#measured(to.ref, await session.message());
      });
    } catch (error) {
      // What an aborted connection says is not the reason.
      signal.throwIfAborted();
      throw error;
    }
    // It would end by itself; what it holds may be mounted elsewhere at once. Another replica's may be gone already.
    await this.#servers.end(server, signal).catch(() => undefined);
  }

  grow(ref: FilesRef, sizeLimitMiB: number, options: { readonly isTrial: boolean }): Promise<void> {
    return this.#claims.grow(ref, sizeLimitMiB, options);
  }

  /** As last measured; null: nobody has used its files since this process began. */
  async usage(ref: FilesRef): Promise<FilesUsage | null> {
    const last = this.#last.get(ref.uid) ?? null;
    if (last === null) {
      if (!(await this.#claims.exists(ref, this.#signal))) return { bytes: 0, files: 0 };
      // A list asks for each of its volumes, every time.
      this.#remember(ref, { usage: null, usedAtMs: -Infinity });
      return null;
    }
    if (performance.now() - last.usedAtMs > ASKED_MS) return last.usage;
    const server = serverOf(ref);
    return await this.#servers
      .use(server, this.#signal, async (session) => {
        await session.say({ kind: 'usage', ref });
        return this.#measured(ref, await session.message());
      })
      .catch(() => last.usage);
  }

  async remove(ref: FilesRef): Promise<void> {
    this.#last.delete(ref.uid);
    await this.#servers.remove(ref, this.#signal);
    await this.#claims.remove(ref, this.#signal);
  }

  /** An operation of a volume's server begins. */
  #open(ref: FilesRef): Promise<Session> {
    this.#remember(ref, { usage: this.#last.get(ref.uid)?.usage ?? null, usedAtMs: performance.now() });
    return this.#servers.open(serverOf(ref), this.#signal);
  }

  #measured(ref: FilesRef, message: JsonRecord): FilesUsage | null {
    const measured = recordAt(message, 'usage');
    const [bytes, files] = [numberAt(measured, 'bytes'), numberAt(measured, 'files')];
    const usage = bytes === null || files === null ? null : { bytes, files };
    // What a server for copies has measured may have no server of its own.
    this.#remember(ref, { usage, usedAtMs: this.#last.get(ref.uid)?.usedAtMs ?? -Infinity });
    return usage;
  }

  #remember({ uid }: FilesRef, use: LastUse): void {
    this.#last.set(uid, use);
    const [oldest] = this.#last.keys();
    if (this.#last.size > REMEMBERED_MAX && oldest !== undefined) this.#last.delete(oldest);
  }
}

function serverOf(ref: FilesRef): FileServer {
  return { role: 'files', ref, refs: [ref] };
}

function openedOf(session: Session, message: JsonRecord): OpenedFile | OpenedDirectory {
  const name = textAt(message, 'name');
  const close = async (): Promise<void> => session.close();
  if (textAt(message, 'kind') === 'directory')
    return { kind: 'directory', name, walk: (most) => walk(session, most), close };
  // Null, or absent from a server of an earlier release, is ''.
  const changeTag = textAt(message, 'changeTag');
  return {
    kind: 'file',
    name,
    sizeBytes: numberAt(message, 'sizeBytes') ?? 0,
    modifiedMs: numberAt(message, 'modifiedMs') ?? 0,
    changeTag: changeTag === '' ? null : changeTag,
    read: (start, end) => read(session, start, end),
    close,
  };
}

async function* read(session: Session, start: number, end: number): AsyncGenerator<Uint8Array> {
  let isWhole = false;
  try {
    await session.say({ kind: 'read', start, end });
    for (let frame = await session.next(); frame.kind === 'bytes'; frame = await session.next()) yield frame.bytes;
    isWhole = true;
  } finally {
    // Who takes a part only leaves the rest on its way: nothing else can be asked of this session.
    if (!isWhole) session.close();
  }
}

async function* walk(session: Session, most: number): AsyncGenerator<WalkedEntry> {
  let isWhole = false;
  try {
    await session.say({ kind: 'walk', most });
    for (;;) {
      const message = await session.message();
      if (textAt(message, 'kind') !== 'entry') break;
      const entry = { path: textAt(message, 'path'), ...timeAndMode(message) };
      if (message['isFile'] !== true) {
        yield { ...entry, bytes: null };
        continue;
      }
      const file = { isOver: false };
      yield { ...entry, bytes: fileBytes(session, file) };
      // Skipping a file skips its bytes.
      while (!file.isOver) file.isOver = (await session.next()).kind === 'message';
    }
    isWhole = true;
  } finally {
    if (!isWhole) session.close();
  }
}

async function* fileBytes(session: Session, file: { isOver: boolean }): AsyncGenerator<Uint8Array> {
  while (!file.isOver) {
    const frame = await session.next();
    if (frame.kind === 'message') file.isOver = true;
    else yield frame.bytes;
  }
}

async function* emptyWalk(): AsyncGenerator<WalkedEntry> {
  // There is nothing.
}

async function* framesOf(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  for await (const bytes of source) {
    for (let at = 0; at < bytes.length; at += FRAME_MAX_BYTES) yield bytes.subarray(at, at + FRAME_MAX_BYTES);
  }
}

/** The answer to an upload, which may be a refusal in the middle of it: what is still to come is not waited for then. */
async function upload(session: Session, source: AsyncIterable<Uint8Array>): Promise<JsonRecord> {
  const answer = session.message();
  const pieces = framesOf(source);
  try {
    for (;;) {
      const next = pieces.next();
      next.catch(() => undefined);
      const step = await Promise.race([next, answer.then(() => null)]);
      if (step === null) break;
      if (step.done === true) {
        await isTaken(session.say({ kind: 'end' }));
        break;
      }
      // A server that has refused the upload takes no more of it: what it said is the reason.
      if (!(await isTaken(session.sendBytes(step.value)))) break;
    }
  } catch (error) {
    answer.catch(() => undefined);
    throw error;
  } finally {
    pieces.return(undefined).catch(() => undefined);
  }
  return await answer;
}

function isTaken(sent: Promise<void>): Promise<boolean> {
  return sent.then(
    () => true,
    () => false,
  );
}

function entryOf(entry: JsonRecord): FileEntry {
  const type = TYPES.find((each) => each === entry['type']) ?? 'other';
  return { name: textAt(entry, 'name'), type, sizeBytes: numberAt(entry, 'sizeBytes') ?? 0, ...timeAndMode(entry) };
}

function timeAndMode(entry: JsonRecord) {
  return { modifiedMs: numberAt(entry, 'modifiedMs') ?? 0, mode: numberAt(entry, 'mode') ?? 0 };
}

function namesOf(path: string): readonly string[] {
  const parsed = parseVolumePath(path);
  if (parsed.kind === 'path') return parsed.names;
  throw invalid(`path: ${parsed.problem}`);
}

function invalid(sentence: string): PodgateError {
  return new PodgateError('api.invalid', { publicMessages: [sentence] });
}

function absent(name: string): PodgateError {
  return new PodgateError('api.not-found', { publicMessages: [`path: there is no ${JSON.stringify(name)}.`] });
}
