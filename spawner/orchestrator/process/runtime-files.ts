import { randomBytes } from 'node:crypto';
import { access, chmod, constants, copyFile, mkdir, realpath, rename, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { runTool } from './run-tool.ts';

const FLUSH_TIMEOUT_MS = 120_000;

/** May every user of this machine reach the file and read and run it? */
export async function isReachableByAll(path: string): Promise<boolean> {
  const real = await realpath(path);
  if (((await stat(real)).mode & 0o005) !== 0o005) return false;
  for (let directory = dirname(real); ; directory = dirname(directory)) {
    if (((await stat(directory)).mode & 0o001) === 0) return false;
    if (directory === dirname(directory)) return true;
  }
}

/**
 * Makes `<root>/<name>` once, even when others try at the same time: `make` fills a directory of its own, which then
 * takes its place in one step. `name` holds the version of what it is made from. Answers the path.
 */
export async function makeOnce(
  root: string,
  name: string,
  make: (directory: string) => Promise<void>,
): Promise<string> {
  const target = join(root, name);
  await mkdir(root, { recursive: true, mode: 0o755 });
  // We run what we find there: in a shared place such as /var/tmp somebody else may have put it there before us.
  for (const directory of [root, dirname(root)]) await mustBeOurs(directory);
  if (await exists(target)) return target;
  const directory = join(root, `.making-${name}-${randomBytes(8).toString('hex')}`);
  await mkdir(directory, { mode: 0o755 });
  try {
    await make(directory);
    // What is made once is believed for ever: a power cut must not leave empty files under its final name.
    await flushToDisk(directory);
    await rename(directory, target);
  } catch (error) {
    await rm(directory, { recursive: true, force: true });
    // Somebody else was faster: theirs is as good.
    if (await exists(target)) return target;
    throw error;
  }
  return target;
}

async function mustBeOurs(directory: string): Promise<void> {
  const { uid } = await stat(directory);
  if (uid !== 0 && uid !== process.getuid?.()) throw new Error(`${directory} belongs to another user`);
}

/** Writes what is below a directory, with whatever else its file system holds back, to the disk. */
export async function flushToDisk(directory: string): Promise<void> {
  const args = process.platform === 'linux' ? ['-f', directory] : [];
  const options = { cwd: directory, environment: { PATH: '/usr/bin:/bin' }, user: null, timeoutMs: FLUSH_TIMEOUT_MS };
  await runTool('sync', args, options, new AbortController().signal);
}

/** A path under which every user can run `program`: its own, or that of a copy made once. */
export async function reachableProgram(program: string, runtimeRoot: string, name: string): Promise<string> {
  if (await isReachableByAll(program)) return program;
  const { size, mtimeMs } = await stat(program);
  const directory = await makeOnce(runtimeRoot, `${name}-${size}-${Math.round(mtimeMs)}`, async (made) => {
    await copyFile(program, join(made, name), constants.COPYFILE_FICLONE);
    await chmod(join(made, name), 0o755);
  });
  return join(directory, name);
}

export async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
