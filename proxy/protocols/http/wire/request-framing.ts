import type { Framing } from './body-reader.ts';
import type { RequestHead } from './head.ts';

const NONE: Framing = { kind: 'none' };
const CHUNKED: Framing = { kind: 'chunked' };

/**
 * How the end of a request's body is known (RFC 9112 6.3), or a sentence on why two readers could disagree: both a length
 * and a transfer coding, several of either, a coding other than chunked, a coding in HTTP/1.0.
 */
export function requestFraming({ httpVersion, rawHeaders }: RequestHead): Framing | string {
  let coding: string | null = null;
  let length: string | null = null;
  for (let index = 0; index + 1 < rawHeaders.length; index += 2) {
    const name = rawHeaders[index] ?? '';
    // By length first: most fields are neither.
    if (name.length === 17 && name.toLowerCase() === 'transfer-encoding') {
      if (coding !== null) return 'The only supported Transfer-Encoding is chunked, given once.';
      coding = (rawHeaders[index + 1] ?? '').toLowerCase();
    } else if (name.length === 14 && name.toLowerCase() === 'content-length') {
      if (length !== null) return 'There is more than one Content-Length header.';
      length = rawHeaders[index + 1] ?? '';
    }
  }
  if (length !== null && !/^[0-9]{1,15}$/.test(length)) return 'Content-Length is not a number.';
  if (coding === null)
    return length === null || Number(length) === 0 ? NONE : { kind: 'length', bytes: Number(length) };
  if (length !== null) return 'There are both Content-Length and Transfer-Encoding.';
  if (httpVersion === '1.0') return 'HTTP/1.0 does not support Transfer-Encoding.';
  return coding === 'chunked' ? CHUNKED : 'The only supported Transfer-Encoding is chunked, given once.';
}
