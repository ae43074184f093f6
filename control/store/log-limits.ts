/** How much of a pod's logs is kept: the bounds of LogStore, and lines as it wants them. */
export const MOST_ACTION_LINES = 500;
export const MOST_BYTES_PER_RUN = 10 * 1024 * 1024;
export const MOST_RUNS = 3;
/** Bounds the whole, since lines are counted: 2 MB for a pod at most. */
const MOST_LINE_CHARACTERS = 4_000;

/** Without breaks and of bounded length. */
export function oneLine(line: string): string {
  const text = line.replaceAll(/[\r\n\u2028\u2029]+/g, ' ').toWellFormed();
  return text.length <= MOST_LINE_CHARACTERS ? text : `${text.slice(0, MOST_LINE_CHARACTERS).toWellFormed()}…`;
}

/** The last 10 MB, beginning with a whole character. */
export function newestBytes(text: string): Buffer {
  const bytes = Buffer.from(text, 'utf8');
  if (bytes.length <= MOST_BYTES_PER_RUN) return bytes;
  let start = bytes.length - MOST_BYTES_PER_RUN;
  while (((bytes[start] ?? 0) & 0b1100_0000) === 0b1000_0000) start++;
  return bytes.subarray(start);
}
