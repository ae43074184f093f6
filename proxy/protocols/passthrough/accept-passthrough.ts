import type { RefusalCode } from '../../../core/errors.ts';
import type { Connection } from '../../connection/connection.ts';
import { openSession, type SessionOptions } from '../../session/open-session.ts';
import { requestTls } from '../postgres/request-tls.ts';

/**
 * Takes a connection to the pod as it is: the ClientHello, still in its socket, is the first that the pod gets, and what
 * follows is nobody's but the client's and the pod's. A Postgres client has asked us for TLS before, so the pod is
 * asked in its turn. `refuse` is called before any byte of the client was passed on: the handshake can still be ours.
 * `onBegin` is called when the first is about to be.
 */
export function acceptPassthrough(
  connection: Connection,
  host: string,
  options: SessionOptions,
  refuse: (code: RefusalCode) => void,
  onBegin: () => void,
): void {
  const { raw, askedAsPostgres } = connection;
  openSession(connection, raw, host, options, refuse, {
    tlsEnd: 'pod',
    watch: () => {
      onBegin();
      return null;
    },
    ...(askedAsPostgres ? { greet: (backend, done) => requestTls(backend, raw, done) } : {}),
  });
}
