/**
 * `more`: everything complete was handed over, and the rest waits for the next chunk. `too-long`: a line exceeds the bound.
 * `stopped`: the consumer wants no more. After the last two the source is given up; later chunks are ignored.
 */
export type JsonLinesState = 'more' | 'too-long' | 'stopped';

/** Reads JSON values, one a line, from text that arrives in pieces. Keeps at most one incomplete line. */
export class JsonLines {
  readonly #maxLength: number;
  /** The incomplete line: joined only once it is complete, so that a long one is not copied with every chunk. */
  #pieces: string[] = [];
  #length = 0;
  #state: JsonLinesState = 'more';

  /** `maxLength`: of a line without its end, in UTF-16 code units. */
  constructor(maxLength: number) {
    this.#maxLength = maxLength;
  }

  /**
   * Calls `onValue` with each complete line of the text so far; undefined stands for a line that is not JSON. False stops.
   * Empty lines are skipped. Never throws on input; what `onValue` throws is passed on.
   */
  read(chunk: string, onValue: (value: unknown) => boolean): JsonLinesState {
    let start = 0;
    while (this.#state === 'more') {
      const end = chunk.indexOf('\n', start);
      const piece = chunk.slice(start, end === -1 ? chunk.length : end);
      this.#length += piece.length;
      if (this.#length > this.#maxLength) {
        this.#pieces = [];
        this.#state = 'too-long';
        break;
      }
      if (piece !== '') this.#pieces.push(piece);
      if (end === -1) break;
      start = end + 1;
      const line = this.#pieces.join('');
      this.#pieces = [];
      this.#length = 0;
      if (line !== '' && !onValue(parse(line))) this.#state = 'stopped';
    }
    return this.#state;
  }
}

function parse(line: string): unknown {
  try {
    return JSON.parse(line) as unknown;
  } catch {
    return undefined;
  }
}
