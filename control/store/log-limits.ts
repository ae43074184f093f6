import type { KeptOutput } from '../../core/log-store.ts';

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
function newestBytes(text: string): Buffer {
  const bytes = Buffer.from(text, 'utf8');
  if (bytes.length <= MOST_BYTES_PER_RUN) return bytes;
  let start = bytes.length - MOST_BYTES_PER_RUN;
  while (((bytes[start] ?? 0) & 0b1100_0000) === 0b1000_0000) start++;
  return bytes.subarray(start);
}

const MARK_START = '\0mark ';
/** Of an encoded output, for its mark. */
export const MARK_MAX_BYTES = 256;

/** An output and its mark in one: the mark is a line in front, where there is one. */
export function encodeOutput(text: string, mark: string): Buffer {
  const bytes = newestBytes(text);
  if (mark === '' && !text.startsWith(MARK_START)) return bytes;
  return Buffer.concat([Buffer.from(`${MARK_START}${oneLine(mark).slice(0, MARK_MAX_BYTES / 4)}\n`), bytes]);
}

export function decodeOutput(encoded: string): KeptOutput {
  if (!encoded.startsWith(MARK_START)) return { text: encoded, mark: '' };
  const end = encoded.indexOf('\n');
  return { text: encoded.slice(end + 1), mark: encoded.slice(MARK_START.length, end) };
}

/** Appended parts are stored beside the output, and become part of it beyond this size. */
export const MOST_TAIL_BYTES = 1024 * 1024;

/** One appended part: the length of its text in bytes and the mark in a line, then the text. */
export function encodePart(text: string, mark: string): Buffer {
  const bytes = Buffer.from(text, 'utf8');
  return Buffer.concat([Buffer.from(`${bytes.length} ${oneLine(mark).slice(0, MARK_MAX_BYTES / 4)}\n`), bytes]);
}

/** Whole parts only: the last one may have been cut off by a crash. */
export function decodeParts(encoded: Buffer): readonly KeptOutput[] {
  const parts: KeptOutput[] = [];
  for (let at = 0; at < encoded.length;) {
    const end = encoded.indexOf('\n', at);
    const [, length, mark = ''] = /^(\d+) (.*)$/.exec(encoded.toString('utf8', at, Math.max(at, end))) ?? [];
    if (length === undefined || end + 1 + Number(length) > encoded.length) break;
    at = end + 1 + Number(length);
    parts.push({ text: encoded.toString('utf8', end + 1, at), mark });
  }
  return parts;
}

/** The output with what was appended, within its bound. */
export function withParts(output: KeptOutput, parts: readonly KeptOutput[]): KeptOutput {
  const last = parts.at(-1);
  if (last === undefined) return output;
  const text = output.text + parts.map((part) => part.text).join('');
  return { text: newestBytes(text).toString('utf8'), mark: last.mark };
}
