import { constants, type FileHandle, lstat, mkdir, open, opendir } from 'node:fs/promises';
import type { BigIntStats, Stats } from 'node:fs';
import { errorCode, kindOfError } from '../../../../core/error-code.ts';
import { PodgateError } from '../../../../core/errors.ts';
import { parseVolumePath } from '../../../../core/volume-path.ts';
import type { OsUser } from '../os-users.ts';

/**
 * Opens files below a directory whose content is not trusted. `open` by path follows every link on the way, and what was
 * checked before may have been exchanged since (CWE-59, CWE-367). Here each name is opened relative to a directory that is
 * open already - openat(2) by way of /proc/self/fd - and never through a link.
 */
const DIRECTORY = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW;
/** Without O_NONBLOCK a pipe would hold one of the few threads for files until somebody writes to it. */
const FILE = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
/** Pods that mount a volume are in its group, and so is what they make in it. */
export const DIRECTORY_MODE = 0o2770;
export const FILE_MODE = 0o660;
const COPY_BYTES = 64 * 1024;

/** The path of an entry of an open directory, for one system call. `name` is a single name. */
export function within(directory: FileHandle, name: string): string {
  return `/proc/self/fd/${directory.fd}/${name}`;
}

/** Throws 'api.invalid'. */
export function namesOf(path: string): readonly string[] {
  const parsed = parseVolumePath(path);
  if (parsed.kind === 'refused') throw invalid(`path: ${parsed.problem}`);
  return parsed.names;
}

export async function openRoot(path: string): Promise<FileHandle> {
  return await open(path, DIRECTORY);
}

/**
 * The directory at `names` below `root`; those that are not there are made when `make` says for whom. The caller closes
 * it, and keeps `root`.
 */
export async function openDirectory(
  root: FileHandle,
  names: readonly string[],
  make?: { readonly owner: OsUser | null },
): Promise<FileHandle> {
  let directory = await open(`/proc/self/fd/${root.fd}`, constants.O_RDONLY | constants.O_DIRECTORY);
  for (const name of names) {
    const parent = directory;
    try {
      directory = await openStep(parent, name, make);
    } finally {
      await parent.close();
    }
  }
  return directory;
}

async function openStep(
  parent: FileHandle,
  name: string,
  make: { readonly owner: OsUser | null } | undefined,
): Promise<FileHandle> {
  const path = within(parent, name);
  try {
    return await open(path, DIRECTORY);
  } catch (error) {
    if (errorCode(error) !== 'ENOENT' || make === undefined) throw namedFailure(error, name);
  }
  try {
    await mkdir(path, { mode: 0o750 });
  } catch (error) {
    if (errorCode(error) !== 'EEXIST') throw namedFailure(error, name);
  }
  const made = await open(path, DIRECTORY).catch((error: unknown) => {
    throw namedFailure(error, name);
  });
  if (make.owner !== null) {
    await made.chown(make.owner.uid, make.owner.gid);
    await made.chmod(DIRECTORY_MODE);
  }
  return made;
}

/**
 * A regular file. One with several names is refused when it belongs to somebody else than the volume: a hard link may have
 * brought in what is not of it.
 */
export async function openFile(
  directory: FileHandle,
  name: string,
  ownerUid: number,
): Promise<{ readonly file: FileHandle; readonly stats: Stats }> {
  const file = await open(within(directory, name), FILE).catch((error: unknown) => {
    throw namedFailure(error, name);
  });
  try {
    const stats = await file.stat();
    const problem = fileProblem(stats, ownerUid);
    if (problem !== null) throw invalid(`path: ${JSON.stringify(name)} ${problem}`);
    return { file, stats };
  } catch (error) {
    await file.close();
    throw error;
  }
}

/** Why a file that is open must not be read, or null. */
export function fileProblem(
  stats: Pick<Stats | BigIntStats, 'isFile'> & { readonly nlink: number; readonly uid: number; readonly gid: number },
  ownerUid: number,
): string | null {
  if (!stats.isFile()) return 'is not a regular file';
  // The group of a volume has the same number as its user, and pods give it to what they make there.
  if (stats.nlink > 1 && stats.uid !== ownerUid && stats.gid !== ownerUid)
    return 'is a hard link to a file that does not belong to the volume';
  return null;
}

/** The bytes of an open file from `start` to `end` (excluded), a piece at a time. */
export async function* readPieces(file: FileHandle, start: number, end: number): AsyncGenerator<Uint8Array> {
  let at = start;
  while (at < end) {
    const length = Math.min(COPY_BYTES, end - at);
    const { buffer, bytesRead } = await file.read(Buffer.allocUnsafe(length), 0, length, at);
    // Truncated meanwhile: callers that count bytes notice the missing rest.
    if (bytesRead === 0) return;
    at += bytesRead;
    yield buffer.subarray(0, bytesRead);
  }
}

export interface FoundEntry {
  readonly name: string;
  readonly stats: Stats;
}

/** The entries of an open directory, as they come. Those that vanish meanwhile are left out. */
export async function* entriesOf(directory: FileHandle): AsyncGenerator<FoundEntry> {
  for await (const { name } of await opendir(`/proc/self/fd/${directory.fd}`, { bufferSize: 256 })) {
    const stats = await lstat(within(directory, name)).catch((error: unknown) => {
      if (kindOfError(error) === 'absent') return null;
      throw error;
    });
    if (stats !== null) yield { name, stats };
  }
}

/** What an error on the way means to the caller; anything else is the disk's. */
export function namedFailure(error: unknown, name: string): unknown {
  const shown = JSON.stringify(name);
  switch (errorCode(error)) {
    case 'ENOENT':
      return new PodgateError('api.not-found', { publicMessages: [`path: there is no ${shown}.`] });
    case 'ENOTDIR':
      return invalid(`path: ${shown} is not a directory; links are not followed`);
    // A link, opened with O_NOFOLLOW; a socket or a device without a driver.
    case 'ELOOP':
    case 'ENXIO':
    case 'ENODEV':
      return invalid(`path: ${shown} is not a regular file; links are not followed`);
    case 'EISDIR':
    case 'ENOTEMPTY':
    case 'EEXIST':
      return invalid(`path: ${shown} is a directory`);
    default:
      return error;
  }
}

export function invalid(sentence: string): PodgateError {
  return new PodgateError('api.invalid', { publicMessages: [sentence] });
}
