import type { IncomingHttpHeaders } from 'node:http';

import type { Listener } from './client-address.ts';

/** Calls of the console, which hold a session in place of a token. */
export interface SessionReader {
  /**
   * The token of the request's session; undefined for a request that names none: a cookie alone is not enough. Throws
   * 'api.unauthenticated' for a session that has ended, 'api.forbidden' for a page of another origin.
   */
  tokenOf(headers: IncomingHttpHeaders, listener: Listener): string | undefined;
}
