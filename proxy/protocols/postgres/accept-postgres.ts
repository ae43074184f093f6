import { isIP, type Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import type { RefusalCode } from '../../../core/errors.ts';
import { isWaking, type Route } from '../../../core/route.ts';
import type { ClosedReason } from '../../connection/ends.ts';
import type { Connection } from '../../connection/connection.ts';
import { refusalOfSleeper } from '../../policy/locate.ts';
import type { Refusal } from '../../connection/refusal.ts';
import { openSession, type SessionOptions } from '../../session/open-session.ts';
import type { Observer } from '../../session/splice.ts';
import { classifyFirstBytes } from '../../sniff/first-bytes.ts';
import { peekBytes } from '../../bytes/peek-bytes.ts';
import { PostgresMessages } from '../../goodbye/postgres-messages.ts';
import { goodbyeResponse } from './error-response.ts';
import { parseNamedStartup } from './named-startup.ts';
import { parseFirstPacket } from './startup-message.ts';
import { parseStartupParameters } from './startup-parameters.ts';
import { describeUnnamed, needsServerName } from './unnamed.ts';
import { PostgresUse } from '../../use/postgres-use.ts';
import { userOf, wakesPod } from './wakes-pod.ts';

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
  readonly watchKey: (route: Route, client: Socket, backend: Socket) => Observer | null;
}

/**
 * Waits for the StartupMessage - a client that is answered earlier loses the answer - then dials the pod, which gets
 * the message untouched (without the name of the pod, where that had to stand in it), or refuses with an ErrorResponse.
 * The connection's deadline bounds the wait.
 */
export function acceptPostgres(
  connection: Connection,
  client: TLSSocket,
  { isPostgresClient, publicPort, watchKey }: PostgresAcceptOptions,
  options: SessionOptions,
  refuser: PostgresRefuser,
): void {
  let bytes: Buffer = NOTHING;
  peekBytes(
    client,
    (sofar) => {
      bytes = sofar;
      return parseFirstPacket(sofar);
    },
    (outcome) => {
      if (outcome.kind === 'ended') refuser.close(connection, 'ended-early');
      else if (outcome.kind === 'reject') {
        if (isPostgresClient || !isHttpStart(bytes)) refuser.close(connection, 'malformed-startup');
        else {
          const words = describeNotHttp(connection.info.serverName, publicPort);
          refuser.refuse(connection, client, 'route.misdirected', words);
        }
      } else if (outcome.value.kind === 'cancel') refuser.cancel(connection, client);
      else acceptStartup(bytes);
    },
  );

  function acceptStartup(startup: Buffer): void {
    const { serverName } = connection.info;
    // Some clients send the address they dial; a server name is never one (RFC 6066 3).
    if (serverName !== null && isIP(serverName) === 0) open(serverName, startup);
    else acceptUnnamed(startup);
  }

  function acceptUnnamed(startup: Buffer): void {
    const named = parseNamedStartup(startup, (host) => options.table.get(host)?.protocol === 'postgres');
    if (named.kind !== 'match') {
      const reason = named.kind === 'reject' ? named.reason : 'malformed';
      if (reason === 'malformed') refuser.close(connection, 'malformed-startup');
      else refuser.refuse(connection, client, 'route.unknown', describeUnnamed(reason));
      return;
    }
    const { host, packet, length } = named.value;
    // From here on as if it had been sent: limits, lists and words of refusals are those of the name.
    connection.info = { ...connection.info, serverName: host };
    const route = options.table.get(host);
    const words = route === undefined ? null : needsServerName(route);
    if (words !== null) {
      refuser.refuse(connection, client, 'route.misdirected', words);
      return;
    }
    const all: unknown = client.read();
    if (!Buffer.isBuffer(all)) return;
    client.unshift(Buffer.concat([packet, all.subarray(length)]));
    open(host, packet);
  }

  function open(host: string, startup: Buffer): void {
    const route = options.table.get(host);
    if (route !== undefined && route.protocol !== 'postgres') {
      refuser.refuse(connection, client, 'route.unknown', {
        message: `The pod at ${host} does not speak the Postgres protocol.`,
      });
      return;
    }
    if (route !== undefined && isWaking(route) && !mayWake(route, startup)) {
      const code = refusalOfSleeper(route);
      refuser.refuse(connection, client, code, code === 'route.asleep' ? describeNotWoken(route) : {});
      return;
    }
    openSession(connection, client, host, options, (code) => refuser.refuse(connection, client, code), {
      watch: (backend) => (route === undefined ? null : watchKey(route, client, backend)),
      observe: (use) => new PostgresUse(use, userIn(startup)),
      waits: { leavesByEnd: true },
      goodbyes: () => ({
        client: {
          follower: new PostgresMessages(),
          words: (reason) => goodbyeResponse(reason, connection.info.id),
        },
      }),
    });
  }
}

function mayWake({ sleep, status }: Route, startup: Buffer): boolean {
  const parsed = parseStartupParameters(startup);
  // While it still runs, or starts anyway, nobody wakes it.
  const isAsleep = status === 'ASLEEP' || status === 'SHUTTING_DOWN';
  return parsed.kind === 'match' && wakesPod(parsed.value, (isAsleep ? sleep?.users : null) ?? null);
}

function userIn(startup: Buffer): string | null {
  const parsed = parseStartupParameters(startup);
  return parsed.kind === 'match' ? userOf(parsed.value) : null;
}

function describeNotWoken({ podId }: Route): Pick<Refusal, 'message' | 'hint'> {
  return {
    message: `Pod ${podId} is asleep, and this user does not wake it.`,
    hint: 'Connect as a user who has logged in to this pod before.',
  };
}

/** What a browser reads at the name of a Postgres. */
export function describeNotHttp(serverName: string | null, publicPort: number): Pick<Refusal, 'message' | 'hint'> {
  return {
    message: 'This host name belongs to a Postgres database, not a web site.',
    hint: `Connect with: psql "host=${serverName ?? ''} port=${publicPort} sslmode=require".`,
  };
}

const NOTHING = Buffer.alloc(0);

/** At most the first byte has been waited for, so that a method may be incomplete: what begins like one is one. */
function isHttpStart(bytes: Buffer): boolean {
  const first = classifyFirstBytes(bytes);
  return first === 'http' || (first === 'need-more' && (bytes[0] ?? 0) >= 0x41 && (bytes[0] ?? 0) <= 0x5a);
}
