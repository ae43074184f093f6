import { classifyFirstBytes } from '../../proxy/sniff/first-bytes.ts';
import { CLIENT_HELLO_MAX_BYTES, parseClientHello } from '../../proxy/sniff/client-hello.ts';
import type { Parsed } from '../../proxy/bytes/parsed.ts';
import { parseProxyHeader } from '../../proxy/proxy-protocol/parse-proxy-header.ts';
import { MessageReader } from '../../proxy/protocols/bolt/message-reader.ts';
import { chunked, packMessage, unpackFields } from '../../proxy/protocols/bolt/packstream.ts';
import { BackendKeyParser } from '../../proxy/protocols/postgres/cancel/backend-key.ts';
import { cancelRequest, parseCancelRequest } from '../../proxy/protocols/postgres/cancel/cancel-request.ts';
import { takeEndpointOption } from '../../proxy/protocols/postgres/endpoint-option.ts';
import { type NamedStartup, parseNamedStartup } from '../../proxy/protocols/postgres/named-startup.ts';
import { parseStartupParameters } from '../../proxy/protocols/postgres/startup-parameters.ts';
import { STARTUP_MAX_BYTES } from '../../proxy/sniff/postgres-codes.ts';
import { parseFirstPacket } from '../../proxy/protocols/postgres/startup-message.ts';
import { realClientHellos } from '../support/client-hellos.ts';
import { VALID } from '../unit/proxy/proxy-protocol/vectors.ts';
import type { FuzzedParser, Verdict } from './laws.ts';

const latin1 = (text: string): Buffer => Buffer.from(text, 'latin1');
const hex = (text: string): Buffer => Buffer.from(text.replaceAll(' ', ''), 'hex');

/** A parser that is asked again with all that has come. */
function stateless(parse: (bytes: Buffer) => Parsed<unknown, unknown>): FuzzedParser['begin'] {
  return () => ({ read: (bytes) => verdictOf(parse(bytes)) });
}

function verdictOf(parsed: Parsed<unknown, unknown>): Verdict {
  return parsed.kind === 'reject' ? { kind: 'reject' } : parsed;
}

function postgresPacket(code: number, body: string): Buffer {
  const bytes = Buffer.concat([Buffer.alloc(8), latin1(body)]);
  bytes.writeUInt32BE(bytes.length, 0);
  bytes.writeUInt32BE(code, 4);
  return bytes;
}

const SSL_REQUEST = hex('00000008 04d2162f');
const CANCEL = cancelRequest(Buffer.alloc(8, 7));
const STARTUP = postgresPacket(0x30000, 'user\0alice\0database\0postgres\0options\0-c geqo=off\0\0');
const STARTUP_3_2 = postgresPacket(0x30002, 'user\0alice\0_pq_.x\0y\0\0');
const POD = 'mypg.pods.localhost';
const NAMED_BY_OPTIONS = postgresPacket(0x30000, `user\0alice\0options\0-c geqo=off -c endpoint=${POD} --x=y\0\0`);
const NAMED_BY_USER = postgresPacket(0x30002, `user\0${POD}.al.ice\0database\0${POD}.al.ice\0\0`);
const NAMING_TOKENS = [
  'endpoint=',
  '-c ',
  '-c',
  '--',
  ' ',
  '\\',
  '\\ ',
  '.',
  POD,
  'user\0',
  'options\0',
  '\0',
  '\0\0',
].map(latin1);
const POSTGRES_TOKENS = [SSL_REQUEST, CANCEL, latin1('user\0'), latin1('\0\0'), hex('00030000'), hex('04d2162e')];

/** Before the first ReadyForQuery: AuthenticationOk, a ParameterStatus, the key. */
const GREETING = hex('52 00000008 00000000  53 0000000a 6100620063 00  4b 0000000c 00000001 00000002  5a 00000005 49');
const LONG_KEY = Buffer.concat([hex('52 00000008 00000000 4b 00000108'), Buffer.alloc(260, 9)]);

const BOLT_HELLO = chunked(
  packMessage(0x01, { user_agent: 'x/1', routing: { address: 'a.b:7687' }, list: [1, -9, 70_000] }),
);
const BOLT_ROUTE = hex('00 0e b3 66 a0 90 a1 82 6462 85 6e656f346a 0000');
const FIRST = [
  latin1('GET / HTTP/1.1\r\n'),
  latin1('PRI * HTTP/2.0\r\n'),
  hex('6060b017'),
  SSL_REQUEST,
  CANCEL,
  STARTUP,
];

/** The parsers of a connection's first bytes and of what is looked at within sessions. */
export async function streamParsers(): Promise<readonly FuzzedParser[]> {
  const hellos = await realClientHellos();
  return [
    {
      name: 'first bytes',
      seeds: [...FIRST, hex('160301')],
      tokens: FIRST,
      waitsForMost: 21,
      begin: () => ({
        read: (bytes) => {
          const first = classifyFirstBytes(bytes);
          if (first === 'need-more') return { kind: 'need-more', atLeast: bytes.length + 1 };
          return first === 'unknown' ? { kind: 'reject' } : { kind: 'match', value: first };
        },
      }),
    },
    {
      name: 'ClientHello',
      seeds: hellos,
      tokens: [hex('0000'), hex('0010'), hex('160301'), hex('fe0d'), latin1('a.pods.localhost'), hex('002b')],
      waitsForMost: CLIENT_HELLO_MAX_BYTES,
      begin: stateless(parseClientHello),
    },
    {
      name: 'PROXY header',
      seeds: VALID.map(({ bytes }) => bytes),
      tokens: [
        latin1('PROXY TCP4 '),
        latin1(' 1'),
        latin1('\r\n'),
        hex('0d0a0d0a000d0a515549540a'),
        hex('03000400000000'),
      ],
      waitsForMost: 16 + 65_535,
      begin: stateless(parseProxyHeader),
    },
    {
      name: 'Postgres first packet',
      seeds: [STARTUP, STARTUP_3_2, CANCEL],
      tokens: POSTGRES_TOKENS,
      waitsForMost: STARTUP_MAX_BYTES,
      begin: stateless(parseFirstPacket),
    },
    {
      name: 'Postgres named startup',
      seeds: [NAMED_BY_OPTIONS, NAMED_BY_USER],
      tokens: NAMING_TOKENS,
      waitsForMost: STARTUP_MAX_BYTES,
      begin: stateless((bytes) => parseNamedStartup(bytes, (host) => host === POD)),
      ownLaw: (_bytes, verdict) => {
        if (verdict.kind !== 'match') return null;
        const { packet } = verdict.value as NamedStartup;
        const again = parseStartupParameters(packet);
        if (again.kind !== 'match' || again.value.length !== packet.length)
          return 'the pod would get no StartupMessage';
        const options = again.value.parameters.find(({ name }) => name === 'options');
        return takeEndpointOption(options?.value ?? '').endpoints.length === 0 ? null : 'the pod would be told a name';
      },
    },
    {
      name: 'Postgres CancelRequest',
      seeds: [CANCEL, cancelRequest(Buffer.alloc(260, 3))],
      tokens: POSTGRES_TOKENS,
      waitsForMost: 268,
      begin: stateless(parseCancelRequest),
    },
    {
      name: 'Postgres BackendKeyData',
      seeds: [GREETING, LONG_KEY],
      tokens: [hex('4b0000000c'), hex('5300000004'), hex('5a0000000549'), hex('45 0000000a 53 46 00 00 00 00')],
      waitsForMost: 131_072 + 65_536,
      begin: () => {
        const parser = new BackendKeyParser();
        return { read: (bytes, before) => verdictOf(parser.push(bytes.subarray(before))) };
      },
    },
    {
      name: 'Bolt messages',
      seeds: [BOLT_HELLO, BOLT_ROUTE],
      tokens: [hex('0000'), hex('ffff'), hex('d4ff'), hex('daffffffff'), hex('91919191'), hex('cb'), hex('b101a0')],
      waitsForMost: Infinity,
      begin: () => {
        const reader = new MessageReader({ maxBytes: 1_024, keptBytes: 256 });
        return {
          read: (bytes, before) => {
            const [event] = reader.push(bytes.subarray(before));
            if (event === undefined) return { kind: 'need-more', atLeast: bytes.length + 1 };
            if (event.kind === 'too-large') return { kind: 'reject' };
            return { kind: 'match', value: [event.beginning, unpackFields(event.beginning)] };
          },
        };
      },
    },
  ];
}
