import type { RequestListener } from 'node:http';
import type { Config } from '../../config/config.ts';
import { errorEnvelope, replyEnvelope } from '../../control/http/envelope.ts';
import { requireKnownHost } from '../../control/http/known-hosts.ts';
import { DEFAULT_OPERATION_LIMITS } from '../../control/http/operation.ts';
import { serverOptionsFor } from '../../control/http/server-options.ts';
import type { Readiness } from '../../control/resources/health/operations.ts';
import { httpStatusOf } from '../../control/http/status-codes.ts';
import { PodgateError } from '../../core/errors.ts';
import { controlHostsOf, type Served } from './control-servers.ts';

/** The control port of a replica without the role control: probes only, no API. */
export function probesAlone(
  config: Pick<Config, 'api' | 'tenants'>,
  readiness: () => Promise<Readiness>,
  version: string,
): Served {
  const hosts = controlHostsOf(config);
  const answer: RequestListener = (request, response) => {
    const path = request.url?.split('?')[0]?.replace(/^\/v3(?=\/)/, '');
    const send = (status: number, envelope: object): void => {
      response.writeHead(status, { 'content-type': 'application/json; charset=utf-8' }).end(JSON.stringify(envelope));
    };
    const reply = (status: number, message: string, result: unknown): void =>
      send(status, replyEnvelope({ message, result, outcome: status === 200 ? 'success' : 'error' }, version));
    try {
      requireKnownHost(request, hosts);
    } catch (error) {
      if (!(error instanceof PodgateError)) throw error;
      send(httpStatusOf(error.code), errorEnvelope(error, version));
      return;
    }
    switch (path) {
      case '/healthz':
        reply(200, 'Alive.', null);
        break;
      case '/readyz':
        readiness().then(
          ({ ok, detail }) => reply(ok ? 200 : 503, ok ? 'Ready.' : 'Not ready.', detail),
          () => reply(503, 'Not ready.', { readiness: 'could not be determined' }),
        );
        break;
      default:
        reply(404, 'This replica does not have the role control: it serves only /healthz, /readyz and /metrics.', null);
    }
  };
  return { listenerFor: () => answer, serverOptions: serverOptionsFor([DEFAULT_OPERATION_LIMITS]) };
}
