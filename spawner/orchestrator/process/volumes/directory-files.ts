import { randomBytes } from 'node:crypto';
import { chmod, chown, type FileHandle, lstat, mkdir, readdir, rename, rmdir, stat, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { kindOfError } from '../../../../core/error-code.ts';
import { PodgateError } from '../../../../core/errors.ts';
import type {
  FileEntry,
  FilesRef,
  FilesUsage,
  OpenedDirectory,
  OpenedFile,
  VolumeFiles,
} from '../../../../core/volume.ts';
import type { OsUser } from '../os-users.ts';
import { removeTree } from '../remove-tree.ts';
import { beyondLimit, guarded, removalFailure } from './file-failures.ts';
import { ROOM_CHECK_BYTES } from './disk-room.ts';
import type { OpenedSource, VolumeMounts } from './volume-mounts.ts';
import { measureTree } from './measure-tree.ts';
import { changeTag } from './change-tag.ts';
import { openedTree } from './open-tree.ts';
import {
  DIRECTORY_MODE,
  entriesOf,
  invalid,
  namedFailure,
  namesOf,
  openDirectory,
  openFile,
  openRoot,
  readPieces,
  within,
} from './walk-safely.ts';
import { volumePlaces, type VolumePlaceOptions } from './volume-places.ts';
import { copyInto, FILES_MAX, writeFile } from './write-files.ts';

const MIB = 1024 * 1024;
/** An upload that is under way writes all the time: the API ends slow ones. */
const ABANDONED_MS = 3_600_000;
/** While pods write to a volume its size is measured anew after this time, and takes at most this part of a core. */
const FRESH_MIN_MS = 1_000;
const MEASURING_COST = 1 / 20;
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
export function createDirectoryFiles(options: VolumePlaceOptions): DirectoryFiles {
  const { placeOf, made, requireRoom } = volumePlaces(options);
  const known = new Map<string, Measured>();
  /** The workloads that write to a volume, by its uid. */
  const writers = new Map<string, Set<string>>();
  /** Bytes of uploads that are not complete, by uid. */
  const arriving = new Map<string, number>();
  /** One at a time for each volume, by uid. */
  const measuring = new Map<string, Promise<FilesUsage>>();
  /** One at a time: two must not count the same file as replaced. */
  let settling: Promise<unknown> = Promise.resolve();

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
      if (name === undefined) return openedTree(await openDirectory(top, []), '', ownerUid);
      const parent = await openDirectory(top, names.slice(0, -1));
      try {
        const found = await lstat(within(parent, name)).catch((error: unknown) => {
          throw namedFailure(error, name);
        });
        if (found.isDirectory()) return openedTree(await openDirectory(parent, [name]), name, ownerUid);
        const { file, stats } = await openFile(parent, name, ownerUid);
        return {
          kind: 'file',
          name,
          sizeBytes: stats.size,
          modifiedMs: stats.mtimeMs,
          changeTag: changeTag(stats, Date.now()),
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

/** What an upload has left whose process ended. */
async function removeAbandoned(incoming: string): Promise<void> {
  for (const name of await readdir(incoming)) {
    const path = join(incoming, name);
    const stats = await lstat(path).catch(() => null);
    if (stats !== null && Date.now() - stats.mtimeMs > ABANDONED_MS) await unlink(path).catch(() => undefined);
  }
}
