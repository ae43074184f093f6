import type { IncomingMessage } from 'node:http';

import { PodgateError } from '../../core/errors.ts';

/**
 * Of two of these, one reader takes the first and another the last: a proxy that checks one would let the other through.
 * Node keeps the first of most of them and joins the others with commas.
 */
const SINGLE_HEADERS: readonly string[] = [
  ...['host', 'authorization', 'x-tapis-token', 'x-tapis-user', 'x-tapis-tenant'],
  ...['content-type', 'content-encoding'],
];

/** Throws 'request.malformed' when a field that says who asks, or what for, is there more than once. */
export function requireSingleHeaders({ headersDistinct }: IncomingMessage): void {
  const repeated = SINGLE_HEADERS.find((name) => (headersDistinct[name]?.length ?? 0) > 1);
  if (repeated === undefined) return;
  throw new PodgateError('request.malformed', {
    publicMessages: [`The header ${repeated} is there more than once; send it once.`],
  });
}
