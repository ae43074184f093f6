import { match, needMore, reject, type Parsed } from '../../../bytes/parsed.ts';

/** Process id and secret as BackendKeyData says them and CancelRequest repeats them: Int32, then 4 to 256 bytes. */
export const CANCEL_KEY_MIN_BYTES = 4 + 4;
export const CANCEL_KEY_MAX_BYTES = 4 + 256;

/** Type and Int32 length, which counts itself but not the type (Postgres 18 documentation, 54.7). */
const HEADER_BYTES = 5;
/** The longest are tokens of GSSAPI, which end below 64 KiB. */
const MESSAGE_MAX_BYTES = 65_536;
/** A session that has not become ready after this much is left alone. */
const LOOKED_AT_MAX_BYTES = 131_072;

const BACKEND_KEY_DATA = 0x4b; // 'K'
const READY_FOR_QUERY = 0x5a; // 'Z'
/** ErrorResponse, NoticeResponse, Authentication*, ParameterStatus, NegotiateProtocolVersion. */
const PASSED_OVER: ReadonlySet<number> = new Set(Buffer.from('ENRSv'));

/**
 * Finds BackendKeyData in what a server says before its first ReadyForQuery. Takes pieces of the stream as they come and
 * keeps at most one header and one key of them. Matches with process id and secret in one; rejects what cannot bring a
 * key any more. Not to be asked again after either.
 */
export class BackendKeyParser {
  readonly #header = Buffer.alloc(HEADER_BYTES);
  #headerBytes = 0;
  /** Being filled; null outside BackendKeyData. */
  #key: Buffer | null = null;
  /** Of the present message's body. */
  #bodyBytesLeft = 0;
  #seenBytes = 0;

  push(chunk: Buffer): Parsed<Buffer> {
    let rest = chunk;
    while (rest.length > 0) {
      const wanted = this.#headerBytes < HEADER_BYTES ? HEADER_BYTES - this.#headerBytes : this.#bodyBytesLeft;
      const taken = rest.subarray(0, wanted);
      rest = rest.subarray(taken.length);
      this.#seenBytes += taken.length;
      if (this.#headerBytes < HEADER_BYTES) {
        taken.copy(this.#header, this.#headerBytes);
        this.#headerBytes += taken.length;
        const problem = this.#checkHeader();
        if (problem !== null) return reject(problem);
      } else {
        if (this.#key !== null) taken.copy(this.#key, this.#key.length - this.#bodyBytesLeft);
        this.#bodyBytesLeft -= taken.length;
      }
      if (this.#headerBytes < HEADER_BYTES || this.#bodyBytesLeft > 0) continue;
      if (this.#key !== null) return match(this.#key);
      this.#headerBytes = 0;
    }
    const missing = this.#headerBytes < HEADER_BYTES ? HEADER_BYTES - this.#headerBytes : this.#bodyBytesLeft;
    return needMore(this.#seenBytes + missing);
  }

  /** Why this message's header ends the search, or null; a type that does is not kept waiting for its length. */
  #checkHeader(): string | null {
    const type = this.#header.readUInt8(0);
    if (type === READY_FOR_QUERY) return 'ready without a key';
    if (type !== BACKEND_KEY_DATA && !PASSED_OVER.has(type)) return 'not a message of a starting session';
    if (this.#headerBytes < HEADER_BYTES) return null;
    const bodyBytes = this.#header.readUInt32BE(1) - 4;
    if (bodyBytes < 0 || bodyBytes > MESSAGE_MAX_BYTES) return 'message length out of range';
    if (this.#seenBytes + bodyBytes > LOOKED_AT_MAX_BYTES) return 'too much before a key';
    if (type === BACKEND_KEY_DATA) {
      if (bodyBytes < CANCEL_KEY_MIN_BYTES || bodyBytes > CANCEL_KEY_MAX_BYTES) return 'key length out of range';
      this.#key = Buffer.alloc(bodyBytes);
    }
    this.#bodyBytesLeft = bodyBytes;
    return null;
  }
}
