import { randomBytes } from 'node:crypto';
import {
  chmod,
  chown,
  type FileHandle,
  lstat,
  mkdir,
  open,
  readdir,
  rename,
  rmdir,
  stat,
  unlink,
} from 'node:fs/promises';
import { join } from 'node:path';
import { errorCode, kindOfError } from '../../../../core/error-code.ts';
import { errorText, PodgateError } from '../../../../core/errors.ts';
import type {
  FileEntry,
  FilesRef,
  FilesUsage,
  OpenedDirectory,
  OpenedFile,
  VolumeFiles,
  WalkedEntry,
} from '../../../../core/volume.ts';
import { IGNORED_FS_GROUP } from '../../ignored-fs-group.ts';
import { allocateOsUser, type OsUser } from '../os-users.ts';
import { isPlainName } from '../paths.ts';
import { removeTree } from '../remove-tree.ts';
import { requireRoom as requireDiskRoom, ROOM_CHECK_BYTES } from './disk-room.ts';
import type { OpenedSource, VolumeMounts } from './volume-mounts.ts';
import { measureTree } from './measure-tree.ts';
import {
  DIRECTORY_MODE,
  entriesOf,
  FILE_MODE,
  invalid,
  namedFailure,
  namesOf,
  openDirectory,
  openFile,
  openRoot,
  readPieces,
  within,
} from './walk-safely.ts';

const MIB = 1024 * 1024;
/** As process.files of a pod. */
const FILES_MAX = 1_000_000;
/** Uploads make no deeper ones. */
const DEPTH_MAX = 64;
/** An upload that is under way writes all the time: the API ends slow ones. */
const ABANDONED_MS = 3_600_000;
/** While pods write to a volume its size is measured anew after this time, and takes at most this part of a core. */
const FRESH_MIN_MS = 1_000;
const MEASURING_COST = 1 / 20;
const FULL = 'The storage of the volume or snapshot is full. Nothing was written.';
const CLOSED =
  'path: a pod made a file or directory there that is closed to others. Give its group access (chmod g+rwX), and start programs that share files with umask 002.';

export type DirectoryFilesOptions =
  | {
      /** Made when first used; only this uses it. */
      readonly root: string;
      /** Each volume gets a user of its own, whose files these are. */
      readonly asRoot: boolean;
    }
  /** Directories that are there, by uid, each a file system of its own: what is made in them is our group's, too. */
  | { readonly claims: ReadonlyMap<string, string> };

interface Place {
  readonly own: string;
  /** What users see. */
  readonly data: string;
  /** Beside it, on the same file system: what is not complete yet. */
  readonly incoming: string;
  readonly copy: string;
}

export interface DirectoryFiles extends VolumeFiles {
  usage(ref: FilesRef): Promise<FilesUsage>;
  readonly mounts: VolumeMounts;
}

interface Measured extends FilesUsage {
  /** As of performance.now(). */
  readonly untilMs: number;
}

/**
 * Volumes and snapshots as directories: `<root>/<uid>/data`. An upload is written beside it under a name of its own and
 * renamed when it is complete. What is in a directory is not trusted (see walk-safely.ts).
 */
export function createDirectoryFiles(options: DirectoryFilesOptions): DirectoryFiles {
  const known = new Map<string, Measured>();
  /** The workloads that write to a volume, by its uid. */
  const writers = new Map<string, Set<string>>();
  /** Bytes of uploads that are not complete, by uid. */
  const arriving = new Map<string, number>();
  /** One at a time for each volume, by uid. */
  const measuring = new Map<string, Promise<FilesUsage>>();
  /** One at a time: two must not choose the same user. */
  let making: Promise<unknown> = Promise.resolve();
  /** One at a time: two must not count the same file as replaced. */
  let settling: Promise<unknown> = Promise.resolve();

  function placeOf({ uid }: FilesRef): Place {
    if (!isPlainName(uid)) throw new Error('this uid cannot name a directory');
    const own = 'claims' in options ? options.claims.get(uid) : join(options.root, uid);
    if (own === undefined) throw new Error('the claim of this uid is not mounted');
    return { own, data: join(own, 'data'), incoming: join(own, 'incoming'), copy: join(own, 'copy') };
  }

  /** Its directories are there afterwards. */
  async function made(ref: FilesRef): Promise<Place & { readonly owner: OsUser | null }> {
    const place = placeOf(ref);
    const turn = making.then(async () => {
      await mkdir(place.own, { recursive: true, mode: 0o700 });
      // Pods come to their volumes by mounts alone: they have the groups of those.
      if ('root' in options) await chmod(options.root, 0o700);
      // Last: it is what says that the rest is there.
      await mkdir(place.incoming, { recursive: true, mode: 0o700 }).catch((error: unknown) => {
        throw 'claims' in options && errorCode(error) === 'EACCES' ? ignoredGroup() : error;
      });
      await makeOwned(place.data);
    });
    making = turn.catch(() => undefined);
    await turn;
    return { ...place, owner: await ownerOf(place.data) };
  }

  async function makeOwned(directory: string): Promise<void> {
    const isNew = (await mkdir(directory, { recursive: true, mode: 0o700 })) !== undefined;
    const isOurs = 'claims' in options || !options.asRoot;
    if ('claims' in options && isNew) await chmod(directory, DIRECTORY_MODE);
    if (!isOurs && (isNew || (await stat(directory)).uid === 0)) {
      const { uid, gid } = await newOwner(options.root);
      await chown(directory, uid, gid);
      await chmod(directory, DIRECTORY_MODE);
    }
  }

  async function newOwner(root: string): Promise<OsUser> {
    const taken = new Set<number>();
    for (const name of await readdir(root)) {
      const owner = await lstat(join(root, name, 'data')).catch(() => null);
      if (owner !== null) taken.add(owner.uid);
    }
    return await allocateOsUser((candidate) => taken.has(candidate));
  }

  async function requireRoom(): Promise<void> {
    if ('root' in options) await requireDiskRoom(options.root);
  }

  async function ownerOf(directory: string): Promise<OsUser | null> {
    if ('claims' in options) return { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 };
    if (!options.asRoot) return null;
    const { uid, gid } = await stat(directory);
    return { uid, gid };
  }

  async function* list(ref: FilesRef, path: string): AsyncGenerator<FileEntry> {
    const names = namesOf(path);
    const top = await openRoot((await guarded(made(ref))).data);
    let directory: FileHandle;
    try {
      directory = await openDirectory(top, names);
    } finally {
      await top.close();
    }
    try {
      for await (const { name, stats } of entriesOf(directory)) {
        yield {
          name,
          type: stats.isFile()
            ? 'file'
            : stats.isDirectory()
              ? 'dir'
              : stats.isSymbolicLink()
                ? 'symbolic_link'
                : 'other',
          sizeBytes: stats.size,
          modifiedMs: stats.mtimeMs,
          mode: stats.mode & 0o777,
        };
      }
    } finally {
      await directory.close();
    }
  }

  async function openPath(ref: FilesRef, path: string): Promise<OpenedFile | OpenedDirectory> {
    const names = namesOf(path);
    const { data } = await made(ref);
    const { uid: ownerUid } = await stat(data);
    const top = await openRoot(data);
    try {
      const name = names.at(-1);
      if (name === undefined) return opened(await openDirectory(top, []), '', ownerUid);
      const parent = await openDirectory(top, names.slice(0, -1));
      try {
        const found = await lstat(within(parent, name)).catch((error: unknown) => {
          throw namedFailure(error, name);
        });
        if (found.isDirectory()) return opened(await openDirectory(parent, [name]), name, ownerUid);
        const { file, stats } = await openFile(parent, name, ownerUid);
        return {
          kind: 'file',
          name,
          sizeBytes: stats.size,
          modifiedMs: stats.mtimeMs,
          read: (start, end) => readPieces(file, start, end),
          close: () => file.close(),
        };
      } finally {
        await parent.close();
      }
    } finally {
      await top.close();
    }
  }

  async function write(
    ref: FilesRef,
    path: string,
    source: AsyncIterable<Uint8Array>,
    { sizeLimitMiB }: { readonly sizeLimitMiB: number },
  ): Promise<void> {
    const names = namesOf(path);
    const name = names.at(-1);
    if (name === undefined) throw invalid('path: must name a file; it is empty');
    const { data, incoming, owner } = await made(ref);
    const used = await usage(ref);
    if (used.files >= FILES_MAX) {
      throw new PodgateError('api.too-large', {
        publicMessages: [`The ${ref.kind} has ${FILES_MAX} files, the most.`],
      });
    }
    await requireRoom();
    /** Of this upload, as long as it is not complete. */
    let bytes = 0;
    let checkedBytes = 0;
    const arrived = (length: number): void => {
      bytes += length;
      const all = (arriving.get(ref.uid) ?? 0) + length;
      if (all > 0) arriving.set(ref.uid, all);
      else arriving.delete(ref.uid);
    };
    const take = async (length: number): Promise<void> => {
      arrived(length);
      // Others may have been completed since this one began.
      const now = known.get(ref.uid) ?? used;
      if (now.bytes + (arriving.get(ref.uid) ?? 0) > sizeLimitMiB * MIB) throw beyondLimit(ref, sizeLimitMiB);
      if (bytes - checkedBytes < ROOM_CHECK_BYTES) return;
      checkedBytes = bytes;
      await requireRoom();
    };
    const settle = async (directory: FileHandle): Promise<void> => {
      const before = await lstat(within(directory, name)).catch(() => null);
      await rename(temporary, within(directory, name)).catch((error: unknown) => {
        throw namedFailure(error, name);
      });
      const now = known.get(ref.uid);
      if (now !== undefined) {
        known.set(ref.uid, {
          ...now,
          bytes: Math.max(0, now.bytes + bytes - (before?.size ?? 0)),
          files: now.files + (before === null ? names.length : 0),
        });
      }
      arrived(-bytes);
    };
    const top = await openRoot(data);
    const temporary = join(incoming, randomBytes(12).toString('hex'));
    try {
      await writeFile(temporary, source, { owner, take });
      await settleIn(await openDirectory(top, names.slice(0, -1), { owner }), settle);
    } finally {
      await top.close();
      arrived(-bytes);
      await unlink(temporary).catch(() => undefined);
    }
  }

  /** Changes a directory when all changes before are over: what is known of a volume stays right. It is closed here. */
  async function settleIn(directory: FileHandle, change: (directory: FileHandle) => Promise<void>): Promise<void> {
    try {
      const turn = settling.then(() => change(directory));
      settling = turn.catch(() => undefined);
      await turn;
      await directory.sync();
    } finally {
      await directory.close();
    }
  }

  async function removeFile(ref: FilesRef, path: string): Promise<void> {
    const names = namesOf(path);
    const name = names.at(-1);
    if (name === undefined) throw invalid('path: must name a file; it is empty');
    const top = await openRoot((await made(ref)).data);
    try {
      await settleIn(await openDirectory(top, names.slice(0, -1)), (directory) => removeIn(directory, name, ref));
    } finally {
      await top.close();
    }
  }

  async function removeIn(directory: FileHandle, name: string, { uid }: FilesRef): Promise<void> {
    const path = within(directory, name);
    const before = await lstat(path).catch(() => null);
    // Neither call follows a link, whatever the name has come to mean since it was read.
    await (before?.isDirectory() === true ? rmdir(path) : unlink(path)).catch((error: unknown) => {
      throw removalFailure(error, name);
    });
    const now = known.get(uid);
    if (now === undefined || before === null || !(before.isFile() || before.isDirectory())) return;
    const bytes = before.isFile() ? before.size : 0;
    known.set(uid, { ...now, bytes: Math.max(0, now.bytes - bytes), files: Math.max(0, now.files - 1) });
  }

  async function copy(
    from: { readonly ref: FilesRef; readonly path: string },
    to: { readonly ref: FilesRef; readonly path: string; readonly sizeLimitMiB: number },
    signal: AbortSignal,
  ): Promise<void> {
    let bytes = 0;
    let checkedBytes = 0;
    const take = async (length: number): Promise<void> => {
      signal.throwIfAborted();
      bytes += length;
      if (bytes > to.sizeLimitMiB * MIB) throw beyondLimit(to.ref, to.sizeLimitMiB);
      if (bytes - checkedBytes < ROOM_CHECK_BYTES) return;
      checkedBytes = bytes;
      await requireRoom();
    };
    await replace(to.ref, async (target, owner) => {
      const source = await openPath(from.ref, from.path);
      try {
        const top = await openRoot(target);
        try {
          await copyInto(top, namesOf(to.path), source, { owner, take });
        } finally {
          await top.close();
        }
      } finally {
        await source.close();
      }
      signal.throwIfAborted();
    });
  }

  async function replace(
    ref: FilesRef,
    fill: (directory: string, owner: OsUser | null) => Promise<void>,
  ): Promise<void> {
    const { data, copy: target, owner } = await made(ref);
    await removeTree(target);
    await mkdir(target, { mode: 0o700 });
    if (owner !== null) {
      await chown(target, owner.uid, owner.gid);
      await chmod(target, DIRECTORY_MODE);
    }
    try {
      await requireRoom();
      await fill(target, owner);
    } catch (error) {
      // A disk that is nearly full would stay so.
      await removeTree(target).catch(() => undefined);
      throw error;
    }
    await removeTree(data);
    await rename(target, data);
    known.delete(ref.uid);
  }

  async function usage(ref: FilesRef): Promise<FilesUsage> {
    const present = known.get(ref.uid);
    if (present !== undefined && performance.now() < present.untilMs) return present;
    const underWay = measuring.get(ref.uid) ?? measure(ref).finally(() => measuring.delete(ref.uid));
    measuring.set(ref.uid, underWay);
    return await underWay;
  }

  async function measure(ref: FilesRef): Promise<FilesUsage> {
    const { data, incoming } = await made(ref);
    await removeAbandoned(incoming);
    const beganMs = performance.now();
    const measured = await measureTree(data);
    const nowMs = performance.now();
    const freshMs = writers.has(ref.uid) ? Math.max(FRESH_MIN_MS, (nowMs - beganMs) / MEASURING_COST) : Infinity;
    known.set(ref.uid, { ...measured, untilMs: nowMs + freshMs });
    return measured;
  }

  async function openSource(
    ref: FilesRef,
    subPath: string,
    { isReadOnly }: { readonly isReadOnly: boolean },
  ): Promise<OpenedSource> {
    const { data, owner } = await made(ref);
    const top = await openRoot(data);
    try {
      const handle = await openDirectory(top, namesOf(subPath), ...(isReadOnly ? [] : [{ owner }]));
      return { path: join(data, subPath), handle, gid: owner?.gid ?? null };
    } finally {
      await top.close();
    }
  }

  const mounts: VolumeMounts = {
    open: (...request) => guarded(openSource(...request)),
    pathOf: (ref) => placeOf(ref).data,
    replace,
    attach({ uid }, by) {
      writers.set(uid, new Set([...(writers.get(uid) ?? []), by]));
      known.delete(uid);
    },
    detach({ uid }, by) {
      const others = writers.get(uid);
      others?.delete(by);
      if (others?.size === 0) writers.delete(uid);
      known.delete(uid);
    },
  };

  async function remove(ref: FilesRef): Promise<void> {
    known.delete(ref.uid);
    const { own, data } = placeOf(ref);
    // In one step, before the first of them goes: who copies them notices that some may be missing.
    await rename(data, join(own, randomBytes(12).toString('hex'))).catch((error: unknown) => {
      if (kindOfError(error) !== 'absent') throw error;
    });
    await removeTree(own);
  }

  return {
    list,
    open: (ref, path) => guarded(openPath(ref, path)),
    write: (...request) => guarded(write(...request)),
    removeFile: (ref, path) => guarded(removeFile(ref, path)),
    copy: (...request) => guarded(copy(...request)),
    mounts,
    usage: (ref) => guarded(usage(ref)),
    remove: (ref) => guarded(remove(ref)),
  };
}

function opened(handle: FileHandle, name: string, ownerUid: number): OpenedDirectory {
  return {
    kind: 'directory',
    name,
    walk: (most) => walk(handle, '', { most, ownerUid }),
    close: () => handle.close(),
  };
}

/** Depth first; as many directories are open at a time as the walk is deep. */
async function* walk(
  directory: FileHandle,
  prefix: string,
  bound: { most: number; readonly ownerUid: number },
  depth = 0,
): AsyncGenerator<WalkedEntry> {
  if (depth > DEPTH_MAX) throw invalid(`path: there are more than ${DEPTH_MAX} directories in each other`);
  for await (const { name, stats } of entriesOf(directory)) {
    if (!stats.isFile() && !stats.isDirectory()) continue;
    bound.most -= 1;
    if (bound.most < 0) throw invalid('path: there are too many files below it; ask for fewer at a time');
    const entry = {
      path: `${prefix}${name}`,
      modifiedMs: stats.mtimeMs,
      mode: stats.mode & 0o777,
    };
    if (stats.isFile()) {
      const bytes = fileBytes(directory, name, bound.ownerUid);
      try {
        yield { ...entry, bytes };
      } finally {
        // A consumer that gave up in the middle of the file does not end it; a file that is left open ends the process.
        await bytes.return(undefined);
      }
      continue;
    }
    yield { ...entry, bytes: null };
    const inner = await openDirectory(directory, [name]);
    try {
      yield* walk(inner, `${prefix}${name}/`, bound, depth + 1);
    } finally {
      await inner.close();
    }
  }
}

async function* fileBytes(
  directory: FileHandle,
  name: string,
  ownerUid: number,
): AsyncGenerator<Uint8Array, undefined> {
  const { file, stats } = await openFile(directory, name, ownerUid);
  try {
    yield* readPieces(file, 0, stats.size);
  } finally {
    await file.close();
  }
}

interface WriteOptions {
  readonly owner: OsUser | null;
  /** Called before so many bytes are written; rejects to refuse. */
  readonly take: (bytes: number) => Promise<void>;
}

/** Each file is there as a whole or not at all, which is enough in a directory that nobody sees before it is complete. */
async function copyInto(
  top: FileHandle,
  names: readonly string[],
  source: OpenedFile | OpenedDirectory,
  options: WriteOptions,
): Promise<void> {
  const copyFile = async (path: readonly string[], bytes: AsyncIterable<Uint8Array>, mode: number): Promise<void> => {
    const parent = await openDirectory(top, path.slice(0, -1), options);
    try {
      await writeFile(within(parent, path.at(-1) ?? ''), bytes, { ...options, isExecutable: (mode & 0o111) !== 0 });
    } finally {
      await parent.close();
    }
  };
  if (source.kind === 'file') {
    if (names.length === 0) throw invalid('destination_path: a snapshot of a single file needs one');
    await copyFile(names, source.read(0, source.sizeBytes), 0);
    return;
  }
  for await (const { path, bytes, mode } of source.walk(FILES_MAX)) {
    const all = [...names, ...path.split('/')];
    if (bytes === null) await (await openDirectory(top, all, options)).close();
    else await copyFile(all, bytes, mode);
  }
}

/** A new file with these bytes, on the disk when it returns. */
async function writeFile(
  path: string,
  source: AsyncIterable<Uint8Array>,
  { owner, take, isExecutable = false }: WriteOptions & { readonly isExecutable?: boolean },
): Promise<void> {
  const mode = isExecutable ? FILE_MODE | 0o110 : FILE_MODE;
  const file = await open(path, 'wx', mode);
  try {
    for await (const piece of source) {
      await take(piece.length);
      for (let at = 0; at < piece.length;) at += (await file.write(piece, at)).bytesWritten;
    }
    if (owner !== null) {
      await file.chown(owner.uid, owner.gid);
      await file.chmod(mode);
    }
    await file.datasync();
  } finally {
    await file.close();
  }
}

/** What an upload has left whose process ended. */
async function removeAbandoned(incoming: string): Promise<void> {
  for (const name of await readdir(incoming)) {
    const path = join(incoming, name);
    const stats = await lstat(path).catch(() => null);
    if (stats !== null && Date.now() - stats.mtimeMs > ABANDONED_MS) await unlink(path).catch(() => undefined);
  }
}

/** Directories may have the sticky bit, and files may be immutable. */
function removalFailure(error: unknown, name: string): unknown {
  const code = errorCode(error);
  if (code === 'ENOTEMPTY' || code === 'EEXIST') {
    return invalid(`path: ${JSON.stringify(name)} is a directory that is not empty; delete what is in it first`);
  }
  return code === 'EPERM' ? invalid(CLOSED) : namedFailure(error, name);
}

function ignoredGroup(): PodgateError {
  return new PodgateError('orchestrator.unavailable', { publicMessages: [IGNORED_FS_GROUP] });
}

function beyondLimit({ kind }: FilesRef, sizeLimitMiB: number): PodgateError {
  return new PodgateError('api.too-large', {
    publicMessages: [
      `The ${kind} would exceed its size_limit of ${sizeLimitMiB} MB. Nothing was written; raise size_limit, or store less.`,
    ],
  });
}

/** Disks fail in many ways; to the callers they are all one. */
async function guarded<T>(work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    if (error instanceof PodgateError || (error instanceof Error && error.name === 'AbortError')) throw error;
    if (kindOfError(error) === 'full') throw new PodgateError('api.too-large', { publicMessages: [FULL] });
    if (errorCode(error) === 'EACCES') throw new PodgateError('api.invalid', { publicMessages: [CLOSED] });
    throw new PodgateError('orchestrator.unavailable', { detail: errorText(error), cause: error });
  }
}
