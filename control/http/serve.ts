import type { RouterContext } from '@koa/router';

import type { Authenticator, Caller } from '../auth/authenticator.ts';
import { announcedBytes, readJsonBody } from './body.ts';
import type { ExchangeState } from './exchange.ts';
import type { Call, Operation, OperationLimits, Reply } from './operation.ts';
import { respond } from './respond.ts';

export interface ServeOptions {
  readonly authenticator: Authenticator;
  /** Of operations that state none of their own. */
  readonly limits: OperationLimits;
  readonly version: string;
}

/** One operation on the wire: who asks is known before a byte of the body is read. */
export function serve(
  operation: Operation,
  { authenticator, limits: defaults, version }: ServeOptions,
): (context: RouterContext<ExchangeState>) => Promise<void> {
  const limits = { ...defaults, ...operation.limits };
  // start and stop are GETs, too.
  const isSafe = operation.methods.every((method) => method === 'get') && operation.methods.length === 1;
  const callOf = async (context: RouterContext<ExchangeState>): Promise<Call> => {
    const { state, req } = context;
    let body: unknown;
    if (operation.body !== undefined) {
      state.call.reserve(announcedBytes(req, limits.bodyBytes));
      body = await readJsonBody(req, limits, state.turn);
    }
    state.call.reserve(limits.responseBytes);
    return {
      params: context.params,
      query: state.query,
      ifMatch: context.request.headers['if-match'],
      body,
      reserve: (bytes) => state.call.reserve(bytes),
      signal: state.signal,
    };
  };
  const callerOf = async ({ request, state }: RouterContext<ExchangeState>): Promise<Caller> => {
    const { headers } = request;
    const caller = await authenticator.authenticate({
      host: headers.host,
      tapisToken: textOf(headers['x-tapis-token']),
      authorization: headers.authorization,
      onBehalfOfUser: textOf(headers['x-tapis-user']),
      onBehalfOfTenant: textOf(headers['x-tapis-tenant']),
    });
    state.call.identify(caller);
    state.username = caller.username;
    state.party = `${caller.tenant}/${caller.username}`;
    return caller;
  };
  const replyOf = async (context: RouterContext<ExchangeState>): Promise<Reply> => {
    if (operation.access === 'open') return await operation.handle(await callOf(context));
    const caller = await callerOf(context);
    return await operation.handle({ ...(await callOf(context)), caller });
  };
  return async (context) => {
    await respond(context, await replyOf(context), { version, isSafe, idleMs: limits.idleMs });
  };
}

function textOf(header: string | readonly string[] | undefined): string | undefined {
  return typeof header === 'object' ? header.join(',') : header;
}
