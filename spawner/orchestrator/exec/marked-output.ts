/** Of a line of the script's after its mark: `+`, or an exit code. */
const LINE_MAX_BYTES = 8;
const NOTHING = Buffer.alloc(0);
const NEWLINE = 0x0a;

/** Takes the lines of an EXEC_SCRIPT, which begin with a mark, out of what its command prints. */
export class MarkedOutput {
  readonly #mark: Buffer;
  readonly #said: (line: string) => boolean;
  /** It may be the beginning of a line of the script's. */
  #held: Buffer = NOTHING;
  #isOver = false;

  /** `said` returns true for the last line: what is printed after it is dropped. */
  constructor(mark: Buffer, said: (line: string) => boolean) {
    this.#mark = mark;
    this.#said = said;
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  /** What the command itself has printed, of what has been received. */
  take(bytes: Buffer): Buffer {
    if (this.#isOver) return NOTHING;
    let rest = this.#held.length === 0 ? bytes : Buffer.concat([this.#held, bytes]);
    this.#held = NOTHING;
    const printed: Buffer[] = [];
    for (;;) {
      const at = this.#markIn(rest);
      printed.push(rest.subarray(0, at));
      rest = rest.subarray(at);
      if (rest.length === 0) break;
      const line = rest.subarray(this.#mark.length);
      const end = line.subarray(0, LINE_MAX_BYTES).indexOf(NEWLINE);
      if (end < 0 && line.length < LINE_MAX_BYTES) {
        this.#held = Buffer.from(rest);
        break;
      }
      if (end < 0) {
        // The script's lines are shorter: the command itself has printed the mark.
        printed.push(rest.subarray(0, this.#mark.length));
        rest = line;
        continue;
      }
      rest = line.subarray(end + 1);
      if (this.#said(line.subarray(0, end).toString('latin1'))) {
        this.#isOver = true;
        break;
      }
    }
    const [only] = printed;
    return printed.length === 1 && only !== undefined ? only : Buffer.concat(printed);
  }

  /** What was held back, where nothing more comes. */
  rest(): Buffer {
    const held = this.#held;
    this.#held = NOTHING;
    return held;
  }

  /** Where the mark is or, at the end of the bytes, may begin; else their length. */
  #markIn(bytes: Buffer): number {
    const whole = bytes.indexOf(this.#mark);
    if (whole >= 0) return whole;
    const from = Math.max(0, bytes.length - this.#mark.length + 1);
    const tail = bytes.subarray(from);
    for (
      let at = tail.indexOf(this.#mark.subarray(0, 1));
      at >= 0;
      at = tail.indexOf(this.#mark.subarray(0, 1), at + 1)
    ) {
      const beginning = tail.subarray(at);
      if (beginning.equals(this.#mark.subarray(0, beginning.length))) return from + at;
    }
    return bytes.length;
  }
}
