import { randomUUID } from 'node:crypto';

import type { Middleware, ParameterizedContext } from 'koa';

import { ERRORS, errorText, PodgateError } from '../../core/errors.ts';
import type { Logger } from '../../core/logger.ts';
import { errorEnvelope, replyEnvelope } from './envelope.ts';
import { parseRequestTarget } from './request-path.ts';
import { HTTP_STATUS } from './status-codes.ts';

const PROBES: ReadonlySet<string> = new Set(['/healthz', '/readyz']);

/** Kept beside a request while it is served. */
export interface ExchangeState {
  query: URLSearchParams;
  /** Once the token has proved it. */
  username?: string;
}

const REQUEST_ID = /^[\w.-]{1,64}$/;
const RETRY_AFTER_SECONDS = '2';

/**
 * Around every request: its id, its path, and whatever went wrong as the envelope. Errors are logged here and nowhere
 * else; only public sentences leave.
 */
export function exchange({ log, version }: { readonly log: Logger; readonly version: string }): Middleware {
  return async (context, next) => {
    const startedMs = performance.now();
    const requestId = requestIdOf(context.get('X-Request-Id'));
    context.set('X-Request-Id', requestId);
    context.set('Cache-Control', 'no-store');
    context.set('X-Content-Type-Options', 'nosniff');
    const state = context.state as ExchangeState;
    const method = context.method;
    try {
      const target = parseRequestTarget(context.req.url ?? '/');
      state.query = target.query;
      context.path = target.path;
      await next();
      // Nothing has answered: no operation has this path, or none with this method.
      if (context.body === undefined || context.body === '') answerUnserved(context, version);
    } catch (error) {
      answerError(context, error, version, log.child({ requestId }));
    }
    // Probes ask every few seconds: what they find good is no news.
    const level = context.status < 400 && PROBES.has(context.path) ? 'debug' : 'info';
    log[level](
      {
        requestId,
        method,
        path: context.path,
        status: context.status,
        durationMs: Math.round(performance.now() - startedMs),
        ...(state.username === undefined ? {} : { username: state.username }),
      },
      'api request',
    );
  };
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

function answerError(context: ParameterizedContext, thrown: unknown, version: string, log: Logger): void {
  const error = thrown instanceof PodgateError ? thrown : new PodgateError('api.internal', { cause: thrown });
  const status = HTTP_STATUS[error.code];
  if (status >= 500) logFailure(log, error, thrown);
  context.status = status;
  context.body = errorEnvelope(error, version);
  if (status === 401) context.set('WWW-Authenticate', 'Bearer');
  if (status === 503) context.set('Retry-After', RETRY_AFTER_SECONDS);
  // What is left of the body is not worth reading.
  if (status === 413 || status === 408) context.set('Connection', 'close');
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
