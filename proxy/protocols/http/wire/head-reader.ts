const END = Buffer.from('\r\n\r\n');
const LF = 0x0a;
const CR = 0x0d;
/** The rule that was broken, as a sentence. */
export const HEAD_FAULTS = {
  'too-large': 'The header section is too large.',
  'bare-line-feed': 'A line ends with LF instead of CRLF.',
  'no-head': 'The first bytes are not an HTTP/1.1 message.',
} as const;

const FIRST_CAPACITY = 1_024;

export type ReadHead =
  /** `text` is the head in latin1 without the empty line; the bytes of the last chunk behind it begin at `rest`. */
  | { readonly kind: 'head'; readonly text: string; readonly rest: number }
  | { readonly kind: 'need-more' }
  | { readonly kind: 'reject'; readonly reason: 'too-large' | 'bare-line-feed' | 'no-head' };

const NEED_MORE: ReadHead = { kind: 'need-more' };
const BARE_LINE_FEED: ReadHead = { kind: 'reject', reason: 'bare-line-feed' };
const NO_HEAD: ReadHead = { kind: 'reject', reason: 'no-head' };
const TOO_LARGE: ReadHead = { kind: 'reject', reason: 'too-large' };

/**
 * Gathers the head of a message from chunks of any size. A head that is whole in one chunk is not copied; single bytes
 * cost no more than their number. Line feeds without a carriage return are refused as they come: nobody waits for the
 * end of a head that cannot become one.
 */
export class HeadReader {
  readonly #limitBytes: number;
  #kept: Buffer | null = null;
  #length = 0;

  constructor(limitBytes: number) {
    this.#limitBytes = limitBytes;
  }

  /** Part of a head is here. */
  get hasBegun(): boolean {
    return this.#length > 0;
  }

  /** Reads `chunk` from `at`. After 'head' it begins anew. */
  read(chunk: Buffer, at: number): ReadHead {
    if (this.#length === 0) {
      const end = chunk.indexOf(END, at);
      if (end >= 0) {
        if (end - at > this.#limitBytes) return TOO_LARGE;
        return { kind: 'head', text: chunk.toString('latin1', at, end), rest: end + END.length };
      }
    }
    const before = this.#length;
    const kept = this.#keep(chunk, at);
    const end = kept.subarray(0, this.#length).indexOf(END, Math.max(0, before - END.length + 1));
    if (end >= 0) {
      this.#length = 0;
      this.#kept = null;
      if (end > this.#limitBytes) return TOO_LARGE;
      return { kind: 'head', text: kept.toString('latin1', 0, end), rest: at + end + END.length - before };
    }
    if (this.#length > this.#limitBytes + END.length) return TOO_LARGE;
    if (!mayBeginHead(kept[0])) return NO_HEAD;
    return hasBareLineFeed(kept, before, this.#length) ? BARE_LINE_FEED : NEED_MORE;
  }

  #keep(chunk: Buffer, at: number): Buffer {
    // Beyond the limit nothing can become a head: what lies further is not copied.
    const take = Math.min(chunk.length - at, this.#limitBytes + 2 * END.length - this.#length);
    const needed = this.#length + take;
    let kept = this.#kept;
    if (kept === null || kept.length < needed) {
      const larger = Buffer.allocUnsafe(Math.max(FIRST_CAPACITY, needed, (kept?.length ?? 0) * 2));
      kept?.copy(larger, 0, 0, this.#length);
      kept = larger;
      this.#kept = kept;
    }
    chunk.copy(kept, this.#length, at, at + take);
    this.#length = needed;
    return kept;
  }
}

function hasBareLineFeed(bytes: Buffer, from: number, to: number): boolean {
  for (let at = bytes.indexOf(LF, from); at >= 0 && at < to; at = bytes.indexOf(LF, at + 1)) {
    if (bytes[at - 1] !== CR) return true;
  }
  return false;
}

/** A method or `HTTP/1.`: both begin with a capital letter. */
function mayBeginHead(first: number | undefined): boolean {
  return first !== undefined && first >= 0x41 && first <= 0x5a;
}
