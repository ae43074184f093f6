import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs';
import { join } from 'node:path';
import { kindOfError } from '../../../core/error-code.ts';
import type { PrintedOptions, PrintedPart } from '../../../core/workload-logs.ts';

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

  /**
   * What was printed after a mark: the inode of a file and an offset in it, so that it stays true when the shim makes a full
   * file the older one.
   */
  after({ mark, mostBytes }: PrintedOptions): PrintedPart {
    const [inode, offset] = mark.split(':').map(Number);
    // The older file first: what is renamed in between is read twice rather than not at all.
    const files = [this.#older, this.#newer].flatMap((path) => readFrom(path, inode ?? 0, offset ?? 0, mostBytes));
    const known = files.findIndex((file) => file.isMarked);
    const [first, next] = files.slice(Math.max(0, known));
    if (first === undefined) return { text: '', mark, isAll: true };
    const isRead = first.from + first.bytes.length >= first.size;
    const file = first.bytes.length === 0 && isRead && next !== undefined ? next : first;
    const bytes = wholeCharacters(file.bytes);
    const end = file.from + bytes.length;
    const isAll = end >= file.size && (file === next || next === undefined);
    return { text: bytes.toString('utf8'), mark: `${file.inode}:${end}`, isAll: isAll || bytes.length === 0 };
  }
}

interface FilePart {
  readonly inode: number;
  readonly size: number;
  readonly from: number;
  readonly bytes: Buffer;
  /** It is the file of the mark. */
  readonly isMarked: boolean;
}

/** From the offset where the file is the one of that inode, else from its beginning. Empty without such a file. */
function readFrom(path: string, inode: number, offset: number, mostBytes: number): readonly FilePart[] {
  return withFile(path, [], (fd) => {
    const { ino, size } = fstatSync(fd);
    // Marks come back from clients.
    const isMarked = ino === inode && Number.isInteger(offset) && offset >= 0 && offset <= size;
    const from = isMarked ? offset : 0;
    const buffer = Buffer.alloc(Math.min(size - from, mostBytes));
    const bytes = buffer.subarray(0, readSync(fd, buffer, 0, buffer.length, from));
    return [{ inode: ino, size, from, bytes, isMarked }];
  });
}

/** Without the beginning of a character whose rest is still to come; all of it if it ends in no character at all. */
function wholeCharacters(bytes: Buffer): Buffer {
  for (let length = 1; length <= Math.min(3, bytes.length); length++) {
    const byte = bytes[bytes.length - length] ?? 0;
    if ((byte & 0xc0) === 0x80) continue;
    const needed = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : byte >= 0xc0 ? 2 : 1;
    return needed > length ? bytes.subarray(0, bytes.length - length) : bytes;
  }
  return bytes;
}

/** What is cut begins with a whole line, unless there is but one. */
function fromLineStart(cut: Buffer): Buffer {
  const firstBreak = cut.indexOf(0x0a);
  return firstBreak === -1 || firstBreak === cut.length - 1 ? cut : cut.subarray(firstBreak + 1);
}

/** Empty when there is no such file, or something that is none. */
function readEndOf(path: string, bytes: number): Buffer {
  if (bytes <= 0) return Buffer.alloc(0);
  return withFile(path, Buffer.alloc(0), (fd) => readEnd(fd, bytes));
}

function withFile<T>(path: string, none: T, read: (fd: number) => T): T {
  let fd: number;
  try {
    // Without setpriv the directory is the pod's: it may have put a pipe there.
    fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (error) {
    // Between two files there is none for a moment.
    if (kindOfError(error) === 'absent') return none;
    throw error;
  }
  try {
    return fstatSync(fd).isFile() ? read(fd) : none;
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
