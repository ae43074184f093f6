import type { ErrorCode } from '../../core/errors.ts';

/** Why a call of the API fails. The other codes belong to connections of clients to pods. */
export type ApiErrorCode =
  | Extract<ErrorCode, `api.${string}` | `store.${string}`>
  | 'request.malformed'
  | 'orchestrator.unavailable'
  | 'vault.cannot-open'
  | 'config.invalid';

/** What each reason is in HTTP: total, so that a new code without a status does not compile. */
export const HTTP_STATUS: Readonly<Record<ApiErrorCode, number>> = {
  'request.malformed': 400,
  'api.invalid': 400,
  'api.unauthenticated': 401,
  'api.forbidden': 403,
  'api.not-found': 404,
  'api.method-not-allowed': 405,
  'api.conflict': 409,
  'api.precondition-failed': 412,
  'api.unsupported-media-type': 415,
  'api.too-large': 413,
  'api.range': 416,
  'api.timeout': 408,
  'api.upgrade-required': 426,
  'api.too-many-requests': 429,
  'api.overloaded': 503,
  'api.unavailable': 503,
  'api.unknown-host': 421,
  'api.not-available': 501,
  'api.internal': 500,
  'store.unavailable': 503,
  'store.suspect': 503,
  'orchestrator.unavailable': 503,
  'vault.cannot-open': 500,
  'config.invalid': 500,
};

/** 500 for a code that no call of the API should meet. */
export function httpStatusOf(code: ErrorCode): number {
  return isApiErrorCode(code) ? HTTP_STATUS[code] : HTTP_STATUS['api.internal'];
}

function isApiErrorCode(code: ErrorCode): code is ApiErrorCode {
  return Object.hasOwn(HTTP_STATUS, code);
}
