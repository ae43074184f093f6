import type { MessageFollower } from './message-follower.ts';

/** Type and Int32 length, which counts itself (Postgres 18 documentation, 54.7). */
const HEADER_BYTES = 5;
const LENGTH_BYTES = 4;

/**
 * What a Postgres server says, from its answer to the StartupMessage on. Measured with rows of 40 bytes, some 6,000 in a
 * read of 256 KiB: see decision 0046.
 */
export class PostgresMessages implements MessageFollower {
  /** Bytes of the header that have come; all of it while a body is under way. */
  #header = 0;
  /** The length, as far as it has come; of a body the bytes that are still to come. */
  #left = 0;
  #isLost = false;

  get isBetweenMessages(): boolean {
    return this.#header === 0 && !this.#isLost;
  }

  follow(bytes: Buffer): void {
    this.#advance(bytes, false);
  }

  followToEnd(bytes: Buffer): number {
    return this.#advance(bytes, true);
  }

  #advance(bytes: Buffer, isOnlyToEnd: boolean): number {
    if (this.#isLost) return -1;
    let at = this.#finish(bytes);
    if (at < 0 || isOnlyToEnd) return at;
    const { length } = bytes;
    while (length - at >= HEADER_BYTES) {
      const size = bytes.readUInt32BE(at + 1);
      // Of servers before version 14, a sentence without a length: too many connections, out of memory.
      if (size < LENGTH_BYTES) return this.#lose();
      at += 1 + size;
      if (at > length) {
        this.#header = HEADER_BYTES;
        this.#left = at - length;
        return -1;
      }
    }
    return at === length ? at : this.#begin(bytes, at);
  }

  /** The rest of what was under way. Returns where it ends: 0 when nothing was; -1 when it goes on. */
  #finish(bytes: Buffer): number {
    if (this.#header === 0) return 0;
    let at = 0;
    if (this.#header < HEADER_BYTES) {
      at = this.#readHeader(bytes, 0);
      if (this.#isLost || this.#header < HEADER_BYTES) return -1;
    }
    const left = bytes.length - at;
    if (this.#left > left) {
      this.#left -= left;
      return -1;
    }
    at += this.#left;
    this.#header = 0;
    return at;
  }

  #begin(bytes: Buffer, at: number): number {
    this.#left = 0;
    this.#readHeader(bytes, at);
    return -1;
  }

  /** Byte by byte: it came in pieces. */
  #readHeader(bytes: Buffer, from: number): number {
    let at = from;
    while (this.#header < HEADER_BYTES && at < bytes.length) {
      if (this.#header > 0) this.#left = this.#left * 256 + (bytes[at] ?? 0);
      this.#header++;
      at++;
    }
    if (this.#header === HEADER_BYTES) {
      if (this.#left < LENGTH_BYTES) this.#lose();
      this.#left -= LENGTH_BYTES;
    }
    return at;
  }

  #lose(): number {
    this.#isLost = true;
    return -1;
  }
}
