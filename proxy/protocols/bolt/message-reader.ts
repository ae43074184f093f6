export type MessageEvent =
  /** `beginning` holds at most the first `keptBytes` of the message: tag and first fields. */
  { readonly kind: 'message'; readonly beginning: Buffer } | { readonly kind: 'too-large' };

export interface MessageReaderLimits {
  /** Of one message, all its chunks together. */
  readonly maxBytes: number;
  /** What is kept of it. Parameters of a query may be megabytes and say nothing to us. */
  readonly keptBytes: number;
}

/** Takes Bolt's chunks (16-bit length, then bytes; length 0 ends a message; an empty message is a keep-alive) apart. */
export class MessageReader {
  readonly #limits: MessageReaderLimits;
  #kept: Buffer[] = [];
  #keptLength = 0;
  #messageLength = 0;
  #chunkLeft = 0;
  /** First byte of a chunk length whose second has not arrived. */
  #lengthHigh: number | null = null;
  #failed = false;

  constructor(limits: MessageReaderLimits) {
    this.#limits = limits;
  }

  /** What these further bytes complete. After 'too-large' nothing more is read. */
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
    // A copy: the socket's buffer would be kept alive by a slice.
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
