import { PodgateError } from '../../core/errors.ts';

export interface RequestTarget {
  /** Still percent-encoded, without `/v3`, doubled slashes and a slash at the end. */
  readonly path: string;
  readonly query: URLSearchParams;
}

/**
 * Takes the request target apart (RFC 9112 section 3.2): the same path with and without `/v3`, doubled slashes
 * tolerated. Throws 'request.malformed' for a path that cannot be decoded, and a query that is not UTF-8.
 */
export function parseRequestTarget(target: string): RequestTarget {
  const origin = target.startsWith('/') ? target : pathOfAbsolute(target);
  const mark = origin.indexOf('?');
  const raw = mark === -1 ? origin : origin.slice(0, mark);
  const query = queryOf(mark === -1 ? '' : origin.slice(mark + 1));
  try {
    decodeURIComponent(raw);
  } catch (error) {
    throw new PodgateError('request.malformed', { publicMessages: ['The path cannot be decoded.'], cause: error });
  }
  const collapsed = raw.replaceAll(/\/{2,}/g, '/');
  const versionless = /^\/v3(?=\/|$)/.test(collapsed) ? collapsed.slice('/v3'.length) : collapsed;
  const path = versionless.length > 1 && versionless.endsWith('/') ? versionless.slice(0, -1) : versionless;
  return { path: path === '' ? '/' : path, query };
}

/** URLSearchParams puts U+FFFD in place of what is not UTF-8: another value than the client has sent. */
function queryOf(raw: string): URLSearchParams {
  const query = new URLSearchParams(raw);
  const replaced = /%EF%BF%BD/gi;
  if ((query.toString().match(replaced)?.length ?? 0) > (raw.match(replaced)?.length ?? 0)) {
    throw new PodgateError('request.malformed', { publicMessages: ['The query is not valid UTF-8.'] });
  }
  return query;
}

function pathOfAbsolute(target: string): string {
  if (!URL.canParse(target)) return '/';
  const { pathname, search } = new URL(target);
  return `${pathname}${search}`;
}
