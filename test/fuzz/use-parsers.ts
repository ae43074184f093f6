import { isDeepStrictEqual } from 'node:util';
import { WebSocketFrames } from '../../proxy/goodbye/websocket-frames.ts';
import { chunked, packEmpty, packMessage } from '../../proxy/protocols/bolt/packstream.ts';
import { RouteTable } from '../../proxy/routes/route-table.ts';
import { BoltUse } from '../../proxy/use/bolt-use.ts';
import { PodUses } from '../../proxy/use/pod-uses.ts';
import { classifyStatement } from '../../proxy/use/postgres-statement.ts';
import { PostgresUse } from '../../proxy/use/postgres-use.ts';
import { SessionUse, type UseObserver } from '../../proxy/use/session-use.ts';
import type { UsedPod } from '../../proxy/use/used-pod.ts';
import type { FuzzedParser, Verdict } from './laws.ts';

const CLIENT = 0x63;
const SERVER = 0x73;
const PIECE_MAX = 13;

interface Said {
  readonly isClient: boolean;
  readonly bytes: Buffer;
}

/** Who says what, in order: a byte for the side, two for the length. Both sides of a session in one input. */
function conversation(...said: readonly (readonly [side: number, ...bytes: readonly Buffer[]])[]): Buffer {
  return Buffer.concat(
    said.map(([side, ...pieces]) => {
      const bytes = Buffer.concat(pieces);
      const header = Buffer.from([side, bytes.length >> 8, bytes.length & 0xff]);
      return Buffer.concat([header, bytes]);
    }),
  );
}

/** Any bytes are a conversation: the last one may be cut off. */
function readConversation(bytes: Buffer): readonly Said[] {
  const said: Said[] = [];
  for (let at = 0; at + 3 <= bytes.length;) {
    const end = at + 3 + bytes.readUInt16BE(at + 1);
    said.push({ isClient: bytes[at] === CLIENT, bytes: bytes.subarray(at + 3, end) });
    at = end;
  }
  return said;
}

interface State {
  readonly because: UsedPod['because'];
  readonly wasUsed: boolean;
  readonly users: readonly string[];
  /** It has given back all that it had counted. */
  readonly isCleanAtEnd: boolean;
}

const CLOCK = { now: (): number => 1_000 };

/** What is known of the pod's use at the end of this session. `sizeOf`: of the next piece. */
function observed(create: (use: SessionUse) => UseObserver, bytes: Buffer, sizeOf: (left: number) => number): State {
  const pod = new PodUses(new RouteTable(), CLOCK).of('uid');
  const use = new SessionUse(pod);
  const observer = create(use);
  for (const { isClient, bytes: all } of readConversation(bytes)) {
    for (let at = 0; at < all.length;) {
      const piece = all.subarray(at, at + sizeOf(all.length - at));
      if (isClient) observer.client(piece);
      else observer.server(piece);
      at += piece.length;
    }
  }
  const { because, users } = pod;
  const wasUsed = pod.lastUsedMs !== null;
  use.end();
  return { because, wasUsed, users, isCleanAtEnd: !pod.isInUse };
}

/** The same whatever pieces the bytes come in; counts are those of one session; nothing is left when it has ended. */
function observerLaw(create: (use: SessionUse) => UseObserver): NonNullable<FuzzedParser['ownLaw']> {
  return (bytes) => {
    const whole = observed(create, bytes, (left) => left);
    const size = 1 + (bytes.reduce((sum, byte) => sum + byte, 0) % PIECE_MAX);
    const inPieces = observed(create, bytes, () => size);
    if (!isDeepStrictEqual(whole, inPieces)) {
      return `it says ${JSON.stringify(whole)}, and ${JSON.stringify(inPieces)} in pieces of ${size} bytes`;
    }
    if (!whole.isCleanAtEnd) return 'the pod is in use after the end of the session';
    const counts = Object.values(whole.because);
    return counts.every((count) => count === 1) ? null : `one session counts ${JSON.stringify(whole.because)}`;
  };
}

/** A match is a session that leaves its pod alone in the end. */
function observerParser(
  name: string,
  create: (use: SessionUse) => UseObserver,
  material: Pick<FuzzedParser, 'seeds' | 'tokens'>,
): FuzzedParser {
  const read = (bytes: Buffer): Verdict => {
    const { because, wasUsed } = observed(create, bytes, (left) => left);
    return Object.keys(because).length === 0 ? { kind: 'match', value: wasUsed } : { kind: 'reject' };
  };
  return {
    ...{ name, ...material, waitsForMost: 0, isWholeText: true },
    begin: () => ({ read }),
    ownLaw: observerLaw(create),
  };
}

const latin1 = (text: string): Buffer => Buffer.from(text, 'latin1');

function message(type: string, body: string | Buffer = ''): Buffer {
  const bytes = typeof body === 'string' ? latin1(body) : body;
  const header = Buffer.alloc(5);
  header.write(type, 'latin1');
  header.writeUInt32BE(4 + bytes.length, 1);
  return Buffer.concat([header, bytes]);
}

const STARTUP = Buffer.concat([Buffer.from('0000001400030000', 'hex'), latin1('user\0alice\0\0')]);
const LOGIN = [message('R', Buffer.alloc(4)), message('S', 'a\0b\0'), message('Z', 'I')];
const DONE = [message('C', 'SELECT 1\0'), message('Z', 'I')];
const query = (sql: string): Buffer => message('Q', `${sql}\0`);
const BEGUN = [[CLIENT, STARTUP] as const, [SERVER, ...LOGIN] as const] as const;
const POSTGRES_SESSIONS = [
  conversation(...BEGUN, [CLIENT, query('select 1')], [SERVER, ...DONE], [CLIENT, message('X')]),
  conversation(...BEGUN, [CLIENT, query('select * from t')], [SERVER, message('D', 'row'), ...DONE]),
  conversation(
    ...BEGUN,
    [CLIENT, query('begin')],
    [SERVER, message('Z', 'T')],
    [CLIENT, query('commit')],
    [SERVER, ...DONE],
  ),
  conversation(
    ...BEGUN,
    [
      CLIENT,
      message('P', 's\0select $1\0\0\0'),
      message('B', '\0s\0\0\0\0\0\0\0'),
      message('E', '\0\0\0\0\0'),
      message('S'),
    ],
    [SERVER, message('1'), message('2'), ...DONE],
  ),
  conversation(
    ...BEGUN,
    [CLIENT, query('listen news')],
    [SERVER, ...DONE],
    [CLIENT, query('unlisten *')],
    [SERVER, ...DONE],
  ),
  conversation(
    ...BEGUN,
    [CLIENT, query('copy t from stdin')],
    [SERVER, message('G', '\0\0\0')],
    [CLIENT, message('d', 'x'), message('c')],
    [SERVER, ...DONE],
  ),
];
const POSTGRES_TOKENS = [
  ...[query('begin'), query('select 1'), query('listen a'), query('select pg_advisory_lock(1)'), query('discard all')],
  ...[message('Z', 'I'), message('Z', 'T'), message('Z', 'E'), message('W'), message('H'), message('F'), message('S')],
  ...[Buffer.from([CLIENT, 0, 9]), Buffer.from([SERVER, 0, 6]), Buffer.alloc(3), latin1('create temp table x()\0')],
];

const SHAKE = Buffer.from('6060b017000001ff000808050002040400000003', 'hex');
const request = (tag: number): Buffer => chunked(packMessage(tag, { a: 1 }));
const [HELLO, RUN, BEGIN, PULL, LOGON] = [request(0x01), request(0x10), request(0x11), request(0x3f), request(0x6a)];
const [COMMIT, RESET] = [chunked(packEmpty(0x12)), chunked(packEmpty(0x0f))];
const SUCCESS = chunked(packMessage(0x70, {}));
const MORE = chunked(Buffer.from('b170a1886861735f6d6f7265c3', 'hex'));
const FAILURE = chunked(packMessage(0x7f, { code: 'x' }));
const SHAKEN = [[CLIENT, SHAKE] as const, [SERVER, Buffer.from('00000405', 'hex')] as const] as const;
const BOLT_SESSIONS = [
  conversation(...SHAKEN, [CLIENT, HELLO, LOGON], [SERVER, SUCCESS, SUCCESS], [CLIENT, RESET], [SERVER, SUCCESS]),
  conversation(
    ...SHAKEN,
    [CLIENT, HELLO, RUN, PULL],
    [SERVER, SUCCESS, SUCCESS, MORE],
    [CLIENT, PULL],
    [SERVER, SUCCESS],
  ),
  conversation(...SHAKEN, [CLIENT, HELLO, BEGIN, RUN, PULL, COMMIT], [SERVER, ...Array<Buffer>(5).fill(SUCCESS)]),
  conversation(
    ...[[CLIENT, SHAKE] as const, [SERVER, Buffer.from('000001ff02000808050002040400', 'hex')] as const],
    ...[[CLIENT, Buffer.from('0000080500', 'hex'), HELLO] as const, [SERVER, SUCCESS] as const],
  ),
];
const BOLT_TOKENS = [
  ...[RUN, PULL, BEGIN, COMMIT, RESET, SUCCESS, MORE, FAILURE, Buffer.alloc(2)],
  ...[
    Buffer.from('000001ff', 'hex'),
    Buffer.from('8080808001', 'hex'),
    Buffer.from([CLIENT, 0, 20]),
    Buffer.from([SERVER, 0, 4]),
  ],
];

const STATEMENTS = [
  ...['select 1', ' /* a */ SELECT 1;', '-- ping\nselect 1 as ok', 'begin', 'START TRANSACTION', 'commit work;', ''],
  ...['listen a; unlisten *', 'create temp table t (a int)', 'select pg_try_advisory_lock(1)'],
  ...["prepare transaction 'a'", 'discard all', 'select * into temp t from u'],
];
const STATEMENT_TOKENS = [
  ...[
    '/*',
    '*/',
    '--',
    '\n',
    ';',
    ' ',
    'listen ',
    'unlisten *',
    'discard temp',
    'create or replace ',
    'temporary ',
    ' on commit drop',
  ],
  ...[
    'pg_advisory_lock(',
    'pg_advisory_unlock_all(',
    'prepare transaction ',
    'or replace '.repeat(40),
    ' '.repeat(200),
  ],
];

const frame = (opcode: number, payload: string, isMasked = false): Buffer => {
  const mask = isMasked ? Buffer.alloc(4, 7) : Buffer.alloc(0);
  return Buffer.concat([Buffer.from([0x80 | opcode, (isMasked ? 0x80 : 0) | payload.length]), mask, latin1(payload)]);
};
const FRAMES = [
  Buffer.concat([frame(9, 'ping'), frame(10, '', true), frame(1, 'text', true), frame(8, '')]),
  Buffer.concat([frame(9, ''), frame(9, 'again'), frame(2, 'x')]),
  Buffer.concat([
    Buffer.from('827e0005', 'hex'),
    latin1('12345'),
    Buffer.from('827f0000000000000002', 'hex'),
    latin1('ab'),
  ]),
];

/** How many frames with data there are, and whether a frame is under way. */
function framesIn(bytes: Buffer, size: number): { readonly touches: number; readonly isBetween: boolean } {
  let touches = 0;
  const frames = new WebSocketFrames({ touch: () => touches++ });
  for (let at = 0; at < bytes.length; at += size) frames.follow(bytes.subarray(at, at + size));
  return { touches, isBetween: frames.isBetweenMessages };
}

/** The rules for what counts as use of a pod that may sleep. */
export function useParsers(): readonly FuzzedParser[] {
  return [
    observerParser('use of Postgres', (use) => new PostgresUse(use, 'alice'), {
      seeds: POSTGRES_SESSIONS,
      tokens: POSTGRES_TOKENS,
    }),
    observerParser('use of Bolt', (use) => new BoltUse(use), { seeds: BOLT_SESSIONS, tokens: BOLT_TOKENS }),
    {
      name: 'use by a statement',
      seeds: STATEMENTS.map(latin1),
      tokens: STATEMENT_TOKENS.map(latin1),
      waitsForMost: 0,
      isWholeText: true,
      begin: () => ({
        read: (bytes) => {
          const { kind, leaves } = classifyStatement(bytes.toString('latin1'));
          return kind === 'use' && leaves === null ? { kind: 'reject' } : { kind: 'match', value: leaves };
        },
      }),
      ownLaw: (bytes) => {
        const text = bytes.toString('latin1');
        const { kind, leaves } = classifyStatement(text);
        if (kind !== 'use' && leaves !== null) return `a ${kind} leaves something behind`;
        // What is in front of it, and how it is written, changes nothing.
        for (const same of [` \n;${text}`, `/* select 2 */${text}`, `-- select 2\n${text}`, upperCase(text)]) {
          const other = classifyStatement(same).kind;
          if (other !== kind) return `it is ${kind}, and ${other} as ${JSON.stringify(same)}`;
        }
        return null;
      },
    },
    {
      name: 'use of a WebSocket',
      seeds: FRAMES,
      tokens: [
        frame(9, ''),
        frame(2, 'x', true),
        frame(8, ''),
        Buffer.from('7e', 'hex'),
        Buffer.from('ffffffffffff', 'hex'),
      ],
      waitsForMost: 0,
      isWholeText: true,
      begin: () => ({
        read: (bytes) => {
          const { touches } = framesIn(bytes, Infinity);
          return touches > 0 ? { kind: 'match', value: touches } : { kind: 'reject' };
        },
      }),
      ownLaw: (bytes) => {
        const whole = framesIn(bytes, Infinity);
        for (const size of [1, 2, 7]) {
          const inPieces = framesIn(bytes, size);
          if (!isDeepStrictEqual(whole, inPieces)) {
            return `it says ${JSON.stringify(whole)}, and ${JSON.stringify(inPieces)} in pieces of ${size} bytes`;
          }
        }
        return null;
      },
    },
  ];
}

/** Of ASCII alone, so that no length changes. */
function upperCase(text: string): string {
  return text.replace(/[a-z]/g, (letter) => letter.toUpperCase());
}
