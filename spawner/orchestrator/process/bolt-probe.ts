import type { Credentials } from '../../../core/pod.ts';
import type { ProbedPlace } from './probes.ts';

/**
 * From connecting to the result of a query. The first query of a Neo4j loads its planner: seconds, on a busy machine many,
 * in which every client would wait as well.
 */
const LOGIN_DEADLINE_MS = 30_000;
/** A server that sends more is not Neo4j. */
const RECEIVED_MAX_BYTES = 65_536;

/** Bolt's magic and four proposals: 5.4 to 5.1, 4.4, and none (Bolt protocol, "Handshake"). */
const HANDSHAKE = Buffer.from('6060b017' + '00030405' + '00000404' + '00000000' + '00000000', 'hex');
const [HELLO, LOGON, RUN, PULL] = [0x01, 0x6a, 0x10, 0x3f];
const [SUCCESS, RECORD, FAILURE] = [0x70, 0x71, 0x7f];

/**
 * 'result': it has logged its user in and run a query on the default database. 'refused': it is up, and does not want us;
 * its user may have changed the password. 'unavailable': not yet, or no more.
 */
export type BoltLogin = 'result' | 'refused' | 'unavailable';

/** Logs in and runs a query. Never throws; 'unavailable' once `signal` aborts. */
export function probeBoltLogin(
  { connect, place }: ProbedPlace,
  credentials: Credentials,
  signal: AbortSignal,
): Promise<BoltLogin> {
  return new Promise((resolve) => {
    const socket = connect(place).setNoDelay(true);
    const finish = (login: BoltLogin): void => {
      clearTimeout(deadline);
      signal.removeEventListener('abort', onAbort);
      resolve(login);
      // Not a reset: some servers write that into the pod's log.
      socket.end();
      socket.destroySoon();
    };
    const onAbort = (): void => {
      socket.destroy();
    };
    const deadline = setTimeout(onAbort, LOGIN_DEADLINE_MS);
    signal.addEventListener('abort', onAbort, { once: true });
    if (signal.aborted) onAbort();
    let received: Buffer = Buffer.alloc(0);
    let isAgreed = false;
    socket.on('error', () => finish('unavailable'));
    socket.on('close', () => finish('unavailable'));
    socket.once('connect', () => socket.write(HANDSHAKE));
    socket.on('data', (bytes: Buffer) => {
      received = Buffer.concat([received, bytes]);
      if (!isAgreed) {
        if (received.length < 4) return;
        const [major, minor] = [received.readUInt8(3), received.readUInt8(2)];
        if (major === 0) {
          finish('refused');
          return;
        }
        isAgreed = true;
        received = received.subarray(4);
        socket.write(loginAndQuery(credentials, major > 4 || (major === 4 && minor > 4)));
      }
      const verdict = judgeBoltAnswers(received);
      if (verdict !== null) finish(verdict);
      else if (received.length > RECEIVED_MAX_BYTES) finish('unavailable');
    });
  });
}

/** Null: more bytes are needed. The first RECORD is the result; a failure before it decides by its code. */
export function judgeBoltAnswers(received: Buffer): BoltLogin | null {
  let rest = received;
  let message = Buffer.alloc(0);
  while (rest.length >= 2) {
    const length = rest.readUInt16BE(0);
    if (rest.length < 2 + length) return null;
    message = Buffer.concat([message, rest.subarray(2, 2 + length)]);
    rest = rest.subarray(2 + length);
    // An empty chunk ends a message; one between two messages keeps the connection alive.
    if (length > 0 || message.length === 0) continue;
    const tag = message[1];
    if (tag === RECORD) return 'result';
    if (tag === FAILURE) return isRefusal(message) ? 'refused' : 'unavailable';
    if (tag !== SUCCESS) return 'unavailable';
    message = Buffer.alloc(0);
  }
  return null;
}

/** Of this user, this password or this protocol: waiting would not help. */
function isRefusal(failure: Buffer): boolean {
  return failure.includes('Neo.ClientError.') && !failure.includes('Neo.ClientError.Database.');
}

/** All at once: a server answers in order, and ignores what follows a failure. */
function loginAndQuery({ username, password }: Credentials, hasLogon: boolean): Buffer {
  // From Bolt 5.3 on the second is required.
  const agent = { user_agent: 'podgate/0', bolt_agent: { product: 'podgate/0' } };
  const auth = { scheme: 'basic', principal: username, credentials: password };
  const login = hasLogon
    ? [message(HELLO, map(agent)), message(LOGON, map(auth))]
    : [message(HELLO, map({ ...agent, ...auth }))];
  const query = message(RUN, text('RETURN 1'), map({}), map({}));
  const pull = message(PULL, Buffer.concat([Buffer.from([0xa1]), text('n'), Buffer.from([0x01])]));
  return Buffer.concat([...login, query, pull]);
}

/** A structure in one chunk, and the end mark. Ours are shorter than the 64 KiB of a chunk. */
function message(tag: number, ...fields: readonly Buffer[]): Buffer {
  const body = Buffer.concat([Buffer.from([0xb0 | fields.length, tag]), ...fields]);
  return Buffer.concat([Buffer.from([body.length >> 8, body.length & 0xff]), body, Buffer.from([0, 0])]);
}

type Entries = Readonly<Record<string, string | Readonly<Record<string, string>>>>;

function map(entries: Entries): Buffer {
  const pairs = Object.entries(entries);
  return Buffer.concat([
    Buffer.from([0xa0 | pairs.length]),
    ...pairs.flatMap(([key, value]) => [text(key), typeof value === 'string' ? text(value) : map(value)]),
  ]);
}

/** PackStream's String with a 16-bit length, which is allowed for shorter ones, too. */
function text(value: string): Buffer {
  const bytes = Buffer.from(value, 'utf8');
  return Buffer.concat([Buffer.from([0xd1, bytes.length >> 8, bytes.length & 0xff]), bytes]);
}
