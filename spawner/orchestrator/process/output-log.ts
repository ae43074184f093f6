import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs';
import { join } from 'node:path';
import { kindOfError } from '../../../core/error-code.ts';

/**
 * What a workload prints: two files that its shim writes, the older one full. Both together hold at most `maxBytes`,
 * whether or not anybody looks after them.
 */
export class OutputLog {
  readonly directory: string;
  readonly fileMaxBytes: number;
  readonly #newer: string;
  readonly #older: string;

  constructor(directory: string, maxBytes: number) {
    this.directory = directory;
    this.fileMaxBytes = Math.floor(maxBytes / 2);
    this.#newer = join(directory, 'output.log');
    this.#older = join(directory, 'output.1.log');
  }

  /** The last `bytes`, from the beginning of a line on; '' when there is nothing. */
  tail(bytes: number): string {
    const newer = readEndOf(this.#newer, bytes);
    const older = newer.length < bytes ? readEndOf(this.#older, bytes - newer.length) : Buffer.alloc(0);
    const all = Buffer.concat([older, newer]);
    return (all.length < bytes ? all : fromLineStart(all)).toString('utf8');
  }
}

/** What is cut begins with a whole line, unless there is but one. */
function fromLineStart(cut: Buffer): Buffer {
  const firstBreak = cut.indexOf(0x0a);
  return firstBreak === -1 || firstBreak === cut.length - 1 ? cut : cut.subarray(firstBreak + 1);
}

/** Empty when there is no such file, or something that is none. */
function readEndOf(path: string, bytes: number): Buffer {
  if (bytes <= 0) return Buffer.alloc(0);
  let fd: number;
  try {
    // Without setpriv the directory is the pod's: it may have put a pipe there.
    fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (error) {
    // Between two files there is none for a moment.
    if (kindOfError(error) === 'absent') return Buffer.alloc(0);
    throw error;
  }
  try {
    return fstatSync(fd).isFile() ? readEnd(fd, bytes) : Buffer.alloc(0);
  } finally {
    closeSync(fd);
  }
}

function readEnd(fd: number, bytes: number): Buffer {
  const { size } = fstatSync(fd);
  const buffer = Buffer.alloc(Math.min(size, bytes));
  const read = readSync(fd, buffer, 0, buffer.length, Math.max(0, size - bytes));
  return buffer.subarray(0, read);
}
