import { randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';

import type { Middleware, ParameterizedContext } from 'koa';

import { type ErrorCode, ERRORS, errorText, PodgateError } from '../../core/errors.ts';
import type { Logger } from '../../core/logger.ts';
import { UnsatisfiableRange } from './byte-range.ts';
import { clientAddress, type Listener } from './client-address.ts';
import { type Envelope, errorEnvelope, replyEnvelope } from './envelope.ts';
import { errorPage } from './error-page.ts';
import { requireKnownHost } from './known-hosts.ts';
import type { AdmittedCall, CallAdmission } from './limits/call-admission.ts';
import type { FairTurns } from './limits/fair-turns.ts';
import type { RatePerAddress } from './limits/rate-per-address.ts';
import type { SlowReaders } from './limits/slow-readers.ts';
import { requireSingleHeaders } from './single-headers.ts';
import { PAGE_HEADERS } from './pages.ts';
import { parseRequestTarget } from './request-path.ts';
import { httpStatusOf } from './status-codes.ts';

const PROBES: ReadonlySet<string> = new Set(['/healthz', '/readyz']);

/** Kept beside a request while it is served. */
export interface ExchangeState {
  query: URLSearchParams;
  requestId: string;
  /** Of the client. */
  remoteAddress: string;
  /** Once the token has proved it. */
  username?: string;
  /** Who waits for turns: the address, once it is known the user. */
  party: string;
  /** Lets the work go on when it is this party's turn. */
  turn: () => Promise<void>;
  call: AdmittedCall;
  listener: Listener;
  /** The operation is one that browsers navigate to: what goes wrong is a page for those that want one. */
  isNavigation?: boolean;
  /** Aborts when the client has gone. */
  signal: AbortSignal;
  /** Logs what went wrong, unless it is that the client has gone, and returns what the client reads. */
  failed: (thrown: unknown) => Envelope;
}

export interface ExchangeOptions {
  readonly log: Logger;
  readonly version: string;
  readonly listener: Listener;
  /** Host names under which the control port is asked; lower case. */
  readonly controlHosts: ReadonlySet<string>;
  readonly admission: CallAdmission;
  readonly turns: FairTurns;
  readonly slowReaders: SlowReaders;
  /** Bounds the 401s of an address. */
  readonly failedLogins: RatePerAddress;
  /** Bounds the log lines of calls that no user has made (failures among them), or that were refused for their number. */
  readonly logLines: RatePerAddress;
  readonly monotonicMs: () => number;
}

/** Overload comes in floods, and is counted. What this release does not have is no failure. */
const UNLOGGED: ReadonlySet<ErrorCode> = new Set(['api.overloaded', 'api.not-available']);
const REQUEST_ID = /^[\w.-]{1,64}$/;
const JSON_TYPE = 'application/json';
const RETRY_AFTER_SECONDS = '2';

/**
 * What every request gets: an id, a place within the limits, a turn, and an envelope that says what went wrong. Errors are
 * logged here and nowhere else; only public sentences leave.
 */
export function exchange(options: ExchangeOptions): Middleware {
  const { log, version, listener, turns } = options;
  let unloggedLines = 0;
  return async (context, next) => {
    const startedMs = performance.now();
    const requestId = requestIdOf(context.get('X-Request-Id'));
    context.set('X-Request-Id', requestId);
    context.set('Cache-Control', 'no-store');
    context.set('X-Content-Type-Options', 'nosniff');
    const state = context.state as ExchangeState;
    const remoteAddress = clientAddress(context.req, listener);
    const method = context.method;
    options.slowReaders.watch(context.res);
    state.listener = listener;
    state.requestId = requestId;
    state.remoteAddress = remoteAddress;
    state.party = remoteAddress;
    state.turn = () => turns.next(state.party);
    const call = callOf(options, context.req, remoteAddress);
    const settled = leaveAtEnd(call, context.res);
    state.signal = goneSignal(context.res);
    state.failed = (thrown) => {
      const error = errorOf(thrown);
      // Strangers fail as often as they like, for example while the keys of a tenant cannot be read.
      const mayBeLogged = () =>
        state.username !== undefined || options.logLines.take(remoteAddress, options.monotonicMs());
      if (!state.signal.aborted && isFailure(error) && mayBeLogged()) {
        logFailure(log.child({ requestId }), error, thrown);
      }
      return errorEnvelope(error, version);
    };
    try {
      const target = parseRequestTarget(context.req.url ?? '/');
      state.query = target.query;
      context.path = target.path;
      requireSingleHeaders(context.req);
      if (listener === 'control-port') requireKnownHost(context.req, options.controlHosts);
      if (call instanceof PodgateError) throw call;
      state.call = call;
      // Probes wait for nobody: they say whether this replica gets traffic.
      if (call !== UNCOUNTED) await state.turn();
      await next();
      // Nothing has answered: no operation has this path, or none with this method.
      if (context.respond !== false && (context.body === undefined || context.body === '')) {
        answerUnserved(context, version);
      }
    } catch (error) {
      answerError(context, boundedFailure(options, remoteAddress, error));
    } finally {
      settled();
    }
    // Bytes that nobody reads would keep the connection for as long as they come.
    if (!context.req.complete) context.set('Connection', 'close');
    // Koa adds a charset, which JSON has none of (RFC 8259, section 11), and by which tapipy no longer knows it as JSON.
    if (context.type === JSON_TYPE) context.set('Content-Type', JSON_TYPE);
    // Probes ask every few seconds: what they find good is no news.
    const isNews = context.status >= 400 || !PROBES.has(context.path);
    const isOfUser = state.username !== undefined && context.status !== 429;
    const isLogged = isNews && (isOfUser || options.logLines.take(remoteAddress, options.monotonicMs()));
    log[isLogged ? 'info' : 'debug'](
      {
        requestId,
        method,
        path: context.path,
        status: context.status,
        durationMs: Math.round(performance.now() - startedMs),
        remoteAddress,
        ...(state.username === undefined ? {} : { username: state.username }),
        ...(isLogged && unloggedLines > 0 ? { unloggedLines } : {}),
      },
      'api request',
    );
    if (isNews) unloggedLines = isLogged ? 0 : unloggedLines + 1;
  };
}

/** Probes on the control port are answered whatever else goes on: they decide whether this replica gets traffic. */
function callOf(
  { admission, listener }: ExchangeOptions,
  { url = '' }: IncomingMessage,
  address: string,
): AdmittedCall | PodgateError {
  if (listener === 'control-port' && PROBES.has(url)) return UNCOUNTED;
  try {
    return admission.enter(address);
  } catch (error) {
    if (error instanceof PodgateError) return error;
    throw error;
  }
}

const UNCOUNTED: AdmittedCall = {
  identify: () => undefined,
  reserve: () => undefined,
  hold: () => undefined,
  leave: () => undefined,
};

/**
 * The call keeps its place until its response has left, or its client, and until its work is done: who asks and goes away
 * at once must not leave more work behind than who waits. Call what it returns when the work is done.
 */
function leaveAtEnd(call: AdmittedCall | PodgateError, response: ServerResponse): () => void {
  if (call instanceof PodgateError) return () => undefined;
  let pending = 2;
  const ended = (): void => {
    pending -= 1;
    if (pending === 0) call.leave();
  };
  response.once('close', ended);
  return ended;
}

function goneSignal(response: ServerResponse): AbortSignal {
  const gone = new AbortController();
  response.once('close', () => {
    if (!response.writableFinished) gone.abort();
  });
  return gone.signal;
}

function boundedFailure({ failedLogins, monotonicMs }: ExchangeOptions, address: string, error: unknown): unknown {
  if (!(error instanceof PodgateError) || error.code !== 'api.unauthenticated') return error;
  if (failedLogins.take(address, monotonicMs())) return error;
  return new PodgateError('api.too-many-requests', {
    publicMessages: [
      'Too many requests without a valid token have come from your address. Wait a minute, and correct the token: ' +
        error.publicMessages.join(' '),
    ],
  });
}

function requestIdOf(given: string): string {
  return REQUEST_ID.test(given) ? given : randomUUID();
}

function answerUnserved(context: ParameterizedContext, version: string): void {
  const allow = context.res.hasHeader('Allow') ? context.response.get('Allow') : '';
  if (allow === '')
    throw new PodgateError('api.not-found', {
      publicMessages: ['There is nothing at this path. Pods are at /v3/pods; /openapi.json describes all paths.'],
    });
  if (context.method === 'OPTIONS') {
    context.status = 200;
    context.body = replyEnvelope({ message: `Methods: ${allow}.`, result: null }, version);
    return;
  }
  throw new PodgateError('api.method-not-allowed', { publicMessages: [`This path takes ${allow}.`] });
}

function answerError(context: ParameterizedContext<ExchangeState>, thrown: unknown): void {
  const status = httpStatusOf(errorOf(thrown).code);
  context.status = status;
  const envelope = context.state.failed(thrown);
  if (context.state.isNavigation === true && context.accepts('json', 'html') === 'html') {
    context.set(PAGE_HEADERS);
    context.body = errorPage(envelope, context.state.requestId);
    context.type = 'html';
  } else {
    context.body = envelope;
  }
  if (thrown instanceof UnsatisfiableRange) context.set('Content-Range', `bytes */${thrown.sizeBytes}`);
  if (status === 426) context.set('Upgrade', 'websocket');
  if (status === 401) context.set('WWW-Authenticate', 'Bearer');
  if (status === 503 || status === 429) context.set('Retry-After', RETRY_AFTER_SECONDS);
}

function errorOf(thrown: unknown): PodgateError {
  return thrown instanceof PodgateError ? thrown : new PodgateError('api.internal', { cause: thrown });
}

function isFailure({ code }: PodgateError): boolean {
  return httpStatusOf(code) >= 500 && !UNLOGGED.has(code);
}

function logFailure(log: Logger, error: PodgateError, thrown: unknown): void {
  const fields = {
    code: error.code,
    error: errorText(thrown),
    ...(error.cause === undefined ? {} : { cause: errorText(error.cause) }),
    ...(thrown instanceof Error && error.code === 'api.internal' ? { stack: thrown.stack } : {}),
  };
  if (ERRORS[error.code].fault === 'operator') log.warn(fields, 'the API could not serve a request');
  else log.error(fields, 'the API failed');
}
