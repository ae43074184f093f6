import { createHash, timingSafeEqual } from 'node:crypto';
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';

import { PodgateError } from '../../core/errors.ts';
import { EXPOSITION_TYPE } from './exposition.ts';
import { errorEnvelope } from '../http/envelope.ts';
import { isKnownHost } from '../http/known-hosts.ts';
import { httpStatusOf } from '../http/status-codes.ts';

export interface MetricsEndpointOptions {
  /** Prometheus' text, made at every scrape. */
  readonly metrics: () => Promise<string>;
  /** Lower case. */
  readonly controlHosts: ReadonlySet<string>;
  /** Read at every scrape, so that it can be changed; null = there is none. */
  readonly token: () => string | null;
  readonly version: string;
}

/**
 * `/metrics` on the control port: with the token if one is set, and otherwise for programs on this machine that send a known
 * Host. Pods in a cluster may reach the port, and a web page can make a browser request it.
 */
export function metricsEndpoint({ metrics, controlHosts, token, version }: MetricsEndpointOptions): RequestListener {
  return (request, response) => {
    const refused = refusalOf(request, controlHosts, token);
    if (refused === null) {
      void metrics().then((text) => response.writeHead(200, { 'content-type': EXPOSITION_TYPE }).end(text));
    } else refuse(response, refused, version);
  };
}

function refusalOf(
  { headers, headersDistinct, socket }: IncomingMessage,
  controlHosts: ReadonlySet<string>,
  token: () => string | null,
): PodgateError | null {
  const [authorization, second] = headersDistinct['authorization'] ?? [];
  if (authorization !== undefined) {
    const wanted = token();
    const isRight = second === undefined && wanted !== null && isSame(authorization, `Bearer ${wanted}`);
    if (isRight) return null;
    return new PodgateError('api.unauthenticated', {
      publicMessages: ['The token is not the one in the file that api.metricsTokenFile names.'],
    });
  }
  const isHere = isLoopback(socket.remoteAddress ?? '');
  if (isHere && isKnownHost(headers.host ?? '', socket.localAddress, controlHosts)) return null;
  return new PodgateError('api.unauthenticated', {
    publicMessages: [
      'Metrics are for programs on this machine that ask for localhost. From elsewhere, send Authorization: Bearer with ' +
        'the token in the file that api.metricsTokenFile names.',
    ],
  });
}

function refuse(response: ServerResponse, error: PodgateError, version: string): void {
  const body = JSON.stringify(errorEnvelope(error, version));
  response
    .writeHead(httpStatusOf(error.code), {
      'content-type': 'application/json',
      'www-authenticate': 'Bearer',
    })
    .end(body);
}

/** In a time that does not depend on where they differ. */
function isSame(a: string, b: string): boolean {
  const digest = (text: string): Buffer => createHash('sha256').update(text).digest();
  return timingSafeEqual(digest(a), digest(b));
}

function isLoopback(address: string): boolean {
  return address === '::1' || /^(::ffff:)?127\./i.test(address);
}
