import { match, type Parsed, reject } from '../../../bytes/parsed.ts';
import { parseFields } from './fields.ts';

export interface RequestHead {
  readonly method: string;
  /** As sent. */
  readonly url: string;
  readonly httpVersion: '1.0' | '1.1';
  /** Flat name, value list. */
  readonly rawHeaders: readonly string[];
}

export interface ResponseHead {
  readonly httpVersion: '1.0' | '1.1';
  readonly status: number;
  readonly reason: string;
  readonly rawHeaders: readonly string[];
}

/** Upper-case words: extension methods pass, anything two readers could split differently does not. */
const REQUEST_LINE = /^([A-Z][A-Z-]{0,31}) ([\x21-\x7e\x80-\xff]+) HTTP\/1\.([0-9])$/;
const METHOD = /^[A-Z][A-Z-]{0,31}$/;
const TARGET = /^[\x21-\x7e\x80-\xff]+$/;

export function isMethod(text: string): boolean {
  return METHOD.test(text);
}

export function isTarget(text: string): boolean {
  return TARGET.test(text);
}

/** Servers that leave the reason out often leave its space out, too. */
const STATUS_LINE = /^HTTP\/1\.([0-9]) ([0-9]{3})(?: ([\t\x20-\x7e\x80-\xff]*))?$/;

/** A head without the empty line that ends it, as latin1 text (RFC 9112 3). */
export function parseRequestHead(text: string): Exclude<Parsed<RequestHead>, { kind: 'need-more' }> {
  const lineEnd = endOfLine(text);
  const line = REQUEST_LINE.exec(text.slice(0, lineEnd));
  if (line === null) return reject('The first line is not a valid HTTP/1.1 request line.');
  const rawHeaders = parseFields(text, lineEnd + 2);
  if (typeof rawHeaders === 'string') return reject(rawHeaders);
  const [, method = '', url = '', minor] = line;
  return match({ method, url, httpVersion: minor === '0' ? '1.0' : '1.1', rawHeaders });
}

/** The same for an answer (RFC 9112 4). */
export function parseResponseHead(text: string): Exclude<Parsed<ResponseHead>, { kind: 'need-more' }> {
  const lineEnd = endOfLine(text);
  const line = STATUS_LINE.exec(text.slice(0, lineEnd));
  if (line === null) return reject('The first line is not a valid HTTP/1.1 status line.');
  const rawHeaders = parseFields(text, lineEnd + 2);
  if (typeof rawHeaders === 'string') return reject(rawHeaders);
  const [, minor, status, reason = ''] = line;
  return match({ httpVersion: minor === '0' ? '1.0' : '1.1', status: Number(status), reason, rawHeaders });
}

function endOfLine(text: string): number {
  const end = text.indexOf('\r\n');
  return end < 0 ? text.length : end;
}
