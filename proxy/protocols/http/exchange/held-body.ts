/** Of the body of one request that waits; the rest stays with its client. */
const HELD_BODY_BYTES = 64 * 1024;
/** Of all of them in one worker. */
export const HELD_BODIES_BYTES = 32 * 1024 * 1024;

/** Bytes that bodies may still take, of all requests that wait. */
export interface HeldBytes {
  left: number;
}

/** The beginning of the body of a request that waits for its pod, so that its client is read from: otherwise its end would go unnoticed. */
export class HeldBody {
  readonly #held: HeldBytes;
  #pieces: Buffer[] = [];
  #bytes = 0;
  /** The trailers, once it is complete. */
  trailers: readonly string[] | null = null;

  constructor(held: HeldBytes) {
    this.#held = held;
  }

  get takesMore(): boolean {
    return this.#bytes < HELD_BODY_BYTES && this.#held.left > 0;
  }

  /** False = enough. A piece is kept whole: it has been read. */
  add(piece: Buffer): boolean {
    // A copy: it may be lent.
    this.#pieces.push(Buffer.from(piece));
    this.#bytes += piece.length;
    this.#held.left -= piece.length;
    return this.takesMore;
  }

  /** Takes it out, or discards it. */
  take(): Buffer[] {
    const pieces = this.#pieces;
    this.#held.left += this.#bytes;
    this.#pieces = [];
    this.#bytes = 0;
    return pieces;
  }
}
