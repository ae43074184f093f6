/**
 * JSON texts in pieces, for results that are too large to be serialized at once: each piece takes well below a
 * millisecond, and is made when the one before has been taken.
 */

/** Characters; escaped, six times as many bytes at most. */
const TEXT_PIECE = 16 * 1024;
/** A list's items are gathered to pieces of about so many characters. */
const LIST_PIECE = 32 * 1024;

/** A JSON array. */
export async function* jsonList(items: AsyncIterable<unknown> | Iterable<unknown>): AsyncGenerator<string> {
  let piece = '[';
  let isFirst = true;
  for await (const item of items) {
    piece += `${isFirst ? '' : ','}${JSON.stringify(item)}`;
    isFirst = false;
    if (piece.length < LIST_PIECE) continue;
    yield piece;
    piece = '';
  }
  yield `${piece}]`;
}

/** A JSON object. */
export async function* jsonObject(
  entries: AsyncIterable<readonly [name: string, value: unknown]>,
): AsyncGenerator<string> {
  let isFirst = true;
  yield '{';
  for await (const [name, value] of entries) {
    yield `${isFirst ? '' : ','}${JSON.stringify(name)}:${JSON.stringify(value)}`;
    isFirst = false;
  }
  yield '}';
}

/** A JSON string of UTF-8 text. Half a character at either end becomes U+FFFD. */
export function* jsonText(utf8: Uint8Array): Generator<string> {
  yield '"';
  for (let start = 0; start < utf8.length;) {
    const end = endOfPiece(utf8, start + TEXT_PIECE);
    yield JSON.stringify(Buffer.from(utf8.buffer, utf8.byteOffset + start, end - start).toString('utf8')).slice(1, -1);
    start = end;
  }
  yield '"';
}

/** The first beginning of a character at or after `at`; a character has at most 3 further bytes. */
function endOfPiece(utf8: Uint8Array, at: number): number {
  let end = Math.min(at, utf8.length);
  while (end < utf8.length && end < at + 3 && ((utf8[end] ?? 0) & 0b1100_0000) === 0b1000_0000) end += 1;
  return end;
}
