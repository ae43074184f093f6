import { createHash } from 'node:crypto';

import { PodgateError } from '../../core/errors.ts';

/** Of something that is stored: a number that grows with every change, or else what stateTag makes of it. */
export type Generation = number | string;
/** Whether the generation of what is stored is one the caller has named. */
export type Precondition = (generation: Generation) => boolean;

const ENTITY_TAG = /^(W\/)?"([\x21\x23-\x7e]*)"$/;

/** The generation as a strong entity tag. */
export function entityTag(generation: Generation): string {
  return `"${generation}"`;
}

/**
 * If-Match (RFC 9110 section 13.1.1) as a test of a generation: `*`, or a list of entity tags, strongly compared - a
 * weak one never matches. Absent: everything does. Throws 'api.invalid' when it is neither.
 */
export function preconditionOf(header: string | undefined): Precondition {
  if (header === undefined || header.trim() === '*') return () => true;
  const strong = new Set<string>();
  for (const part of header.split(',')) {
    const match = ENTITY_TAG.exec(part.trim());
    if (match === null) {
      throw new PodgateError('api.invalid', { publicMessages: ['If-Match: must be an ETag such as "3", or *'] });
    }
    if (match[1] === undefined) strong.add(match[2] ?? '');
  }
  return (generation) => strong.has(String(generation));
}

/** The generation of what has no number: the same for the same state, whatever happened in between. */
export function stateTag(state: unknown): Generation {
  return createHash('sha256').update(JSON.stringify(state)).digest('base64url').slice(0, 22);
}

/** Weak, from the content of a response: for what has no generation. No update takes it. */
export function contentTag(body: Uint8Array): string {
  return `W/"${createHash('sha256').update(body).digest('base64url').slice(0, 22)}"`;
}

/** Has the client, by its If-None-Match (RFC 9110 section 13.1.2), this content already? '' = it names none. */
export function isNoneMatch(header: string, tag: string): boolean {
  const opaque = (text: string): string => text.trim().replace(/^W\//, '');
  return header.split(',').some((each) => opaque(each) === opaque(tag));
}
