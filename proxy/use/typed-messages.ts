/** Type and Int32 length, which counts itself (Postgres 18 documentation, 54.7). */
const HEADER_BYTES = 5;
const LENGTH_BYTES = 4;

/** How many bytes of the body of a message of each type are wanted; -1 = the message is passed over. */
export type Wanted = Int16Array;

export function wantedOf(wanted: Readonly<Record<string, number>>): Wanted {
  const bytes = new Int16Array(256).fill(-1);
  for (const [type, most] of Object.entries(wanted)) bytes[type.charCodeAt(0)] = most;
  return bytes;
}

/**
 * One direction of a Postgres session, message by message, in pieces of any size. Keeps nothing but the wanted beginning of
 * a message that is under way.
 */
export class TypedMessages {
  readonly #wanted: Wanted;
  readonly #onMessage: (type: number, body: Buffer) => void;
  readonly #header = Buffer.alloc(HEADER_BYTES);
  #headerBytes = 0;
  /** Of the body that is under way. */
  #left = 0;
  /** Its wanted beginning; null = it is passed over. */
  #kept: Buffer | null = null;
  #keptBytes = 0;
  #isLost = false;

  /** `onMessage` gets the wanted beginning of the body, which is lent. */
  constructor(wanted: Wanted, onMessage: (type: number, body: Buffer) => void) {
    this.#wanted = wanted;
    this.#onMessage = onMessage;
  }

  /** The bytes made no sense: nothing more is read. */
  get isLost(): boolean {
    return this.#isLost;
  }

  push(bytes: Buffer, from = 0): void {
    let at = from;
    while (at < bytes.length && !this.#isLost) {
      if (this.#headerBytes === HEADER_BYTES) at = this.#readBody(bytes, at);
      else if (this.#headerBytes === 0 && bytes.length - at >= HEADER_BYTES) at = this.#readWhole(bytes, at);
      else at = this.#readHeader(bytes, at);
    }
  }

  /** A message that is here from its first byte on: mostly all of it. */
  #readWhole(bytes: Buffer, at: number): number {
    const type = bytes[at] ?? 0;
    const size = bytes.readUInt32BE(at + 1);
    const end = at + 1 + size;
    if (size < LENGTH_BYTES || end > bytes.length) return this.#begin(type, size, at + HEADER_BYTES);
    const wanted = this.#wanted[type] ?? -1;
    if (wanted >= 0)
      this.#onMessage(type, bytes.subarray(at + HEADER_BYTES, Math.min(end, at + HEADER_BYTES + wanted)));
    return end;
  }

  #readHeader(bytes: Buffer, at: number): number {
    this.#header[this.#headerBytes++] = bytes[at] ?? 0;
    if (this.#headerBytes < HEADER_BYTES) return at + 1;
    return this.#begin(this.#header[0] ?? 0, this.#header.readUInt32BE(1), at + 1);
  }

  #begin(type: number, size: number, bodyAt: number): number {
    if (size < LENGTH_BYTES) {
      this.#isLost = true;
      return bodyAt;
    }
    this.#header[0] = type;
    this.#headerBytes = HEADER_BYTES;
    this.#left = size - LENGTH_BYTES;
    const wanted = this.#wanted[type] ?? -1;
    this.#kept = wanted < 0 ? null : Buffer.allocUnsafe(Math.min(wanted, this.#left));
    this.#keptBytes = 0;
    if (this.#left === 0) this.#finish();
    return bodyAt;
  }

  #readBody(bytes: Buffer, at: number): number {
    const end = Math.min(bytes.length, at + this.#left);
    if (this.#kept !== null && this.#keptBytes < this.#kept.length) {
      this.#keptBytes += bytes.copy(this.#kept, this.#keptBytes, at, end);
    }
    this.#left -= end - at;
    if (this.#left === 0) this.#finish();
    return end;
  }

  #finish(): void {
    const kept = this.#kept;
    this.#headerBytes = 0;
    this.#kept = null;
    if (kept !== null) this.#onMessage(this.#header[0] ?? 0, kept);
  }
}
