import { randomBytes } from 'node:crypto';
import { rmSync, statSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import { pathToFileURL } from 'node:url';
import { PodgateError } from '../../../core/errors.ts';
import type { Connection, Row } from './sqlite-connection.ts';
import { isFull } from './sqlite-failure.ts';

const NONCE_BYTES = 9;
const STORE = 'SELECT * FROM store';

/**
 * SQLite does not know which main file a write-ahead log was begun on: after a kill -9, it applies the log to whatever
 * file has been put in its place. So the first transaction of each log notes the nonce that the main file has
 * (`log_base`), and gives the database another one (`file_nonce`), which reaches the main file with the next checkpoint.
 *
 * To be called while the main file holds all that the connection sees: after a whole checkpoint, or without a log.
 */
export function beginLog(connection: Connection): void {
  const nonce = randomBytes(NONCE_BYTES).toString('base64url');
  try {
    connection.run('UPDATE store SET log_base = file_nonce, file_nonce = ?', nonce);
  } catch (error) {
    // The store goes on, so that pods can end: a file put in the place of this one is not noticed then.
    if (!isFull(error)) throw error;
  }
}

/** A copy is no file that the log beside the original belongs to. */
export function renounceLog(copy: Connection): void {
  copy.run("UPDATE store SET log_base = '', file_nonce = 'copy of ' || file_nonce || ' at ' || commits");
}

/** Is there a log that a process has left behind? */
export function hasLog(path: string): boolean {
  return (statSync(logOf(path), { throwIfNoEntry: false })?.size ?? 0) > 0;
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

function logOf(path: string): string {
  return `${path}-wal`;
}

/** The main file alone: SQLite reads no log of a file that it is told nobody changes. */
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
