import type { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';

/** Longer pieces are written as they are. */
const GATHERED_BYTES = 65_536;

/** One for all: it holds something only within a turn, and of one writer at a time. */
const gathered = {
  bytes: Buffer.allocUnsafeSlow(GATHERED_BYTES),
  length: 0,
  writer: null as GatheredWriter | null,
};

/**
 * Makes one write of what is said to a client in one turn: of head, chunk sizes and small pieces. Takes bytes that are only
 * lent (see proxy/bytes/tap.ts). What was said is on its way after `flush`, which ends each turn.
 */
export class GatheredWriter {
  readonly #socket: Socket;
  /** See `pass` in proxy/session/splice.ts. */
  readonly #usesAtOnce: boolean;

  constructor(socket: Socket) {
    this.#socket = socket;
    this.#usesAtOnce = socket instanceof TLSSocket;
  }

  /** Latin1. */
  text(text: string): void {
    if (this.#hasRoomFor(text.length)) gathered.length += gathered.bytes.write(text, gathered.length, 'latin1');
    else this.#socket.write(text, 'latin1');
  }

  /** False = the client is slow. */
  bytes(piece: Buffer): boolean {
    if (this.#hasRoomFor(piece.length)) gathered.length += piece.copy(gathered.bytes, gathered.length);
    else this.#write(piece);
    return !this.#socket.writableNeedDrain;
  }

  flush(): void {
    if (gathered.writer !== this) return;
    const bytes = gathered.bytes.subarray(0, gathered.length);
    gathered.writer = null;
    gathered.length = 0;
    this.#write(bytes);
  }

  /** Without room for it all that was gathered is written: it comes behind. */
  #hasRoomFor(bytes: number): boolean {
    if (gathered.writer !== this || gathered.length + bytes > GATHERED_BYTES) gathered.writer?.flush();
    if (bytes > GATHERED_BYTES) return false;
    gathered.writer = this;
    return true;
  }

  #write(bytes: Buffer): void {
    const isUsedAtOnce = this.#usesAtOnce && this.#socket.writableLength === 0;
    this.#socket.write(isUsedAtOnce ? bytes : Buffer.from(bytes));
  }
}
