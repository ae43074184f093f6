import type { TLSSocket } from 'node:tls';
import type { RefusalCode } from '../../../core/errors.ts';
import { isWaking } from '../../../core/route.ts';
import { match, needMore, type Parsed } from '../../bytes/parsed.ts';
import { peekBytes } from '../../bytes/peek-bytes.ts';
import type { ClosedReason } from '../../connection/ends.ts';
import type { Connection } from '../../connection/connection.ts';
import { openSession, type SessionOptions } from '../../session/open-session.ts';
import type { SessionUse, UseObserver } from '../../use/session-use.ts';
import { StreamUse } from '../../use/stream-use.ts';
import { isBoltMagic } from '../../sniff/bolt-magic.ts';

/** Magic and four proposals of a version. */
const BOLT_HANDSHAKE_BYTES = 20;
/** Drivers document that they give up on a connection after 30 s. They try again after a refusal. */
const BOLT_WAITS = { mostMs: 25_000, leavesByEnd: true } as const;

const observe = (use: SessionUse): UseObserver => new StreamUse(use);

export interface TcpRefuser {
  refuse(connection: Connection, client: TLSSocket, code: RefusalCode): void;
  close(connection: Connection, reason: ClosedReason): void;
}

/**
 * Dials the pod at once, since in some protocols the server speaks first. One that sleeps is woken by the first bytes of its
 * client, since those that check ports send none; or by its connection, where the stanza says that the server speaks first.
 */
export function acceptTcp(
  connection: Connection,
  client: TLSSocket,
  host: string,
  options: SessionOptions,
  refuser: TcpRefuser,
): void {
  const refuse = (code: RefusalCode): void => refuser.refuse(connection, client, code);
  const route = options.table.get(host);
  if (route === undefined || !isWaking(route) || route.speaksFirst === 'server') {
    openSession(connection, client, host, options, refuse, { observe });
    return;
  }
  peekBytes(client, parseFirstBytes, (outcome) => {
    if (outcome.kind !== 'match') refuser.close(connection, 'ended-early');
    else if (outcome.value === 'bolt')
      openSession(connection, client, host, options, refuse, { observe, waits: BOLT_WAITS });
    else openSession(connection, client, host, options, refuse, { observe });
  });
}

/** A Bolt client has said its first when its handshake is whole. */
function parseFirstBytes(bytes: Buffer): Parsed<'bolt' | 'other'> {
  const magic = isBoltMagic(bytes);
  if (magic === 'reject') return match('other');
  if (magic === 'need-more') return needMore(bytes.length + 1);
  return bytes.length < BOLT_HANDSHAKE_BYTES ? needMore(BOLT_HANDSHAKE_BYTES) : match('bolt');
}
