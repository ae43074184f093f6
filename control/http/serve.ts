import type { RouterContext } from '@koa/router';

import type { Authenticator } from '../auth/authenticator.ts';
import { readJsonBody, type BodyLimits } from './body.ts';
import { replyEnvelope } from './envelope.ts';
import type { ExchangeState } from './exchange.ts';
import { entityTag } from './if-match.ts';
import type { Call, Operation, Reply } from './operation.ts';

export interface ServeOptions {
  readonly authenticator: Authenticator;
  readonly body: BodyLimits;
  readonly version: string;
}

/** One operation on the wire: who asks is known before a byte of the body is read. */
export function serve(
  operation: Operation,
  { authenticator, body: limits, version }: ServeOptions,
): (context: RouterContext<ExchangeState>) => Promise<void> {
  const callOf = async (context: RouterContext<ExchangeState>): Promise<Call> => ({
    params: context.params,
    query: context.state.query,
    ifMatch: context.request.headers['if-match'],
    body: operation.body === undefined ? undefined : await readJsonBody(context.req, limits),
  });
  const replyOf = async (context: RouterContext<ExchangeState>): Promise<Reply> => {
    if (operation.access === 'open') return await operation.handle(await callOf(context));
    const { headers } = context.request;
    const caller = await authenticator.authenticate({
      host: headers.host,
      tapisToken: textOf(headers['x-tapis-token']),
      authorization: headers.authorization,
      onBehalfOfUser: textOf(headers['x-tapis-user']),
      onBehalfOfTenant: textOf(headers['x-tapis-tenant']),
    });
    context.state.username = caller.username;
    return await operation.handle({ ...(await callOf(context)), caller });
  };
  return async (context) => {
    const reply = await replyOf(context);
    context.status = reply.status ?? 200;
    if (reply.generation !== undefined) context.set('ETag', entityTag(reply.generation));
    context.body = replyEnvelope(reply, version);
  };
}

function textOf(header: string | readonly string[] | undefined): string | undefined {
  return typeof header === 'object' ? header.join(',') : header;
}
