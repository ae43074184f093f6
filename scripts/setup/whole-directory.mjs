import { chmod, mkdir, mkdtemp, rename, rm, stat } from 'node:fs/promises';
import { dirname } from 'node:path';

/**
 * Makes a directory of the cache, unless it is there. It appears whole or not at all.
 * @param {string} home
 * @param {(directory: string) => Promise<string | null>} make fills an empty one; a sentence on what is wrong, or null
 * @returns {Promise<string | null>} the same
 */
export async function wholeDirectory(home, make) {
  if (await isDirectory(home)) return null;
  await mkdir(dirname(home), { recursive: true });
  const making = await mkdtemp(`${home}.`);
  try {
    const problem = await make(making);
    if (problem !== null) return problem;
    // mkdtemp makes it private; the users that pods run as must be able to read it.
    await chmod(making, 0o755);
    await rename(making, home);
    return null;
  } catch (error) {
    // Another set-up of the same machine may have been faster.
    if (await isDirectory(home)) return null;
    throw error;
  } finally {
    await rm(making, { recursive: true, force: true });
  }
}

/** @param {string} path */
export async function isDirectory(path) {
  return stat(path).then(
    (entry) => entry.isDirectory(),
    () => false,
  );
}
