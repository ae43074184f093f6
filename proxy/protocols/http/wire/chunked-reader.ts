import { parseFields } from './fields.ts';

/** Leading zeros included: some servers always write that many. */
const SIZE_DIGITS_MAX = 16;
/** More than anybody sends, and far below where numbers lose digits. */
const SIZE_MAX = 2 ** 48 - 1;
/** Chunk extensions, with the white space before them, mean nothing to us and are not passed on; of a whole body. */
const EXTENSION_BYTES_MAX = 4_096;
const TRAILER_BYTES_MAX = 8_192;

const CR = 0x0d;
const LF = 0x0a;
const SEMICOLON = 0x3b;

type State =
  | 'size'
  | 'blank'
  | 'extension'
  | 'size-lf'
  | 'data'
  | 'data-cr'
  | 'data-lf'
  | 'trailer-start'
  | 'trailer'
  | 'trailer-lf'
  | 'end-lf'
  | 'done';

/**
 * Reads a chunked body (RFC 9112 7.1) from pieces of any size, strictly: sizes are hexadecimal digits, white space may
 * follow them only before an extension, and every line ends with CRLF. The framing is removed; a forwarder writes its own.
 */
export class ChunkedReader {
  #state: State = 'size';
  #size = 0;
  #digits = 0;
  #extensionBytes = 0;
  #trailer = '';
  #trailers: readonly string[] = [];

  get isDone(): boolean {
    return this.#state === 'done';
  }

  get fault(): string {
    switch (this.#state) {
      case 'size':
      case 'blank':
      case 'extension':
      case 'size-lf':
        return 'A chunk has no valid size line.';
      case 'data':
      case 'data-cr':
      case 'data-lf':
        return 'The length of a chunk differs from its size line.';
      case 'trailer-start':
      case 'trailer':
      case 'trailer-lf':
      case 'end-lf':
      case 'done':
        return 'The trailer section is malformed.';
    }
  }

  /** Flat name, value list; once it is done. */
  get trailers(): readonly string[] {
    return this.#trailers;
  }

  /**
   * Reads `bytes` from `at` on and hands over each piece of the body. Returns where it stopped - at the end of `bytes`, or
   * behind the body - or -1 for what is no chunked body.
   */
  read(bytes: Buffer, at: number, onPiece: (piece: Buffer) => void): number {
    let index = at;
    while (index < bytes.length && this.#state !== 'done') {
      if (this.#state === 'data') {
        const end = Math.min(bytes.length, index + this.#size);
        onPiece(index === 0 && end === bytes.length ? bytes : bytes.subarray(index, end));
        this.#size -= end - index;
        index = end;
        if (this.#size === 0) this.#state = 'data-cr';
        continue;
      }
      if (!this.#take(bytes[index] ?? 0)) return -1;
      index++;
    }
    return index;
  }

  /** One byte of the framing; false when it does not belong there. */
  #take(byte: number): boolean {
    switch (this.#state) {
      case 'size':
        return this.#takeSize(byte);
      case 'blank':
        if (byte === SEMICOLON) this.#state = 'extension';
        else if (!isBlank(byte) || ++this.#extensionBytes > EXTENSION_BYTES_MAX) return false;
        return true;
      case 'extension':
        if (byte === CR) this.#state = 'size-lf';
        else if (!isText(byte) || ++this.#extensionBytes > EXTENSION_BYTES_MAX) return false;
        return true;
      case 'size-lf':
        if (byte !== LF) return false;
        this.#digits = 0;
        this.#state = this.#size === 0 ? 'trailer-start' : 'data';
        return true;
      case 'data-cr':
        this.#state = 'data-lf';
        return byte === CR;
      case 'data-lf':
        if (byte !== LF) return false;
        this.#state = 'size';
        return true;
      case 'trailer-start':
        if (byte === CR) {
          this.#state = 'end-lf';
          return true;
        }
        this.#state = 'trailer';
        return this.#takeTrailer(byte);
      case 'trailer':
        if (byte !== CR) return this.#takeTrailer(byte);
        this.#state = 'trailer-lf';
        return true;
      case 'trailer-lf':
        this.#trailer += '\r\n';
        this.#state = 'trailer-start';
        return byte === LF;
      case 'end-lf':
        return byte === LF && this.#end();
      case 'data':
      case 'done':
        return false;
    }
  }

  #takeSize(byte: number): boolean {
    const digit = hexDigit(byte);
    if (digit >= 0) {
      this.#size = this.#size * 16 + digit;
      return ++this.#digits <= SIZE_DIGITS_MAX && this.#size <= SIZE_MAX;
    }
    if (this.#digits === 0) return false;
    if (byte === CR) this.#state = 'size-lf';
    else if (byte === SEMICOLON) this.#state = 'extension';
    else if (isBlank(byte)) this.#state = 'blank';
    else return false;
    return true;
  }

  #takeTrailer(byte: number): boolean {
    this.#trailer += String.fromCharCode(byte);
    return isText(byte) && this.#trailer.length <= TRAILER_BYTES_MAX;
  }

  #end(): boolean {
    const fields = this.#trailer === '' ? [] : parseFields(this.#trailer.slice(0, -2), 0);
    if (typeof fields === 'string') return false;
    this.#trailers = fields;
    this.#trailer = '';
    this.#state = 'done';
    return true;
  }
}

function hexDigit(byte: number): number {
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30;
  const lower = byte | 0x20;
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : -1;
}

function isBlank(byte: number): boolean {
  return byte === 0x20 || byte === 0x09;
}

/** HTAB, SP, VCHAR, obs-text. */
function isText(byte: number): boolean {
  return byte === 0x09 || (byte >= 0x20 && byte !== 0x7f);
}
