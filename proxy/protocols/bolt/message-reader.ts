export type MessageEvent =
  /** `beginning` holds at most the first `keptBytes` of the message: tag and first fields. */
  { readonly kind: 'message'; readonly beginning: Buffer } | { readonly kind: 'too-large' };

export interface MessageReaderLimits {
  /** Size of a message, all its chunks together. */
  readonly maxBytes: number;
  /** How much of it is kept. Query parameters may be megabytes long and are not needed. */
  readonly keptBytes: number;
}

/** Parses Bolt chunks: 16-bit length, then bytes; length 0 ends a message; an empty message is a keep-alive. */
export class MessageReader {
  readonly #limits: MessageReaderLimits;
  #kept: Buffer[] = [];
  #keptLength = 0;
  #messageLength = 0;
  #chunkLeft = 0;
  /** First byte of a chunk length whose second byte has not arrived yet. */
  #lengthHigh: number | null = null;
  #failed = false;

  constructor(limits: MessageReaderLimits) {
    this.#limits = limits;
  }

  /** The messages completed by these bytes. Nothing is read after 'too-large'. */
  push(bytes: Buffer): readonly MessageEvent[] {
    const events: MessageEvent[] = [];
    let at = 0;
    while (at < bytes.length && !this.#failed) {
      if (this.#chunkLeft > 0) {
        const piece = bytes.subarray(at, at + this.#chunkLeft);
        at += piece.length;
        this.#chunkLeft -= piece.length;
        this.#take(piece);
      } else {
        const byte = bytes[at] ?? 0;
        at += 1;
        if (this.#lengthHigh === null) {
          this.#lengthHigh = byte;
        } else {
          this.#chunkLeft = (this.#lengthHigh << 8) | byte;
          this.#lengthHigh = null;
          if (this.#chunkLeft === 0) this.#finish(events);
          else if (this.#messageLength + this.#chunkLeft > this.#limits.maxBytes) {
            this.#failed = true;
            events.push({ kind: 'too-large' });
          }
        }
      }
    }
    return events;
  }

  #take(piece: Buffer): void {
    this.#messageLength += piece.length;
    const room = this.#limits.keptBytes - this.#keptLength;
    if (room <= 0) return;
    // A copy: a slice would keep the socket's buffer in memory.
    const kept = Buffer.from(piece.subarray(0, room));
    this.#kept.push(kept);
    this.#keptLength += kept.length;
  }

  #finish(events: MessageEvent[]): void {
    if (this.#messageLength > 0) events.push({ kind: 'message', beginning: Buffer.concat(this.#kept) });
    this.#kept = [];
    this.#keptLength = 0;
    this.#messageLength = 0;
  }
}
