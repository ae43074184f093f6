import { chmod, constants, copyFile, type FileHandle, mkdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { kindOfError } from '../../../../core/error-code.ts';
import { PodgateError } from '../../../../core/errors.ts';
import { requireRoom, ROOM_CHECK_BYTES } from '../volumes/disk-room.ts';
import { entriesOf, openDirectory, openFile, openRoot } from '../volumes/walk-safely.ts';

const MIB = 1024 * 1024;
/** Databases nest three deep. */
const DEPTH_MAX = 64;
const FILES_MAX = 1_000_000;
const FILE_MODE = 0o600;
const DIRECTORY_MODE = 0o700;
/** A clone where the file system has them; it must not be there. */
const COPY = constants.COPYFILE_FICLONE | constants.COPYFILE_EXCL;

export interface CopyLimit {
  readonly bytes: number;
  /** Whose limit it is, for users. */
  readonly of: string;
}

export interface CopyOptions {
  /** By its path below the top, with slashes. */
  readonly isLeftOut: (path: string) => boolean;
  /** Called for a symbolic link, which is never followed nor copied; throws where that makes the copy useless. */
  readonly onLink: (path: string) => void;
  readonly limit: CopyLimit;
  readonly signal: AbortSignal;
}

/**
 * Copies the regular files and directories below one directory, whose content is not trusted and may change meanwhile,
 * into another that is there and empty. What vanishes is left out; a file that grows is copied as it is at some moment.
 * The copies are ours, closed to others, and not synced. Throws PodgateError, for users, beyond a limit.
 */
export async function copyTree(from: string, to: string, options: CopyOptions): Promise<void> {
  const { uid } = await stat(from);
  const copy = new TreeCopy(to, uid, options);
  const top = await openRoot(from);
  try {
    await copy.directory(top, '', 0);
  } finally {
    await top.close();
  }
}

class TreeCopy {
  readonly #to: string;
  readonly #ownerUid: number;
  readonly #options: CopyOptions;
  #bytes = 0;
  #checkedBytes = -Infinity;
  #files = 0;

  constructor(to: string, ownerUid: number, options: CopyOptions) {
    this.#to = to;
    this.#ownerUid = ownerUid;
    this.#options = options;
  }

  async directory(from: FileHandle, path: string, depth: number): Promise<void> {
    if (depth > DEPTH_MAX) throw tooLarge(`has more than ${DEPTH_MAX} directories in each other`);
    for await (const { name, stats } of entriesOf(from)) {
      const below = path === '' ? name : `${path}/${name}`;
      if (this.#options.isLeftOut(below)) continue;
      this.#options.signal.throwIfAborted();
      if (stats.isSymbolicLink()) this.#options.onLink(below);
      else if (stats.isDirectory()) await this.#inner(from, name, below, depth);
      else if (stats.isFile()) await this.#file(from, name, below, stats.size);
    }
  }

  async #inner(from: FileHandle, name: string, path: string, depth: number): Promise<void> {
    const inner = await openDirectory(from, [name]).catch(unlessGone);
    if (inner === null) return;
    try {
      await this.#count(0);
      await mkdir(join(this.#to, path), { mode: DIRECTORY_MODE });
      await this.directory(inner, path, depth + 1);
    } finally {
      await inner.close();
    }
  }

  async #file(from: FileHandle, name: string, path: string, size: number): Promise<void> {
    // Before it is copied: a sparse file of a terabyte takes no room where it is.
    await this.#count(size);
    const opened = await openFile(from, name, this.#ownerUid).catch(unlessGone);
    if (opened === null) return;
    try {
      const copied = join(this.#to, path);
      await copyFile(`/proc/self/fd/${opened.file.fd}`, copied, COPY);
      await chmod(copied, FILE_MODE);
      const more = (await stat(copied)).size - size;
      if (more > 0) await this.#count(more);
    } finally {
      await opened.file.close();
    }
  }

  async #count(bytes: number): Promise<void> {
    this.#files += 1;
    this.#bytes += bytes;
    if (this.#files > FILES_MAX) throw tooLarge(`has more than ${FILES_MAX} files`);
    const { limit } = this.#options;
    if (this.#bytes > limit.bytes)
      throw tooLarge(`has more than the ${Math.round(limit.bytes / MIB)} MiB of ${limit.of}`);
    if (this.#bytes - this.#checkedBytes < ROOM_CHECK_BYTES) return;
    this.#checkedBytes = this.#bytes;
    await requireRoom(this.#to, bytes);
  }
}

function tooLarge(problem: string): PodgateError {
  return new PodgateError('api.too-large', { publicMessages: [`The data ${problem}; nothing was copied.`] });
}

/** It vanished, or is something else by now. */
function unlessGone(error: unknown): null {
  if (error instanceof PodgateError && error.code === 'api.not-found') return null;
  if (kindOfError(error) === 'absent') return null;
  throw error;
}
