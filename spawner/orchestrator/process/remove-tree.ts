import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { chmod, constants, type FileHandle, open, readdir, rename, rm, rmdir, unlink } from 'node:fs/promises';
import { errorCode, kindOfError } from '../../../core/error-code.ts';

/** Somebody keeps filling what is being removed: the caller tries again later. */
const PASSES_MAX = 100;
const AT_ONCE = 16;
const DESCRIPTORS = '/proc/self/fd';

/**
 * Removes a directory that a pod could write to, with all that is in it; nothing there is success. Pods are strangers,
 * and this is done as root: `fs.rm` goes by path, so that a directory exchanged for a link while it works leads it
 * anywhere (CWE-367), and it never gets done with paths above PATH_MAX, names that are no UTF-8, or directories closed to
 * us. Here every step is relative to an open directory (openat(2) by way of /proc/self/fd), which is made ours before it
 * is read; deeper directories are moved up, so that neither paths nor open files grow with the depth.
 */
export async function removeTree(path: string): Promise<void> {
  if (!existsSync(DESCRIPTORS)) {
    await rm(path, { recursive: true, force: true });
    return;
  }
  const top = await openDirectory(Buffer.from(path));
  if (top === null) {
    await rm(path, { force: true });
    return;
  }
  try {
    await empty(top);
  } finally {
    await top.close();
  }
  await rmdir(path).catch(unless('ENOENT'));
}

async function empty(top: FileHandle): Promise<void> {
  for (let pass = 0; pass < PASSES_MAX; pass += 1) {
    const waiting = await namesIn(top);
    if (waiting.length === 0) return;
    while (waiting.length > 0) {
      const moved = await Promise.all(waiting.splice(0, AT_ONCE).map((name) => removeEntry(top, name)));
      for (const names of moved) waiting.push(...names);
    }
  }
  throw new Error('a directory is being filled faster than it can be emptied');
}

/** Removes one entry of the top; the directories that were in it are in the top now: answers their names. */
async function removeEntry(top: FileHandle, name: Buffer): Promise<readonly Buffer[]> {
  const entry = within(top, name);
  if (await removeFile(entry)) return [];
  const directory = await openDirectory(entry);
  if (directory === null) return [];
  const moved: Buffer[] = [];
  try {
    for (const inner of await namesIn(directory)) {
      const path = within(directory, inner);
      if (await removeFile(path)) continue;
      const name = Buffer.from(`.${randomBytes(12).toString('hex')}`);
      // To be moved, a directory must be writable itself.
      await opened(path, () => rename(path, within(top, name)));
      moved.push(name);
    }
  } finally {
    await directory.close();
  }
  // What was exchanged for a link meanwhile, or filled, is met again in the next pass.
  await rmdir(entry).catch(unless('ENOENT', 'ENOTEMPTY', 'ENOTDIR'));
  return moved;
}

/** False: it is a directory. */
async function removeFile(path: Buffer): Promise<boolean> {
  try {
    await unlink(path);
    return true;
  } catch (error) {
    const code = errorCode(error);
    if (kindOfError(error) === 'absent') return true;
    if (code === 'EISDIR' || code === 'EPERM') return false;
    throw error;
  }
}

/** Opens a directory and makes it ours alone: from then on nobody changes what is in it. Null: there is none. */
async function openDirectory(path: Buffer): Promise<FileHandle | null> {
  const { O_DIRECTORY, O_NOFOLLOW, O_RDONLY } = constants;
  const flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW;
  let directory: FileHandle;
  try {
    directory = await opened(path, () => open(path, flags));
  } catch (error) {
    if (['absent', 'not-a-directory', 'link'].includes(kindOfError(error))) return null;
    throw error;
  }
  try {
    if (isRoot()) await directory.chown(0, 0);
    await directory.chmod(0o700);
    return directory;
  } catch (error) {
    await directory.close();
    throw error;
  }
}

/** A directory may be closed to its own owner. Never for root, whom nothing is closed to: chmod follows links. */
async function opened<T>(path: Buffer, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (errorCode(error) !== 'EACCES' || isRoot()) throw error;
    await chmod(path, 0o700);
    return work();
  }
}

const isRoot = (): boolean => process.geteuid?.() === 0;

/** Bytes: a name need not be UTF-8. */
function namesIn(directory: FileHandle): Promise<Buffer[]> {
  return readdir(`${DESCRIPTORS}/${directory.fd}`, { encoding: 'buffer' });
}

function within(directory: FileHandle, name: Buffer): Buffer {
  return Buffer.concat([Buffer.from(`${DESCRIPTORS}/${directory.fd}/`), name]);
}

function unless(...codes: readonly string[]): (error: unknown) => void {
  return (error) => {
    if (!codes.includes(errorCode(error) ?? '')) throw error;
  };
}
