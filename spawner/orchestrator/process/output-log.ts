import {
  closeSync,
  constants,
  fstatSync,
  ftruncateSync,
  openSync,
  readSync,
  renameSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';

/**
 * What a workload prints: a file it appends to by itself, so that it neither needs us to live nor can be held up by us.
 * It is kept short by copying its end to a second file and emptying it (a program cannot be told to open another one).
 * Both together hold at most `maxBytes` after each `bound`.
 */
export class OutputLog {
  readonly path: string;
  readonly #older: string;
  readonly #halfBytes: number;

  constructor(directory: string, maxBytes: number) {
    this.path = join(directory, 'output.log');
    this.#older = join(directory, 'output.1.log');
    this.#halfBytes = Math.floor(maxBytes / 2);
  }

  /** To be called about once a second: what comes between two calls is not bounded. */
  bound(): void {
    if (sizeOf(this.path) <= this.#halfBytes) return;
    // In one go: whatever is printed between the copy and the cut is lost.
    const fd = openSync(this.path, constants.O_RDWR | constants.O_NOFOLLOW);
    try {
      const end = fromLineStart(readEnd(fd, this.#halfBytes));
      writeFileSync(`${this.#older}.new`, end, { mode: 0o600 });
      renameSync(`${this.#older}.new`, this.#older);
      ftruncateSync(fd, 0);
    } finally {
      closeSync(fd);
    }
  }

  /** The last `bytes`, from the beginning of a line on; '' when there is nothing. */
  tail(bytes: number): string {
    const newer = readEndOf(this.path, bytes);
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

function sizeOf(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.size ?? 0;
}

function readEndOf(path: string, bytes: number): Buffer {
  if (sizeOf(path) === 0 || bytes <= 0) return Buffer.alloc(0);
  const fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW);
  try {
    return readEnd(fd, bytes);
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
