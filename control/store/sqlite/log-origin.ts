import { randomBytes } from 'node:crypto';
import { closeSync, existsSync, linkSync, openSync, readSync, renameSync, rmSync, statSync, writeSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import { pathToFileURL } from 'node:url';
import { PodgateError } from '../../../core/errors.ts';
import type { Connection, Row } from './sqlite-connection.ts';
import { isFull } from './sqlite-failure.ts';

const NONCE_BYTES = 9;
/** Of https://sqlite.org/fileformat2.html: the header of a log, and the two bytes of a main file that say it has one. */
const WAL_MAGIC = 0x377f0682;
const WAL_MAGIC_BYTES = 4;
const WAL_HEADER_BYTES = 32;
const FILE_FORMAT = 18;
const WAL_FORMAT = 0x0202;
const STORE = 'SELECT * FROM store';

/**
 * SQLite does not know which main file a write-ahead log was begun on: after a kill -9, it applies the log to whatever
 * file has been put in its place. So the first transaction of each log notes the nonce that the main file has
 * (`log_base`), and gives the database another one (`file_nonce`), which reaches the main file with the next checkpoint.
 *
 * To be called once for each log, while the main file holds all that the connection sees: after a whole checkpoint, or
 * without a log. A second call would note a nonce that the main file does not have yet. Returns false on a full disk.
 */
export function beginLog(connection: Connection): boolean {
  const nonce = randomBytes(NONCE_BYTES).toString('base64url');
  try {
    connection.run('UPDATE store SET log_base = file_nonce, file_nonce = ?', nonce);
    return true;
  } catch (error) {
    // The store goes on, so that pods can end: a file put in the place of this one is not noticed then.
    if (!isFull(error)) throw error;
    return false;
  }
}

/** A copy is no file that the log beside the original belongs to. */
export function renounceLog(copy: Connection): void {
  copy.run("UPDATE store SET log_base = '', file_nonce = 'copy of ' || file_nonce || ' at ' || commits");
}

/**
 * Copies the whole log to the main file, and begins a new one in the place of the former. Returns false when it could
 * not.
 */
export function rewindLog(connection: Connection): boolean {
  const { busy, log: pages, checkpointed } = connection.get('PRAGMA wal_checkpoint(PASSIVE)') ?? {};
  return busy === 0 && pages === checkpointed && beginLog(connection);
}

/** Is there a log that a process has left behind? */
export function hasLog(path: string): boolean {
  const magic = readStart(logOf(path), WAL_MAGIC_BYTES)?.readUInt32BE() ?? 0;
  // The last bit says in which order the bytes of checksums are.
  return magic >>> 1 === WAL_MAGIC >>> 1;
}

/**
 * When SQLite closes a database it removes the log, and the blocks of the file system with it. This keeps them under
 * another name, without their contents, until `useKeptLogFile`. Returns false when the file system cannot do that.
 */
export function keepLogFile(path: string): boolean {
  try {
    rmSync(keptLogOf(path), { force: true });
    linkSync(logOf(path), keptLogOf(path));
    return true;
  } catch {
    return false;
  }
}

/** After the database is closed: what is kept of its log is no longer one. */
export function forgetLog(path: string): void {
  const kept = keptLogOf(path);
  if (!existsSync(kept)) return;
  // Closing was cut off: this is the log itself.
  if (existsSync(logOf(path))) rmSync(kept, { force: true });
  else writeOver(kept, WAL_HEADER_BYTES);
}

/** Before the database is opened: gives the next log the blocks of the last one. */
export function useKeptLogFile(path: string): void {
  forgetLog(path);
  if (!existsSync(keptLogOf(path))) return;
  // SQLite would read a database that is in another mode, a copy say, as one with a log.
  const isWalMode = readStart(path, FILE_FORMAT + 2)?.readUInt16BE(FILE_FORMAT) === WAL_FORMAT;
  if (isWalMode) renameSync(keptLogOf(path), logOf(path));
  else rmSync(keptLogOf(path), { force: true });
}

/**
 * To be called before the database is opened for writing, and changes neither file. Throws PodgateError 'config.invalid'
 * when the log beside the main file was begun on another one. What cannot be read decides nothing here: a checkpoint that
 * was cut off may leave a main file that only its log makes whole.
 */
export function refuseForeignLog(path: string): void {
  if (!hasLog(path)) return;
  const main = readStore(immutable(path));
  const sharedMemory = `${path}-shm`;
  const hadSharedMemory = statSync(sharedMemory, { throwIfNoEntry: false }) !== undefined;
  const withLog = readStore(path);
  if (!hadSharedMemory) rmSync(sharedMemory, { force: true });
  if (main === null || withLog === null) return;
  // A checkpoint may have copied the nonce of the log already.
  if ([withLog['log_base'], withLog['file_nonce']].includes(main['file_nonce'] ?? '')) return;
  // Written by a release that knows nothing of this.
  if (withLog['file_nonce'] === undefined) return;
  throw new PodgateError('config.invalid', {
    publicMessages: [
      `${path} has been replaced, and ${logOf(path)} beside it holds changes to the former file: applied to this one, they would damage it. ` +
        `To use ${path} as it is, move ${logOf(path)} away. To go on with the former file, put it back beside its log.`,
    ],
  });
}

export function logOf(path: string): string {
  return `${path}-wal`;
}

function keptLogOf(path: string): string {
  return `${path}-wal-kept`;
}

/** Null for a file that is shorter, or not there. */
function readStart(path: string, bytes: number): Buffer | null {
  if (!existsSync(path)) return null;
  const file = openSync(path, 'r');
  try {
    const start = Buffer.alloc(bytes);
    return readSync(file, start, 0, bytes, 0) === bytes ? start : null;
  } finally {
    closeSync(file);
  }
}

function writeOver(path: string, bytes: number): void {
  const file = openSync(path, 'r+');
  try {
    writeSync(file, Buffer.alloc(bytes), 0, bytes, 0);
  } finally {
    closeSync(file);
  }
}

/** The main file alone: SQLite ignores the log of a file opened as immutable. */
function immutable(path: string): URL {
  const url = pathToFileURL(path);
  url.searchParams.set('immutable', '1');
  return url;
}

function readStore(from: string | URL): Row | null {
  try {
    // Read-only: at its end, another connection would copy the log into the main file.
    const database = new DatabaseSync(from, { readOnly: true });
    try {
      return database.prepare(STORE).get() ?? null;
    } finally {
      database.close();
    }
  } catch {
    return null;
  }
}
