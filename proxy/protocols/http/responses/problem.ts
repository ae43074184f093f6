import { type AnswerCode, ERRORS, type LoginCode, type RefusalCode } from '../../../../core/errors.ts';
import type { Refusal } from '../../../connection/refusal.ts';

/** The codes an HTTP client of the gateway can meet. */
export type HttpErrorCode =
  | RefusalCode
  | AnswerCode
  | LoginCode
  | 'request.malformed'
  | 'request.too-large'
  | 'request.timeout'
  | 'api.not-found'
  | 'api.method-not-allowed';

export const HTTP_STATUS: Readonly<Record<HttpErrorCode, number>> = {
  'route.unknown': 404,
  'route.stopped': 503,
  'route.starting': 503,
  'route.asleep': 503,
  'route.unreachable': 502,
  'route.forbidden': 403,
  'route.certificate': 403,
  'route.full': 503,
  'route.held-full': 503,
  'route.no-descriptors': 503,
  'route.owner-full': 503,
  'route.tenant-full': 503,
  'route.misdirected': 421,
  'tls.required': 400,
  'answer.malformed': 502,
  'answer.missing': 502,
  'request.malformed': 400,
  'request.too-large': 431,
  'request.timeout': 408,
  'login.required': 401,
  'login.forbidden': 403,
  'login.cross-site': 403,
  'login.failed': 400,
  'login.unavailable': 503,
  'api.not-found': 404,
  'api.method-not-allowed': 405,
};

/** Seconds after which trying again may help. A pod that is starting refreshes its page by itself. */
const RETRY_AFTER_S: Readonly<Partial<Record<HttpErrorCode, number>>> = {
  'route.starting': 2,
  'route.asleep': 30,
  'route.full': 5,
  'route.held-full': 5,
  'route.no-descriptors': 5,
  'route.owner-full': 5,
  'route.tenant-full': 5,
  'route.stopped': 30,
  'login.unavailable': 2,
};

/** One error answer, not yet in a wire format. */
export interface Problem {
  readonly kind: 'problem';
  readonly status: number;
  readonly code: HttpErrorCode | 'api.unavailable';
  /** What happened and why. */
  readonly message: string;
  /** What to do next. */
  readonly hint: string;
  readonly requestId: string;
  readonly retryAfterS: number | null;
  /** The page loads itself again after `retryAfterS`. */
  readonly refresh: boolean;
  /** `envelope` = the API's JSON, whatever the client accepts. */
  readonly style: 'page' | 'envelope';
}

export function problemOfRefusal(refusal: Refusal): Problem {
  return {
    kind: 'problem',
    status: HTTP_STATUS[refusal.code],
    code: refusal.code,
    message: refusal.message,
    hint: refusal.hint,
    requestId: refusal.requestId,
    retryAfterS: RETRY_AFTER_S[refusal.code] ?? null,
    refresh: refusal.code === 'route.starting',
    style: 'page',
  };
}

export function problemOfCode(code: HttpErrorCode, requestId: string, hint: string): Problem {
  return {
    kind: 'problem',
    status: HTTP_STATUS[code],
    code,
    message: ERRORS[code].message,
    hint,
    requestId,
    retryAfterS: RETRY_AFTER_S[code] ?? null,
    refresh: false,
    style: 'page',
  };
}

/** Of a request that changes something: trying again may do it twice. */
export const CHECK_FIRST = 'The request may have been carried out: check before you send it again.';

/** The control child is away (it restarts by itself) or broke off: nothing a client did. */
export function problemOfApi(status: 502 | 503, requestId: string, mayHaveHappened: boolean): Problem {
  return {
    kind: 'problem',
    status,
    code: 'api.unavailable',
    message: ERRORS['api.unavailable'].message,
    hint: mayHaveHappened
      ? `${CHECK_FIRST} Pods keep running.`
      : 'It restarts automatically: try again in a second. Pods keep running.',
    requestId,
    retryAfterS: mayHaveHappened ? null : 1,
    refresh: false,
    style: 'envelope',
  };
}
