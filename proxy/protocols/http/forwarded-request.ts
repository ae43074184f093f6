import { expectsContinue } from './connection-wishes.ts';
import { requestHeaders } from './headers.ts';
import type { Accepted } from './judge.ts';
import type { OutgoingRequest } from './upstream.ts';
import type { RequestHead } from './wire/head.ts';

/** What is asked of a backend for this client, in terms of any version of HTTP. */
export function forwardedRequest(
  head: RequestHead,
  { request, requestId }: Accepted,
  remoteAddress: string,
  upgrade: string | null,
): OutgoingRequest {
  const { hostHeader, port, target, framing } = request;
  return {
    method: head.method,
    target,
    fields: requestHeaders(head.rawHeaders, { remoteAddress, hostHeader, port, requestId }),
    framing,
    upgrade,
    expectsContinue: framing.kind !== 'none' && expectsContinue(head),
  };
}
