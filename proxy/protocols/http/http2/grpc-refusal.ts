import type { HttpErrorCode, Problem } from '../responses/problem.ts';
import { valuesOf } from '../wire/fields.ts';
import type { RequestHead } from '../wire/head.ts';

/** gRPC's status codes. */
const UNKNOWN = 2;
const DEADLINE_EXCEEDED = 4;
const NOT_FOUND = 5;
const PERMISSION_DENIED = 7;
const RESOURCE_EXHAUSTED = 8;
const FAILED_PRECONDITION = 9;
const UNIMPLEMENTED = 12;
const INTERNAL = 13;
const UNAVAILABLE = 14;
const UNAUTHENTICATED = 16;

/** UNAVAILABLE is what clients may try again by themselves. */
const GRPC_STATUS: Readonly<Record<HttpErrorCode | 'api.unavailable', number>> = {
  'route.unknown': NOT_FOUND,
  'route.stopped': UNAVAILABLE,
  'route.starting': UNAVAILABLE,
  'route.asleep': UNAVAILABLE,
  'route.unreachable': UNAVAILABLE,
  'route.forbidden': PERMISSION_DENIED,
  'route.certificate': UNAUTHENTICATED,
  'route.full': UNAVAILABLE,
  'route.held-full': UNAVAILABLE,
  'route.no-descriptors': UNAVAILABLE,
  'route.owner-full': UNAVAILABLE,
  'route.tenant-full': UNAVAILABLE,
  'route.misdirected': FAILED_PRECONDITION,
  'tls.required': UNAVAILABLE,
  'answer.malformed': INTERNAL,
  'answer.missing': UNKNOWN,
  'request.malformed': INTERNAL,
  'request.too-large': RESOURCE_EXHAUSTED,
  'request.timeout': DEADLINE_EXCEEDED,
  'login.required': UNAUTHENTICATED,
  'login.forbidden': PERMISSION_DENIED,
  'login.cross-site': PERMISSION_DENIED,
  'login.failed': UNAUTHENTICATED,
  'login.unavailable': UNAVAILABLE,
  'api.not-found': NOT_FOUND,
  'api.method-not-allowed': UNIMPLEMENTED,
  'api.unavailable': UNAVAILABLE,
};

export function isGrpc({ rawHeaders }: RequestHead): boolean {
  return /^application\/grpc(?:$|[+;])/i.test(valuesOf(rawHeaders, 'content-type'));
}

/**
 * A refusal as a gRPC client reads one: an answer of trailers only, whose HTTP status is 200 whatever went wrong. Other
 * clients get a page; a gRPC client would show nothing of it but its status.
 */
export function grpcRefusal({ code, message, hint, requestId, retryAfterS }: Problem): string[] {
  const fields = [':status', '200', 'content-type', 'application/grpc'];
  fields.push('grpc-status', String(GRPC_STATUS[code]));
  fields.push('grpc-message', percentEncoded(`${message} ${hint} (request ${requestId})`));
  fields.push('x-request-id', requestId);
  if (retryAfterS !== null) fields.push('retry-after', String(retryAfterS));
  return fields;
}

/** Of UTF-8; printable ASCII stays as it is, but for the percent sign. */
function percentEncoded(text: string): string {
  return [...Buffer.from(text, 'utf8')]
    .map((byte) =>
      byte >= 0x20 && byte <= 0x7e && byte !== 0x25
        ? String.fromCharCode(byte)
        : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`,
    )
    .join('');
}
