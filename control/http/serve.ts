import type { RouterContext } from '@koa/router';

import { PodgateError } from '../../core/errors.ts';
import type { Authenticator, Caller } from '../auth/authenticator.ts';
import { announcedBytes, readJsonBody } from './body.ts';
import type { ExchangeState } from './exchange.ts';
import { receiveFile } from './multipart.ts';
import type { Call, Operation, OperationLimits, Reply } from './operation.ts';
import { respond } from './respond.ts';
import type { SessionReader } from './session-reader.ts';
import type { Upgrades } from './upgrade.ts';

export interface ServeOptions {
  readonly authenticator: Authenticator;
  /** Of operations that state none of their own. */
  readonly limits: OperationLimits;
  readonly version: string;
  /** Default: none; calls bring their token in a header. */
  readonly sessions?: SessionReader;
  readonly upgrades: Upgrades;
}

/** One operation on the wire: who asks is known before a byte of the body is read. */
export function serve(
  operation: Operation,
  { authenticator, limits: defaults, version, sessions, upgrades }: ServeOptions,
): (context: RouterContext<ExchangeState>) => Promise<void> {
  const limits = { ...defaults, ...operation.limits };
  // start and stop are GETs, too.
  const isSafe = operation.methods.every((method) => method === 'get') && operation.methods.length === 1;
  const callOf = async (context: RouterContext<ExchangeState>): Promise<Call> => {
    const { state, req } = context;
    if (operation.subprotocol !== undefined) {
      upgrades.require(req, context.res, operation.subprotocol, state.listener);
    }
    let body: unknown;
    if (operation.body !== undefined) {
      state.call.reserve(announcedBytes(req, limits.bodyBytes));
      body = await readJsonBody(req, limits, state.turn);
    }
    state.call.reserve(limits.responseBytes);
    return {
      params: context.params,
      query: state.query,
      host: context.request.headers.host ?? '',
      headers: context.request.headers,
      listener: state.listener,
      ifMatch: context.request.headers['if-match'],
      lastEventId: textOf(context.request.headers['last-event-id']),
      // For GET alone (RFC 9110 section 14.2).
      range: req.method === 'GET' ? context.request.headers.range : undefined,
      ifRange: textOf(context.request.headers['if-range']),
      body,
      receiveFile: (use) => receiveFile(req, limits, use),
      reserve: (bytes) => state.call.reserve(bytes),
      signal: state.signal,
    };
  };
  const callerOf = async ({ request, state }: RouterContext<ExchangeState>): Promise<Caller> => {
    const { headers } = request;
    const caller = await authenticator.authenticate({
      host: headers.host,
      tapisToken: textOf(headers['x-tapis-token']) ?? sessions?.tokenOf(headers, state.listener),
      authorization: headers.authorization,
      onBehalfOfUser: textOf(headers['x-tapis-user']),
      onBehalfOfTenant: textOf(headers['x-tapis-tenant']),
    });
    state.call.identify(caller);
    state.username = caller.username;
    state.party = `${caller.tenant}/${caller.username}`;
    const { requestId, remoteAddress: address } = state;
    return { ...caller, origin: { operationId: operation.operationId, requestId, address } };
  };
  const replyOf = async (context: RouterContext<ExchangeState>): Promise<Reply> => {
    if (operation.access === 'open') return await operation.handle(await callOf(context));
    const caller = await callerOf(context);
    const isAdminView = adminViewOf(context.request.headers['x-pods-admin'], caller);
    return await operation.handle({ ...(await callOf(context)), caller, isAdminView });
  };
  return async (context) => {
    context.state.isNavigation = operation.replies === 'redirect';
    await respond(context, await replyOf(context), { limits, version, isSafe, upgrades });
  };
}

/** Throws 'api.forbidden' for callers who are no administrators: they would take what they see for all there is. */
function adminViewOf(header: string | readonly string[] | undefined, { isAdministrator }: Caller): boolean {
  if (textOf(header)?.toLowerCase() !== 'true') return false;
  if (isAdministrator) return true;
  throw new PodgateError('api.forbidden', {
    publicMessages: [
      'X-Pods-Admin is for administrators (role pods_admin). Leave the header out to see your own pods.',
    ],
  });
}

function textOf(header: string | readonly string[] | undefined): string | undefined {
  return typeof header === 'object' ? header.join(',') : header;
}
