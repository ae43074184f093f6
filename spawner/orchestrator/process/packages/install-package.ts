import { chmod, mkdir, rename, statfs, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { errorCode } from '../../../../core/error-code.ts';
import { exists, flushToDisk } from '../runtime-files.ts';
import { diskFull, fetchFile, isIntact, type PackageSource, type PinnedFile } from './fetch-file.ts';
import { PackageError } from './package-error.ts';
import { distrustOf } from './trusted-directory.ts';

/** Files that are downloaded at once: most are small, and each takes a round trip. */
const CONCURRENCY = 6;
const LOCK_LOOK_MS = 500;
/** A package that is not there after this long is given up; the next try goes on with what has arrived. */
const DEADLINE_MS = 60 * 60_000;

export interface PinnedPackage {
  /** Of its directory in the cache: `neo4j-community-5.26.30`. */
  readonly name: string;
  readonly files: readonly PinnedFile[];
  /** Of all files. */
  readonly bytes: number;
  /** What it is, under which licence and from where: a text file beside the files. */
  readonly notice: string;
}

export type InstallProgress =
  /** Another process installs it. */
  { readonly kind: 'elsewhere' } | { readonly kind: 'downloading'; readonly doneBytes: number };

export interface InstallOptions {
  readonly package: PinnedPackage;
  /** Absolute. */
  readonly cacheDir: string;
  readonly source: PackageSource;
  /** Holds a file for one process alone until it is released or the process ends; null when it is still held after `waitMs`. */
  readonly lock: AcquireLock;
  readonly onProgress: (progress: InstallProgress) => void;
}

export type AcquireLock = (path: string, waitMs: number) => Promise<{ release(): void } | null>;

/** Where a package is, or will be: its files are in `lib`. */
export function packageHome(cacheDir: string, { name }: Pick<PinnedPackage, 'name'>): string {
  return join(cacheDir, name);
}

/**
 * Downloads a package into the cache, unless it is there, and resolves with its directory. It appears there whole and
 * verified, or not at all; what has arrived of an interrupted download is used by the next. Of two processes one works
 * and the other waits. Throws PackageError with a sentence for the user, or what the signal was aborted with.
 */
export async function installPackage(options: InstallOptions, signal: AbortSignal): Promise<string> {
  const { cacheDir, lock, onProgress } = options;
  const home = packageHome(cacheDir, options.package);
  await makeCacheDirectory(cacheDir);
  const deadline = AbortSignal.any([signal, AbortSignal.timeout(DEADLINE_MS)]);
  for (;;) {
    if (await exists(home)) return home;
    const held = await lock(join(cacheDir, `.${options.package.name}.lock`), LOCK_LOOK_MS);
    if (held !== null) {
      try {
        if (!(await exists(home))) await downloadAll(options, home, deadline);
        return home;
      } catch (error) {
        if (!deadline.aborted || signal.aborted) throw error;
        throw new PackageError(`The download was not complete after ${DEADLINE_MS / 60_000} minutes.`, {
          isRetryable: true,
          cause: error,
        });
      } finally {
        held.release();
      }
    }
    onProgress({ kind: 'elsewhere' });
    signal.throwIfAborted();
  }
}

async function makeCacheDirectory(cacheDir: string): Promise<void> {
  try {
    // The mode that the XDG Base Directory Specification gives to a cache directory that is not there yet.
    await mkdir(dirname(cacheDir), { recursive: true, mode: 0o700 });
    // Whatever the umask is: pods pass through it.
    if ((await mkdir(cacheDir, { recursive: true })) !== undefined) await chmod(cacheDir, 0o755);
  } catch (cause) {
    const code = errorCode(cause) ?? 'unknown error';
    throw new PackageError(
      `Podgate cannot make its cache directory ${cacheDir} (${code}); set XDG_CACHE_HOME to a directory that it may write to.`,
      { isRetryable: false, cause },
    );
  }
  const distrust = distrustOf(cacheDir);
  if (distrust !== null) throw new PackageError(distrust, { isRetryable: false });
}

async function downloadAll(options: InstallOptions, home: string, signal: AbortSignal): Promise<void> {
  const { package: wanted, cacheDir, source, onProgress } = options;
  const partial = join(cacheDir, `.${wanted.name}.partial`);
  const lib = join(partial, 'lib');
  await mkdir(lib, { recursive: true });
  for (const directory of [partial, lib]) {
    await chmod(directory, 0o755);
    const distrust = distrustOf(directory);
    if (distrust !== null) throw new PackageError(distrust, { isRetryable: false });
  }
  let doneBytes = 0;
  const onBytes = (count: number): void => {
    doneBytes += count;
    onProgress({ kind: 'downloading', doneBytes });
  };
  const missing: PinnedFile[] = [];
  for (const file of wanted.files) {
    signal.throwIfAborted();
    if (await isIntact(join(lib, basename(file.path)), file)) onBytes(file.bytes);
    else missing.push(file);
  }
  await checkRoom(partial, wanted.bytes - doneBytes);
  await inParallel(missing, signal, (file, each) =>
    fetchFile({ source, file, destination: join(lib, basename(file.path)), onBytes }, each),
  );
  await writeFile(join(partial, 'NOTICE'), wanted.notice, { mode: 0o644 });
  // A power cut must not leave empty files under the final name.
  await flushToDisk(partial);
  await rename(partial, home);
}

/** With the first failure the others end. */
async function inParallel(
  files: readonly PinnedFile[],
  signal: AbortSignal,
  fetchOne: (file: PinnedFile, signal: AbortSignal) => Promise<void>,
): Promise<void> {
  const failed = new AbortController();
  const either = AbortSignal.any([signal, failed.signal]);
  const left = files.values();
  const work = async (): Promise<void> => {
    for (const file of left) {
      either.throwIfAborted();
      await fetchOne(file, either);
    }
  };
  const workers = Array.from({ length: CONCURRENCY }, () =>
    work().catch((error: unknown) => {
      failed.abort(error);
      throw error;
    }),
  );
  const results = await Promise.allSettled(workers);
  signal.throwIfAborted();
  // The reason of the first failure, which the others repeat.
  if (failed.signal.aborted && results.some(({ status }) => status === 'rejected')) throw failed.signal.reason;
}

async function checkRoom(directory: string, bytes: number): Promise<void> {
  const { bavail, bsize } = await statfs(directory);
  if (bavail * bsize < bytes) throw diskFull(directory, bytes);
}
