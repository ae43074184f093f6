import type { ConnectionInfo } from '../../../connection/connection-info.ts';
import { expectsContinue } from '../wire/connection-header.ts';
import { requestHeaders } from './headers.ts';
import type { Accepted } from './judge.ts';
import type { OutgoingRequest } from './upstream.ts';
import type { RequestHead } from '../wire/head.ts';

/** What is asked of a backend for this client, in terms of any version of HTTP. */
export function forwardedRequest(
  head: RequestHead,
  accepted: Accepted,
  { proof }: ConnectionInfo,
  upgrade: string | null,
): OutgoingRequest {
  const { request, requestId, client } = accepted;
  const { hostHeader, port, target, framing } = request;
  return {
    method: head.method,
    target,
    fields: requestHeaders(head.rawHeaders, {
      remoteAddress: client.address,
      passedOn: client.passedOn,
      hostHeader,
      port,
      requestId,
      certificate: proof?.kind === 'verified' ? proof.certificate : null,
      visitor: accepted.kind === 'pod' ? accepted.visitor : null,
    }),
    framing,
    upgrade,
    expectsContinue: framing.kind !== 'none' && expectsContinue(head),
  };
}
