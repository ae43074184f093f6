import type { EgressOutcome } from '../../../core/egress.ts';
import { headText, statusLine } from '../http/wire/write-head.ts';

/** RFC 9110 9.3.6: any 2xx; no field that would speak of a body. */
export const CONNECTED = Buffer.from(headText(statusLine(200, 'Connection established'), []), 'latin1');

interface Answer {
  readonly status: number;
  /** The reason as programs read it (RFC 9209 2.3). */
  readonly error: string;
  readonly text: string;
}

const ANSWERS: Readonly<Record<Exclude<EgressOutcome, 'connected'>, Answer>> = {
  malformed: {
    status: 400,
    error: 'http_request_error',
    text: 'This is not a CONNECT request for host:port. Set your HTTP client to use the proxy in HTTPS_PROXY.',
  },
  method: {
    status: 405,
    error: 'http_request_denied',
    text: 'Only CONNECT is supported here. Use https://, or make your client open a tunnel for http:// too (curl --proxytunnel).',
  },
  port: {
    status: 403,
    error: 'http_request_denied',
    text: 'Pods are not allowed to connect to this port. The operator can add it to process.egress.ports.',
  },
  address: {
    status: 403,
    error: 'destination_ip_prohibited',
    text: 'Pods are not allowed to connect to this address. To reach another pod, connect to its host name on 127.0.0.1, without the proxy. The operator can change process.egress.allow and deny.',
  },
  unresolved: {
    status: 502,
    error: 'dns_error',
    text: 'The host name could not be resolved. Check it, and try again later.',
  },
  unreachable: {
    status: 502,
    error: 'destination_unavailable',
    text: 'The host does not accept the connection. Try again later.',
  },
  full: {
    status: 503,
    error: 'connection_limit_reached',
    text: 'This pod, or all pods of its owner together, have too many open connections. Close some, then try again.',
  },
  'no-descriptors': {
    status: 503,
    error: 'proxy_internal_error',
    text: 'The gateway has no free file descriptor. Try again in a few seconds. The operator can raise the limit of open files (ulimit -n).',
  },
};

/** A whole response that ends its connection. */
export function refusalAnswer(outcome: Exclude<EgressOutcome, 'connected'>): Buffer {
  const { status, error, text } = ANSWERS[outcome];
  const body = Buffer.from(`${text}\n`);
  const fields = [
    ...['Content-Type', 'text/plain; charset=utf-8', 'Content-Length', String(body.length)],
    ...['Proxy-Status', `podgate; error=${error}`, 'Connection', 'close'],
    ...(status === 405 ? ['Allow', 'CONNECT'] : []),
    ...(status === 503 ? ['Retry-After', '5'] : []),
  ];
  return Buffer.concat([Buffer.from(headText(statusLine(status), fields), 'latin1'), body]);
}
