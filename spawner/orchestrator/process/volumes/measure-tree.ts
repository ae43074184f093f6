import { constants, type FileHandle, lstat, open, opendir } from 'node:fs/promises';
import type { BigIntStats } from 'node:fs';
import { type ErrorCodeKind, kindOfError } from '../../../../core/error-code.ts';
import type { FilesUsage } from '../../../../core/volume.ts';

const { O_DIRECTORY, O_NOFOLLOW, O_RDONLY } = constants;
const DIRECTORY = O_RDONLY | O_DIRECTORY | O_NOFOLLOW;
/** It vanished, or is something else by now. */
const GONE: readonly ErrorCodeKind[] = ['absent', 'not-a-directory', 'link'];

interface Level {
  readonly inode: bigint;
  /** Directories in it that have not been counted yet. */
  readonly waiting: string[];
}

/**
 * The sizes of all regular files below a directory whose content is not trusted, and the number of files and directories.
 *
 * Pods can nest directories deeper than a path or the table of open files can hold: one directory is open at a time, and
 * the way back up is "..", which is checked to be where we came from. A directory that is moved away meanwhile ends the
 * count there. Names are bytes, since they need not be UTF-8: latin1 keeps them.
 */
export async function measureTree(path: string): Promise<FilesUsage> {
  const usage = { bytes: 0, files: 0 };
  let directory = await open(path, DIRECTORY);
  try {
    const levels = [await count(directory, usage)];
    for (let level = levels.at(-1); level !== undefined; level = levels.at(-1)) {
      const name = level.waiting.pop();
      if (name === undefined) levels.pop();
      const expected = levels.at(-1)?.inode;
      if (expected === undefined) break;
      const next = await open(below(directory, name ?? '..'), DIRECTORY).catch(unlessGone);
      if (next === null) {
        if (name === undefined) break;
        continue;
      }
      await directory.close();
      directory = next;
      if (name !== undefined) levels.push(await count(directory, usage));
      else if ((await inodeOf(directory)) !== expected) break;
    }
    return usage;
  } finally {
    await directory.close();
  }
}

/** Adds the entries of one directory. */
async function count(directory: FileHandle, usage: { bytes: number; files: number }): Promise<Level> {
  const waiting: string[] = [];
  for await (const { name } of await opendir(`/proc/self/fd/${directory.fd}`, {
    encoding: 'latin1',
    bufferSize: 256,
  })) {
    const stats = await lstat(below(directory, name)).catch(unlessGone);
    if (stats === null || (!stats.isFile() && !stats.isDirectory())) continue;
    usage.files += 1;
    if (stats.isFile()) usage.bytes += stats.size;
    else waiting.push(name);
  }
  return { inode: await inodeOf(directory), waiting };
}

function below(directory: FileHandle, name: string): Buffer {
  return Buffer.from(`/proc/self/fd/${directory.fd}/${name}`, 'latin1');
}

async function inodeOf(directory: FileHandle): Promise<bigint> {
  const { ino }: BigIntStats = await directory.stat({ bigint: true });
  return ino;
}

function unlessGone(error: unknown): null {
  if (GONE.includes(kindOfError(error))) return null;
  throw error;
}
