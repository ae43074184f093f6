import { PodgateError, errorText } from '../../../core/errors.ts';

/** Primary result codes (https://sqlite.org/rescode.html) that say the database cannot be used now. */
const UNAVAILABLE = new Map([
  [5, 'SQLITE_BUSY'],
  [6, 'SQLITE_LOCKED'],
  [7, 'SQLITE_NOMEM'],
  [8, 'SQLITE_READONLY'],
  [9, 'SQLITE_INTERRUPT'],
  [10, 'SQLITE_IOERR'],
  [11, 'SQLITE_CORRUPT'],
  [13, 'SQLITE_FULL'],
  [14, 'SQLITE_CANTOPEN'],
  [15, 'SQLITE_PROTOCOL'],
  [22, 'SQLITE_NOLFS'],
  [23, 'SQLITE_AUTH'],
  [26, 'SQLITE_NOTADB'],
]);
const BUSY = 5;
const FULL = 13;
const CORRUPT = 11;
const NOT_A_DATABASE = 26;

/** The primary result code of an error thrown by node:sqlite, or null when it is another kind of error. */
function primaryCode(error: unknown): number | null {
  if (!(error instanceof Error) || !('errcode' in error) || typeof error.errcode !== 'number') return null;
  return error.errcode & 0xff;
}

export function isBusy(error: unknown): boolean {
  return primaryCode(error) === BUSY;
}

/** There is no room on the disk. */
export function isFull(error: unknown): boolean {
  return primaryCode(error) === FULL;
}

/** What was read cannot be what was written. */
export function isDamage(error: unknown): boolean {
  return primaryCode(error) === CORRUPT || primaryCode(error) === NOT_A_DATABASE;
}

export function isNotADatabase(error: unknown): boolean {
  return primaryCode(error) === NOT_A_DATABASE;
}

/**
 * What callers of the store get for whatever was thrown under it: 'store.unavailable' when the database or its disk is
 * at fault, 'api.internal' when we are (a constraint violated, a value that has no JSON). `what` names the operation.
 */
export function storeFailure(what: string, error: unknown): PodgateError {
  if (error instanceof PodgateError) return error;
  const code = primaryCode(error);
  const name = code === null ? undefined : UNAVAILABLE.get(code);
  if (name !== undefined) {
    return new PodgateError('store.unavailable', { detail: `${what}: ${name}: ${errorText(error)}`, cause: error });
  }
  return new PodgateError('api.internal', { detail: `${what}: ${errorText(error)}`, cause: error });
}

/** `what` would need room, and there is none but for what ends things. */
export function storeShort(what: string): PodgateError {
  return new PodgateError('store.unavailable', { detail: `${what}: SQLITE_FULL: the disk is full` });
}

export function storeClosed(what: string): PodgateError {
  return new PodgateError('store.unavailable', { detail: `${what}: the store is closed` });
}
