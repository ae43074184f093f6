import { isBoltMagic } from './bolt-magic.ts';
import {
  CODE_CANCEL_REQUEST,
  CODE_GSSENC_REQUEST,
  CODE_SSL_REQUEST,
  PACKET_HEADER_BYTES,
  PROTOCOL_MAJOR,
  STARTUP_MAX_BYTES,
} from './postgres-codes.ts';

/** What a client that has said nothing yet starts with. */
export type FirstBytes =
  | 'tls'
  | 'ssl-request'
  | 'gssenc-request'
  | 'cancel-request'
  | 'startup-message'
  | 'http'
  | 'bolt'
  | 'unknown'
  | 'need-more';

const TLS_HANDSHAKE_RECORD = 0x16;
/** change_cipher_spec, alert, application_data, heartbeat: no session starts with these, and OpenSSL answers with an alert. */
const TLS_OTHER_RECORDS: ReadonlySet<number> = new Set([0x14, 0x15, 0x17, 0x18]);
const TLS_MAJOR = 3;
/** A record of SSLv2 without padding: 15 bits of length, then the type. OpenSSL reads its ClientHello, too. */
const SSLV2_FIRST = 0x80;
const SSLV2_CLIENT_HELLO = 1;
const BOLT_FIRST = 0x60;
/** The longest registered HTTP method has 17 characters (UPDATEREDIRECTREF). */
const HTTP_METHOD_MAX = 20;

/** Which protocol these first bytes begin. Pure; at most 21 bytes are looked at. */
export function classifyFirstBytes(bytes: Buffer): FirstBytes {
  const first = bytes[0];
  if (first === undefined) return 'need-more';
  if (first === TLS_HANDSHAKE_RECORD) return 'tls';
  if (TLS_OTHER_RECORDS.has(first)) {
    if (bytes[1] === undefined) return 'need-more';
    return bytes[1] === TLS_MAJOR ? 'tls' : 'unknown';
  }
  if (first >= SSLV2_FIRST) {
    const type = bytes[2];
    if (type === undefined) return 'need-more';
    return type === SSLV2_CLIENT_HELLO ? 'tls' : 'unknown';
  }
  if (first === 0) return classifyPostgres(bytes);
  if (first === BOLT_FIRST) {
    const bolt = isBoltMagic(bytes);
    return bolt === 'match' ? 'bolt' : bolt === 'need-more' ? 'need-more' : 'unknown';
  }
  return isUpperCase(first) ? classifyHttp(bytes) : 'unknown';
}

/** The first packet of a Postgres client: Int32 length, Int32 code (Postgres 18 documentation, 54.7). */
function classifyPostgres(bytes: Buffer): FirstBytes {
  // Every first packet is shorter than 64 KiB, so that its first two bytes are zero.
  if (bytes[1] !== undefined && bytes[1] !== 0) return 'unknown';
  if (bytes.length < PACKET_HEADER_BYTES) return 'need-more';
  const length = bytes.readUInt32BE(0);
  const code = bytes.readUInt32BE(4);
  if (code === CODE_SSL_REQUEST) return length === PACKET_HEADER_BYTES ? 'ssl-request' : 'unknown';
  if (code === CODE_GSSENC_REQUEST) return length === PACKET_HEADER_BYTES ? 'gssenc-request' : 'unknown';
  if (code === CODE_CANCEL_REQUEST) return length > PACKET_HEADER_BYTES ? 'cancel-request' : 'unknown';
  const isStartup = code >>> 16 === PROTOCOL_MAJOR && length > PACKET_HEADER_BYTES && length <= STARTUP_MAX_BYTES;
  return isStartup ? 'startup-message' : 'unknown';
}

/** A method and a space; `PRI * HTTP/2.0` begins like that, too. */
function classifyHttp(bytes: Buffer): FirstBytes {
  for (let index = 1; index <= HTTP_METHOD_MAX; index++) {
    const byte = bytes[index];
    if (byte === undefined) return 'need-more';
    if (byte === 0x20) return index >= 3 ? 'http' : 'unknown';
    if (!isUpperCase(byte) && byte !== 0x2d) return 'unknown';
  }
  return 'unknown';
}

function isUpperCase(byte: number): boolean {
  return byte >= 0x41 && byte <= 0x5a;
}
