import { randomBytes } from 'node:crypto';
import { closeSync, constants, fstatSync, ftruncateSync, openSync, writeSync } from 'node:fs';

const PIECE_BYTES = 1024 * 1024;

/**
 * Writes from `start` to `end`, the end of a file that nothing has a use for yet, so that its blocks are there for what
 * is written later. When there is no space, it throws and the file is cut at `start`.
 */
export function allocate(file: number, start: number, end: number): void {
  // Random: a file system that compresses would keep no room for zeros.
  const piece = randomBytes(PIECE_BYTES);
  try {
    for (let at = start; at < end;) at += writeSync(file, piece, 0, Math.min(PIECE_BYTES, end - at), at);
  } catch (error) {
    ftruncateSync(file, start);
    throw error;
  }
}

/** Makes a file this long, keeping what is in it. */
export function allocateFile(path: string, bytes: number): void {
  const file = openSync(path, constants.O_RDWR | constants.O_CREAT, 0o600);
  try {
    allocate(file, fstatSync(file).size, bytes);
  } finally {
    closeSync(file);
  }
}
