import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import type { RefusalCode } from '../../../core/errors.ts';
import type { ClosedReason } from '../../counters.ts';
import type { Connection } from '../../listener/connection.ts';
import type { Route } from '../../../core/route.ts';
import type { Refusal } from '../../refusal.ts';
import { openSession, type SessionOptions } from '../../session/open-session.ts';
import { classifyFirstBytes } from '../../sniff/first-bytes.ts';
import { peekBytes } from '../../sniff/peek-bytes.ts';
import { parseFirstPacket } from './startup-message.ts';

export interface PostgresRefuser {
  refuse(connection: Connection, client: TLSSocket, code: RefusalCode, words?: Partial<Refusal>): void;
  close(connection: Connection, reason: ClosedReason): void;
  /** Takes over: a CancelRequest is in the socket. */
  cancel(connection: Connection, client: TLSSocket): void;
}

export interface PostgresAcceptOptions {
  /** It asked with SSLRequest or ALPN: it cannot be a browser that came to the wrong name. */
  readonly isPostgresClient: boolean;
  /** What clients dial, for a hint. */
  readonly publicPort: number;
  /** Learns by which key a session can be cancelled. */
  readonly watchKey: (route: Route, client: Socket, backend: Socket) => void;
}

/**
 * Waits for the StartupMessage - a client that is answered earlier loses the answer - then dials the pod, which gets
 * the message untouched, or refuses with an ErrorResponse. The connection's deadline bounds the wait.
 */
export function acceptPostgres(
  connection: Connection,
  client: TLSSocket,
  { isPostgresClient, publicPort, watchKey }: PostgresAcceptOptions,
  options: SessionOptions,
  refuser: PostgresRefuser,
): void {
  const host = connection.info.serverName;
  let isHttp = false;
  peekBytes(
    client,
    (bytes) => {
      const parsed = parseFirstPacket(bytes);
      if (parsed.kind === 'reject') isHttp = isHttpStart(bytes);
      return parsed;
    },
    (outcome) => {
      if (outcome.kind === 'ended') refuser.close(connection, 'ended-early');
      else if (outcome.kind === 'reject') {
        if (isHttp && !isPostgresClient) {
          refuser.refuse(connection, client, 'route.misdirected', {
            message: 'This name is a Postgres, not a web site.',
            hint: `Connect with: psql "host=${host ?? ''} port=${publicPort} sslmode=require".`,
          });
        } else refuser.close(connection, 'malformed-startup');
      } else if (outcome.value.kind === 'cancel') refuser.cancel(connection, client);
      else if (host === null) {
        refuser.refuse(connection, client, 'route.unknown', {
          hint: 'Connect by the host name of the pod, with a client that sends it (SNI): libpq 14 or newer does.',
        });
      } else {
        const route = options.table.get(host);
        if (route !== undefined && route.protocol !== 'postgres') {
          refuser.refuse(connection, client, 'route.unknown', { message: `${host} is not a Postgres.` });
          return;
        }
        openSession(
          connection,
          client,
          host,
          options,
          (code) => refuser.refuse(connection, client, code),
          (backend) => {
            if (route !== undefined) watchKey(route, client, backend);
          },
        );
      }
    },
  );
}

/** At most the first byte has been waited for, so that a method may be incomplete: what begins like one is one. */
function isHttpStart(bytes: Buffer): boolean {
  const first = classifyFirstBytes(bytes);
  return first === 'http' || (first === 'need-more' && (bytes[0] ?? 0) >= 0x41 && (bytes[0] ?? 0) <= 0x5a);
}
