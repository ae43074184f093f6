import { randomBytes } from 'node:crypto';
import {
  accessSync,
  chmodSync,
  constants,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { errorCode, kindOfError } from '../core/error-code.ts';
import { errorText, PodgateError } from '../core/errors.ts';
import { shellWord } from '../core/shell-word.ts';
import { acquireExclusiveLock, type ExclusiveLock } from './exclusive-lock.ts';

/** A Unix socket's path has at most 107 bytes on Linux, 103 on macOS (sun_path). */
const SOCKET_PATH_MAX_BYTES = 100;
const LONGEST_SOCKET = '/operator.sock';

export interface DataDirectory {
  /** Where the sockets between our processes are; 0700. */
  readonly runDir: string;
  /** Random, made with the directory. */
  readonly installation: string;
  release(): void;
}

/**
 * Prepares the data directory and locks it until `release`. Throws PodgateError 'config.invalid' with the reason when another
 * instance uses it or it cannot be written.
 */
export async function openDataDirectory(path: string): Promise<DataDirectory> {
  let lock: ExclusiveLock | null;
  try {
    makeDirectory(path);
    accessSync(path, constants.W_OK | constants.X_OK);
    refuseForeign(path);
    refuseShared(path);
    lock = await acquireExclusiveLock(join(path, 'supervisor.lock'), 0);
  } catch (error) {
    if (error instanceof PodgateError) throw error;
    throw unusable(
      `PODGATE_DATA_DIR: ${path} cannot be used: ${reasonOf(error)}; set it to a directory that you can write to.`,
      error,
    );
  }
  if (lock === null) {
    throw unusable(
      `PODGATE_DATA_DIR: another Podgate${holderOf(path)} is running with ${path}; stop it first, or use another directory.`,
    );
  }
  writeFileSync(join(path, 'supervisor.pid'), `${process.pid}\n`, { mode: 0o600 });
  const runDir = makeRunDirectory(path);
  return {
    runDir,
    installation: readInstallation(path),
    release() {
      rmSync(join(path, 'supervisor.pid'), { force: true });
      if (!runDir.startsWith(path)) rmSync(runDir, { recursive: true, force: true });
      lock.release();
    },
  };
}

/** With its parents. Not Node's `recursive`: that never ends where a mkdir fails with ENOENT below what exists, as in /proc. */
function makeDirectory(path: string): void {
  try {
    mkdirSync(path, { mode: 0o700 });
  } catch (error) {
    const kind = kindOfError(error);
    if (kind === 'exists' && statSync(path).isDirectory()) return;
    if (kind !== 'absent' || existsSync(dirname(path))) throw error;
    makeDirectory(dirname(path));
    mkdirSync(path, { mode: 0o700 });
  }
}

/** The owner of a directory can put other files in the place of ours, keys too. Root can do so anyway. */
function refuseForeign(path: string): void {
  const { uid } = statSync(path);
  if (uid === 0 || uid === process.geteuid?.()) return;
  throw unusable(
    `PODGATE_DATA_DIR: ${path} belongs to another user (user id ${uid}), who could change its contents; run Podgate as that user, or use a directory of your own.`,
  );
}

/**
 * A user who can write here can replace our key by a known one and sign any token. A group that we belong to is fine: the
 * operator decides on its members, and Kubernetes gives volumes to one (fsGroup).
 */
function refuseShared(path: string): void {
  const { mode, gid } = statSync(path);
  const isOurGroup = gid === process.getegid?.() || process.getgroups?.().includes(gid) === true;
  if ((mode & 0o002) === 0 && ((mode & 0o020) === 0 || isOurGroup)) return;
  throw unusable(
    `PODGATE_DATA_DIR: other users can write to ${path} and change the keys in it; run chmod go-w ${shellWord(path)}, or use a new subdirectory of it.`,
  );
}

const REASONS: Readonly<Record<string, string>> = {
  EACCES: 'permission denied',
  EPERM: 'permission denied',
  EROFS: 'the file system is read-only',
  EEXIST: 'it is not a directory',
  ENOTDIR: 'part of the path is not a directory',
  ENOENT: 'the directory cannot be created',
  ENAMETOOLONG: 'the name is too long',
  ENOSPC: 'no space left on the device',
};

function reasonOf(error: unknown): string {
  return REASONS[errorCode(error) ?? ''] ?? errorText(error);
}

function unusable(sentence: string, cause?: unknown): PodgateError {
  return new PodgateError('config.invalid', {
    publicMessages: [sentence],
    ...(cause === undefined ? {} : { cause }),
  });
}

function holderOf(path: string): string {
  try {
    return ` (pid ${readFileSync(join(path, 'supervisor.pid'), 'utf8').trim()})`;
  } catch {
    return '';
  }
}

function makeRunDirectory(path: string): string {
  const runDir = join(path, 'run');
  if (Buffer.byteLength(runDir + LONGEST_SOCKET) > SOCKET_PATH_MAX_BYTES)
    return mkdtempSync(join(tmpdir(), 'podgate-'));
  mkdirSync(runDir, { recursive: true, mode: 0o700 });
  chmodSync(runDir, 0o700);
  return runDir;
}

function readInstallation(path: string): string {
  const file = join(path, 'installation.id');
  try {
    const id = readFileSync(file, 'utf8').trim();
    if (/^[a-z0-9]{12,64}$/.test(id)) return id;
  } catch (error) {
    if (kindOfError(error) !== 'absent') throw error;
  }
  const id = randomBytes(8).toString('hex');
  writeFileSync(`${file}.new`, `${id}\n`, { mode: 0o600, flush: true });
  renameSync(`${file}.new`, file);
  return id;
}
