import type { Socket } from 'node:net';
import type { DialGuard, NetworkAddress } from '../../../core/pod-network.ts';
import type { Readiness } from '../../../core/template.ts';

/** One question to a workload must be answered within this time. */
const PROBE_DEADLINE_MS = 1_000;

/** Opens a connection; errors are events. */
export type Connect = (place: NetworkAddress & DialGuard) => Socket;

export interface ProbedPlace {
  readonly connect: Connect;
  readonly place: NetworkAddress & DialGuard;
}

/** StartupMessage of protocol 3.0 for a user that need not exist (PostgreSQL documentation, 54.7). */
const POSTGRES_STARTUP = startupMessage({ user: 'podgate', database: 'podgate' });
/** Bolt's magic and four proposals: 5.0-5.4, 4.2-4.4, 4.1, 3 (Bolt protocol, "Handshake"). */
const BOLT_HANDSHAKE = Buffer.from('6060b017' + '00040405' + '00020404' + '00000104' + '00000003', 'hex');

/** Does the workload answer as its template says it should when it is ready? Never throws. */
export function probe(readiness: Readiness, probed: ProbedPlace): Promise<boolean> {
  switch (readiness.kind) {
    case 'tcp':
      return ask(probed, Buffer.alloc(0), () => true);
    case 'http':
      return ask(
        probed,
        Buffer.from(`GET ${readiness.path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`),
        isHttpReady,
      );
    case 'postgres':
      return ask(probed, POSTGRES_STARTUP, isPostgresReady);
    case 'bolt':
      return ask(probed, BOLT_HANDSHAKE, isBoltReady);
  }
}

export function isListening(probed: ProbedPlace): Promise<boolean> {
  return ask(probed, Buffer.alloc(0), () => true);
}

/** null: more bytes are needed. */
type Judge = (received: Buffer) => boolean | null;

/** Any answer but a server's error: what needs a login is ready too. */
export const isHttpReady: Judge = (received) => {
  const match = /^HTTP\/1\.[01] (\d{3})/.exec(received.toString('latin1', 0, 12));
  if (match === null) return received.length < 12 ? null : false;
  return Number(match[1]) < 500;
};

/** ErrorResponse with SQLSTATE 57P03 (cannot_connect_now) means starting; any other answer comes from a ready server. */
export const isPostgresReady: Judge = (received) => {
  if (received.length < 5) return null;
  if (received[0] === 0x52 /* R */) return true;
  if (received[0] !== 0x45 /* E */) return false;
  if (received.length < 1 + received.readUInt32BE(1)) return received.length > 65_536 ? false : null;
  return !received.includes('C57P03\0', 5, 'latin1');
};

/** Four bytes: the version agreed on, or zero for none. */
export const isBoltReady: Judge = (received) => (received.length < 4 ? null : received.readUInt32BE(0) !== 0);

function ask({ connect, place }: ProbedPlace, question: Buffer, judge: Judge): Promise<boolean> {
  return new Promise((resolve) => {
    const socket: Socket = connect(place).setNoDelay(true);
    const received: Buffer[] = [];
    const finish = (answer: boolean) => {
      clearTimeout(timer);
      resolve(answer);
      // Not a reset: some servers write that into the pod's log.
      socket.end();
      socket.destroySoon();
    };
    const timer = setTimeout(() => {
      resolve(false);
      socket.destroy();
    }, PROBE_DEADLINE_MS);
    socket.on('error', () => finish(false));
    socket.on('close', () => finish(false));
    socket.once('connect', () => {
      if (question.length === 0) finish(true);
      else socket.write(question);
    });
    socket.on('data', (bytes: Buffer) => {
      received.push(bytes);
      const answer = judge(Buffer.concat(received));
      if (answer !== null) finish(answer);
    });
  });
}

function startupMessage(parameters: Readonly<Record<string, string>>): Buffer {
  const body = Buffer.from(
    Object.entries(parameters)
      .map(([name, value]) => `${name}\0${value}\0`)
      .join('') + '\0',
    'latin1',
  );
  const head = Buffer.alloc(8);
  head.writeUInt32BE(8 + body.length, 0);
  head.writeUInt32BE(196_608, 4);
  return Buffer.concat([head, body]);
}
