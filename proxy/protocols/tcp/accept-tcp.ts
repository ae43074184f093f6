import type { TLSSocket } from 'node:tls';
import type { RefusalCode } from '../../../core/errors.ts';
import type { Connection } from '../../connection/connection.ts';
import { openSession, type SessionOptions } from '../../session/open-session.ts';

export interface TcpRefuser {
  refuse(connection: Connection, client: TLSSocket, code: RefusalCode): void;
}

/** Dials the pod at once, since in some protocols the server speaks first. */
export function acceptTcp(
  connection: Connection,
  client: TLSSocket,
  host: string,
  options: SessionOptions,
  refuser: TcpRefuser,
): void {
  openSession(connection, client, host, options, (code) => refuser.refuse(connection, client, code));
}
