import { PodgateError } from '../../core/errors.ts';

/** Bytes from `start` (included) to `end` (excluded). */
export type ByteRange =
  | { readonly kind: 'all' }
  | { readonly kind: 'part'; readonly start: number; readonly end: number }
  | { readonly kind: 'unsatisfiable' };

/**
 * The Range header (RFC 9110 section 14.2) for something of `size` bytes. A header that is malformed, of another unit or
 * that asks for several ranges is ignored, as the RFC allows.
 */
export function parseByteRange(header: string | undefined, size: number): ByteRange {
  const match = /^bytes=\s*(\d{0,15})-(\d{0,15})\s*$/i.exec(header ?? '');
  const [, first = '', last = ''] = match ?? [];
  if (first === '' && last === '') return { kind: 'all' };
  if (first === '') {
    const length = Math.min(Number(last), size);
    return length === 0 ? { kind: 'unsatisfiable' } : { kind: 'part', start: size - length, end: size };
  }
  const start = Number(first);
  if (last !== '' && Number(last) < start) return { kind: 'all' };
  if (start >= size) return { kind: 'unsatisfiable' };
  return { kind: 'part', start, end: last === '' ? size : Math.min(Number(last) + 1, size) };
}

/** The validators of what is being sent; null: none says reliably that it is still the same. */
export interface Validators {
  /** A strong entity tag, in quotes. */
  readonly entityTag: string;
  /** As in the header. At least a second old: an earlier version of that second would have had the same. */
  readonly lastModified: string;
}

/**
 * The Range header, or undefined where If-Range (RFC 9110 section 13.1.5) says that the client has a part of another
 * version, or of one that may be another: it gets the whole.
 */
export function rangeIfSame(
  range: string | undefined,
  ifRange: string | undefined,
  validators: Validators | null,
): string | undefined {
  if (ifRange === undefined) return range;
  const named = ifRange.trim();
  return named === validators?.entityTag || named === validators?.lastModified ? range : undefined;
}

/** A 416, which says in Content-Range how many bytes there are (RFC 9110 section 15.5.17). */
export class UnsatisfiableRange extends PodgateError {
  readonly sizeBytes: number;

  constructor(sizeBytes: number) {
    super('api.range', { publicMessages: [`Range: the file has ${sizeBytes} bytes`] });
    this.sizeBytes = sizeBytes;
  }
}
