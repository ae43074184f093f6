import type { IncomingMessage } from 'node:http';
import { isIP } from 'node:net';

/** Where a call came in: through the gateway's workers, over a Unix socket of ours, or at the control port. */
export type Listener = 'gateway' | 'control-port';

const UNKNOWN = 'unknown';

/**
 * The client's address. Workers remove what a client writes into X-Forwarded-For and write the field themselves
 * (proxy/protocols/http/exchange/headers.ts), the client first; their socket is open to our own user alone. On the control port the
 * field is a stranger's word, and the connection says who it is.
 */
export function clientAddress(request: IncomingMessage, listener: Listener): string {
  if (listener === 'control-port') return request.socket.remoteAddress ?? UNKNOWN;
  const forwarded = request.headers['x-forwarded-for'];
  const first = (typeof forwarded === 'string' ? forwarded : (forwarded?.[0] ?? '')).split(',', 1)[0]?.trim() ?? '';
  return isIP(first) === 0 ? UNKNOWN : first;
}
