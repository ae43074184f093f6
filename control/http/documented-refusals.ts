import type { Operation } from './operation.ts';
import { type ApiErrorCode, HTTP_STATUS } from './status-codes.ts';

/** Whatever the call is. */
const ALWAYS: readonly ApiErrorCode[] = [
  'request.malformed',
  'api.unknown-host',
  'api.too-many-requests',
  'api.overloaded',
];

/** The statuses, in ascending order, with which a call of this operation may be refused. 500 is a defect: never promised. */
export function documentedRefusals(operation: Operation): readonly number[] {
  const codes = new Set<ApiErrorCode>(ALWAYS);
  const add = (...more: readonly ApiErrorCode[]): void => {
    for (const code of more) codes.add(code);
  };
  if (operation.access === 'token') add('api.unauthenticated', 'api.forbidden');
  if (operation.path.includes('{')) add('api.not-found');
  if (operation.body !== undefined || operation.takesFile === true) {
    add('api.unsupported-media-type', 'api.too-large', 'api.timeout');
  }
  if (operation.headers?.includes('Range') === true) add('api.range');
  if (operation.subprotocol !== undefined) add('api.upgrade-required', 'api.conflict');
  if (operation.methods.some((method) => method !== 'get')) add('api.conflict');
  if (operation.headers?.includes('If-Match') === true) add('api.precondition-failed');
  add(...(operation.alsoRefuses ?? []));
  return [...new Set([...codes].map((code) => HTTP_STATUS[code]))].sort((a, b) => a - b);
}

/** What the statuses of refusals mean, in the words of the API. */
export const REFUSAL_DESCRIPTIONS: Readonly<Record<number, string>> = {
  400: 'The request is not valid. For a body, `message` is a list with a sentence for each problem.',
  401: 'No valid token.',
  403: 'Your permission is too low, or a quota is reached.',
  404: 'There is no such object.',
  408: 'The body did not arrive in time.',
  409: 'It already exists, or was modified concurrently.',
  412: 'The object has changed since you read it (If-Match).',
  413: 'The body is too large, or there is no room for it.',
  415: 'The body has the wrong media type.',
  416: 'The object has no bytes in that range.',
  426: 'The request does not ask for a WebSocket.',
  421: 'This port does not serve this host name.',
  429: 'Too many requests. Try again after Retry-After.',
  501: 'This installation cannot do that; the message says why.',
  503: 'Overloaded, or the store or the orchestrator does not respond. Try again after Retry-After.',
};
