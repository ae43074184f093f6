import type { Framing } from './body-reader.ts';
import type { ResponseHead } from './head.ts';

const NONE: Framing = { kind: 'none' };
const CHUNKED: Framing = { kind: 'chunked' };
const UNTIL_CLOSE: Framing = { kind: 'until-close' };

/**
 * How the end of an answer's body is known (RFC 9112 6.3); null when two readers could disagree: both a length and a
 * transfer coding, several lengths, a coding other than chunked.
 */
export function responseFraming({ httpVersion, status, rawHeaders }: ResponseHead, method: string): Framing | null {
  let coding: string | null = null;
  let length: string | null = null;
  for (let index = 0; index + 1 < rawHeaders.length; index += 2) {
    const name = rawHeaders[index] ?? '';
    // By length first: most fields are neither.
    if (name.length === 17 && name.toLowerCase() === 'transfer-encoding') {
      if (coding !== null) return null;
      coding = (rawHeaders[index + 1] ?? '').toLowerCase();
    } else if (name.length === 14 && name.toLowerCase() === 'content-length') {
      if (length !== null) return null;
      length = rawHeaders[index + 1] ?? '';
    }
  }
  if (length !== null && (coding !== null || !/^[0-9]{1,15}$/.test(length))) return null;
  if (coding !== null && (coding !== 'chunked' || httpVersion === '1.0')) return null;
  if (method === 'HEAD' || status < 200 || status === 204 || status === 304) return NONE;
  if (coding !== null) return CHUNKED;
  if (length !== null) return { kind: 'length', bytes: Number(length) };
  return UNTIL_CLOSE;
}
