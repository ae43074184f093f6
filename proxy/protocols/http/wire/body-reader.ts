import { ChunkedReader } from './chunked-reader.ts';

/** How the end of a message's body is known (RFC 9112 6). */
export type Framing =
  | { readonly kind: 'none' }
  | { readonly kind: 'length'; readonly bytes: number }
  | { readonly kind: 'chunked' }
  /** An answer without a length: the connection's end is its own. */
  | { readonly kind: 'until-close' };

const NO_TRAILERS: readonly string[] = [];

/** Reads one body, whatever its framing. */
export interface BodyReader {
  readonly isDone: boolean;
  /** The rule that was broken, as a sentence, when `read` has answered -1. */
  readonly fault: string;
  /** Flat name, value list; once it is done. */
  readonly trailers: readonly string[];
  /** See ChunkedReader.read. */
  read(bytes: Buffer, at: number, onPiece: (piece: Buffer) => void): number;
}

export function createBodyReader(framing: Framing): BodyReader {
  switch (framing.kind) {
    case 'none':
      return new LengthReader(0);
    case 'length':
      return new LengthReader(framing.bytes);
    case 'chunked':
      return new ChunkedReader();
    case 'until-close':
      return new LengthReader(Infinity);
  }
}

class LengthReader implements BodyReader {
  readonly trailers = NO_TRAILERS;
  readonly fault = '';
  #left: number;

  constructor(bytes: number) {
    this.#left = bytes;
  }

  get isDone(): boolean {
    return this.#left === 0;
  }

  read(bytes: Buffer, at: number, onPiece: (piece: Buffer) => void): number {
    const end = Math.min(bytes.length, at + this.#left);
    if (end > at) {
      this.#left -= end - at;
      onPiece(at === 0 && end === bytes.length ? bytes : bytes.subarray(at, end));
    }
    return end;
  }
}
