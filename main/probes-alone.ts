import type { RequestListener } from 'node:http';
import { replyEnvelope } from '../control/http/envelope.ts';
import type { Readiness } from '../control/http/misc-operations.ts';

/** The control port of a replica without the role control: probes, and nothing of the API. */
export function probesAlone(readiness: () => Promise<Readiness>, version: string): RequestListener {
  return (request, response) => {
    const path = request.url?.split('?')[0]?.replace(/^\/v3(?=\/)/, '');
    const reply = (status: number, message: string, result: unknown): void => {
      const envelope = replyEnvelope({ message, result, outcome: status === 200 ? 'success' : 'error' }, version);
      response.writeHead(status, { 'content-type': 'application/json; charset=utf-8' }).end(JSON.stringify(envelope));
    };
    switch (path) {
      case '/healthz':
        reply(200, 'Alive.', null);
        break;
      case '/readyz':
        readiness().then(
          ({ ok, detail }) => reply(ok ? 200 : 503, ok ? 'Ready.' : 'Not ready.', detail),
          () => reply(503, 'Not ready.', { readiness: 'could not be told' }),
        );
        break;
      default:
        reply(404, 'This replica does not have the role control: it has /healthz, /readyz and /metrics.', null);
    }
  };
}
