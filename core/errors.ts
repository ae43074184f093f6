/**
 * Every reason for which someone is refused or something fails: whose fault it is, whether trying again helps, and the
 * sentence people may read. Each wire (HTTP, Postgres, Bolt, CLI) maps the codes it can meet in a total map, so that a
 * missing code does not compile. Only these sentences leave the process; details go to the log.
 */
export type Fault = 'client' | 'pod' | 'gateway' | 'operator';

interface ErrorEntry {
  readonly fault: Fault;
  readonly retryable: boolean;
  readonly message: string;
}

export const ERRORS = {
  // The data path: why a connection or a request gets no further.
  'route.unknown': { fault: 'client', retryable: false, message: 'No pod has this host name.' },
  'route.stopped': { fault: 'pod', retryable: true, message: 'The pod is stopped.' },
  'route.starting': { fault: 'pod', retryable: true, message: 'The pod is starting.' },
  'route.asleep': {
    fault: 'client',
    retryable: true,
    message: 'The pod is asleep, and this request does not wake it.',
  },
  'route.unreachable': { fault: 'pod', retryable: true, message: 'The pod is running but does not answer.' },
  'route.forbidden': { fault: 'client', retryable: false, message: 'Your address may not connect to this pod.' },
  'route.certificate': {
    fault: 'client',
    retryable: false,
    message: 'This pod requires a client certificate that it trusts.',
  },
  'route.full': { fault: 'gateway', retryable: true, message: 'Too many connections.' },
  'route.held-full': {
    fault: 'client',
    retryable: true,
    message: 'Too many clients from your address are waiting for pods to wake up.',
  },
  'route.no-descriptors': {
    fault: 'gateway',
    retryable: true,
    message: 'The gateway is out of file descriptors.',
  },
  'route.owner-full': {
    fault: 'pod',
    retryable: true,
    message: 'Too many connections to the pods of this owner.',
  },
  'route.tenant-full': {
    fault: 'pod',
    retryable: true,
    message: 'Too many connections to the pods of this tenant.',
  },
  'route.misdirected': {
    fault: 'client',
    retryable: false,
    message: 'The Host header and the server name of the TLS connection differ.',
  },
  'answer.malformed': { fault: 'pod', retryable: false, message: 'The response of the pod is not valid HTTP.' },
  'answer.missing': { fault: 'pod', retryable: false, message: 'The pod closed the connection without a response.' },
  'tls.required': { fault: 'client', retryable: false, message: 'This port accepts TLS only.' },
  'request.malformed': { fault: 'client', retryable: false, message: 'The request is malformed.' },
  'request.too-large': { fault: 'client', retryable: false, message: 'The request is too large.' },
  'request.timeout': { fault: 'client', retryable: true, message: 'The request did not arrive in time.' },
  // A login in front of a pod.
  'login.required': { fault: 'client', retryable: false, message: 'This pod requires a login.' },
  'login.forbidden': { fault: 'client', retryable: false, message: 'You are not allowed to use this pod.' },
  'login.cross-site': {
    fault: 'client',
    retryable: false,
    message: 'A page of another site tried to use your login for this pod, which is not allowed.',
  },
  'login.failed': { fault: 'client', retryable: false, message: 'The login was not completed.' },
  'login.unavailable': { fault: 'gateway', retryable: true, message: 'Logins cannot be checked at the moment.' },
  // The API.
  'api.invalid': { fault: 'client', retryable: false, message: 'The request is not valid.' },
  'api.unauthenticated': { fault: 'client', retryable: false, message: 'A valid token is required.' },
  'api.forbidden': { fault: 'client', retryable: false, message: 'Not allowed.' },
  'api.not-found': { fault: 'client', retryable: false, message: 'Not found.' },
  'api.method-not-allowed': { fault: 'client', retryable: false, message: 'This path does not support that method.' },
  'api.conflict': { fault: 'client', retryable: true, message: 'It already exists, or was modified concurrently.' },
  'api.precondition-failed': { fault: 'client', retryable: false, message: 'The pod has changed since you read it.' },
  'api.unsupported-media-type': { fault: 'client', retryable: false, message: 'The body must be JSON.' },
  'api.upgrade-required': {
    fault: 'client',
    retryable: false,
    message: 'This path serves WebSockets only: connect with a WebSocket client (version 13).',
  },
  'api.too-large': { fault: 'client', retryable: false, message: 'The body is too large.' },
  'api.range': { fault: 'client', retryable: false, message: 'The requested range is outside the file.' },
  'api.timeout': { fault: 'client', retryable: true, message: 'The body did not arrive in time.' },
  'api.too-many-requests': { fault: 'client', retryable: true, message: 'Too many requests.' },
  'api.overloaded': { fault: 'gateway', retryable: true, message: 'The API is at its limit. Try again in a moment.' },
  'api.not-available': { fault: 'gateway', retryable: false, message: 'This release does not support this operation.' },
  'api.unavailable': { fault: 'gateway', retryable: true, message: 'The API does not answer at the moment.' },
  'api.unknown-host': { fault: 'client', retryable: false, message: 'This port does not serve this host name.' },
  'api.internal': {
    fault: 'gateway',
    retryable: false,
    message: 'Unexpected error; the log contains the details under the request ID.',
  },
  // The outside.
  'store.unavailable': { fault: 'operator', retryable: true, message: 'The store does not respond. Try again soon.' },
  'store.suspect': {
    fault: 'operator',
    retryable: true,
    message:
      'The store is suspect (it may have lost data): nothing can be changed until the operator has checked it. Running pods are not affected.',
  },
  'orchestrator.unavailable': { fault: 'operator', retryable: true, message: 'The orchestrator does not respond.' },
  'vault.cannot-open': { fault: 'operator', retryable: false, message: 'No configured key can decrypt this value.' },
  'config.invalid': { fault: 'operator', retryable: false, message: 'The configuration is not valid.' },
} as const satisfies Record<string, ErrorEntry>;

export type ErrorCode = keyof typeof ERRORS;
/** What can be wrong with a pod's response to a request that was sent. */
export type AnswerCode = Extract<ErrorCode, `answer.${string}`>;
/** Why an HTTP request does not get past the login in front of a pod. */
export type LoginCode = Extract<ErrorCode, `login.${string}`>;
/** The part of the codes that a data-path wire (HTTP page, Postgres, Bolt) must be able to say. */
export type RefusalCode = Extract<ErrorCode, `route.${string}` | 'tls.required'>;

/** The one error class. `detail` is for the log; `publicMessage` (default: the table's) may be shown to people. */
export class PodgateError extends Error {
  override readonly name = 'PodgateError';
  readonly code: ErrorCode;
  /** Whole sentences safe to show; several for validation errors. */
  readonly publicMessages: readonly string[];

  constructor(code: ErrorCode, options: { publicMessages?: readonly string[]; detail?: string; cause?: unknown } = {}) {
    const publicMessages = options.publicMessages ?? [ERRORS[code].message];
    super(options.detail ?? publicMessages.join(' '), options.cause === undefined ? {} : { cause: options.cause });
    this.code = code;
    this.publicMessages = publicMessages;
  }
}

/** The store does not answer, or is not to be believed: for most callers that is the same. */
export function isStoreFailure(error: unknown): boolean {
  return error instanceof PodgateError && (error.code === 'store.unavailable' || error.code === 'store.suspect');
}

/** Text of whatever was thrown, for a log line. */
export function errorText(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
