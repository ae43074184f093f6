import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import { chmod, type FileHandle, open, rename } from 'node:fs/promises';
import { dirname } from 'node:path';
import { pause } from '../../../../core/abort.ts';
import { backoffMs } from '../../../../core/backoff.ts';
import { errorCode, kindOfError } from '../../../../core/error-code.ts';
import { errorText } from '../../../../core/errors.ts';
import { mebibytes, PackageError } from './package-error.ts';

const ATTEMPTS = 5;
const FIRST_WAIT_MS = 500;
const WAIT_MAX_MS = 10_000;
/** A connection that brings nothing for this long is given up. */
const STALL_MS = 30_000;
const BUFFER_BYTES = 256 * 1024;
const { O_CREAT, O_NOFOLLOW, O_RDONLY, O_RDWR } = constants;

/** A file of a Maven repository whose every byte is known beforehand. */
export interface PinnedFile {
  /** In the repository: `org/neo4j/neo4j/5.26.30/neo4j-5.26.30.jar`. */
  readonly path: string;
  readonly bytes: number;
  /** Hex. */
  readonly sha256: string;
}

export interface PackageSource {
  /** Of the repository, without a slash at the end. */
  readonly url: string;
  /** The value of an Authorization header; null = none. */
  readonly authorization: string | null;
  /** For people: where the repository is set up. */
  readonly from: string;
}

export interface FetchFileOptions {
  readonly source: PackageSource;
  readonly file: PinnedFile;
  /** `<destination>.part` meanwhile. */
  readonly destination: string;
  /** So many bytes more are on disk; negative when some turned out to be wrong. */
  readonly onBytes: (count: number) => void;
  readonly stallMs?: number;
  /** Between the first and the second try; it doubles with each. */
  readonly firstWaitMs?: number;
}

/**
 * Downloads a file, from where an earlier try has stopped, and gives it its name once all of it has the pinned checksum.
 * Tries five times. Throws PackageError, or what the signal was aborted with.
 */
export async function fetchFile(options: FetchFileOptions, signal: AbortSignal): Promise<void> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      await fetchOnce(options, signal);
      return;
    } catch (cause) {
      signal.throwIfAborted();
      const error = packageErrorOf(cause, options);
      if (attempt === ATTEMPTS || !error.isRetryable) throw error;
    }
    await pause(backoffMs(attempt, { firstMs: options.firstWaitMs ?? FIRST_WAIT_MS, maxMs: WAIT_MAX_MS }), signal);
    signal.throwIfAborted();
  }
}

/** Is the file there, with the right content? */
export async function isIntact(path: string, { bytes, sha256 }: PinnedFile): Promise<boolean> {
  let handle: FileHandle;
  try {
    handle = await open(path, O_RDONLY | O_NOFOLLOW);
  } catch {
    return false;
  }
  try {
    const { size } = await handle.stat();
    return size === bytes && (await hashOf(handle, size)) === sha256;
  } finally {
    await handle.close();
  }
}

async function fetchOnce(options: FetchFileOptions, signal: AbortSignal): Promise<void> {
  const { file, destination, onBytes } = options;
  const part = `${destination}.part`;
  const handle = await open(part, O_RDWR | O_CREAT | O_NOFOLLOW, 0o644);
  /** What has been reported of this file. */
  let reported = 0;
  const report = (bytes: number): void => {
    onBytes(bytes - reported);
    reported = bytes;
  };
  try {
    let { size } = await handle.stat();
    if (size > file.bytes) size = await emptied(handle);
    report(size);
    if (size < file.bytes) await receive(options, handle, size, report, signal);
    const sha256 = await hashOf(handle, file.bytes);
    if (sha256 !== file.sha256) {
      await emptied(handle);
      throw new PackageError(
        `${urlOf(options)} has the SHA-256 ${sha256} instead of ${file.sha256}: it is not the published file, or it was damaged in transit.`,
        { isRetryable: true },
      );
    }
    await chmod(part, 0o644);
    await rename(part, destination);
  } catch (error) {
    // The next try reports again what it finds.
    report(0);
    throw error;
  } finally {
    await handle.close();
  }
}

/** Appends what is missing after `start`; rejects when it ends early, takes too long or does not end. */
async function receive(
  options: FetchFileOptions,
  handle: FileHandle,
  start: number,
  report: (bytes: number) => void,
  signal: AbortSignal,
): Promise<void> {
  const { file, source, stallMs = STALL_MS } = options;
  const stalled = new AbortController();
  const timer = setTimeout(() => {
    stalled.abort(new PackageError(`${urlOf(options)} sent nothing for ${stallMs / 1000} s.`, { isRetryable: true }));
  }, stallMs);
  try {
    const response = await fetch(urlOf(options), {
      headers: {
        'accept-encoding': 'identity',
        ...(start === 0 ? {} : { range: `bytes=${start}-` }),
        ...(source.authorization === null ? {} : { authorization: source.authorization }),
      },
      signal: AbortSignal.any([signal, stalled.signal]),
    });
    const isRest = response.status === 206 && startOf(response) === start;
    // A repository without ranges sends the whole file.
    let written = isRest ? start : await emptied(handle);
    report(written);
    if (!isRest && response.status !== 200) {
      await response.body?.cancel();
      throw refusalOf(response.status, options);
    }
    for await (const chunk of (response.body ?? []) as AsyncIterable<Uint8Array>) {
      timer.refresh();
      if (written + chunk.length > file.bytes) {
        await emptied(handle);
        throw new PackageError(`${urlOf(options)} is larger than ${file.bytes} bytes: it is not the published file.`, {
          isRetryable: false,
        });
      }
      await handle.write(chunk, 0, chunk.length, written);
      written += chunk.length;
      report(written);
    }
    if (written < file.bytes) {
      throw new PackageError(`The download of ${urlOf(options)} was cut after ${written} of ${file.bytes} bytes.`, {
        isRetryable: true,
      });
    }
  } finally {
    clearTimeout(timer);
  }
}

async function emptied(handle: FileHandle): Promise<0> {
  await handle.truncate(0);
  return 0;
}

async function hashOf(handle: FileHandle, bytes: number): Promise<string> {
  const hash = createHash('sha256');
  const buffer = Buffer.allocUnsafe(BUFFER_BYTES);
  for (let position = 0; position < bytes;) {
    const { bytesRead } = await handle.read(buffer, 0, BUFFER_BYTES, position);
    if (bytesRead === 0) break;
    hash.update(buffer.subarray(0, bytesRead));
    position += bytesRead;
  }
  return hash.digest('hex');
}

/** `Content-Range: bytes START-END/SIZE`. */
function startOf(response: Response): number {
  return Number(/^bytes (\d+)-/.exec(response.headers.get('content-range') ?? '')?.[1] ?? NaN);
}

function urlOf({ source, file }: FetchFileOptions): string {
  return `${source.url}/${file.path}`;
}

function refusalOf(status: number, options: FetchFileOptions): PackageError {
  const url = urlOf(options);
  const { from } = options.source;
  switch (status) {
    case 401:
    case 403:
      return new PackageError(`${url} is refused (HTTP ${status}): check the user and password set for ${from}.`, {
        isRetryable: false,
      });
    case 404:
    case 410:
      return new PackageError(
        `${url} does not exist (HTTP ${status}): the repository of ${from} is not a mirror of Maven Central.`,
        { isRetryable: false },
      );
    default:
      return new PackageError(`${url} is not served (HTTP ${status}).`, { isRetryable: true });
  }
}

function packageErrorOf(cause: unknown, options: FetchFileOptions): PackageError {
  if (cause instanceof PackageError) return cause;
  const code = codeOf(cause);
  const directory = dirname(options.destination);
  switch (kindOfError(code ?? '')) {
    case 'full':
      return diskFull(directory, options.file.bytes, cause);
    case 'forbidden':
    case 'read-only':
      return new PackageError(`Podgate cannot write to ${directory} (${code}).`, { isRetryable: false, cause });
    default:
      return new PackageError(`${urlOf(options)} cannot be downloaded (${reasonOf(cause)}).`, {
        isRetryable: true,
        cause,
      });
  }
}

export function diskFull(directory: string, bytes: number, cause?: unknown): PackageError {
  return new PackageError(
    `The disk of ${directory} is full: free at least ${mebibytes(bytes)} MiB there, or set XDG_CACHE_HOME to another disk.`,
    { isRetryable: false, cause },
  );
}

/** Failures of fetch say why in their cause. */
function reasonOf(error: unknown): string {
  const code = codeOf(error);
  if (code !== null) return code;
  return errorText(error instanceof Error && error.cause instanceof Error ? error.cause : error);
}

function codeOf(error: unknown): string | null {
  for (let each = error; each instanceof Error; each = each.cause) {
    const code = errorCode(each);
    if (code !== null) return code;
  }
  return null;
}
