import { match, needMore, reject, type Parsed } from '../bytes/parsed.ts';

/** What routing needs of a ClientHello. */
export interface ClientHello {
  /**
   * SNI in lower case without a trailing dot; null when the client sent none, or sent something that no route can have: an
   * address, `host:port`, a name that is not ASCII.
   */
  readonly serverName: string | null;
  /** ALPN protocols in the client's order; empty when it offered none. */
  readonly alpn: readonly string[];
}

/** 'malformed': OpenSSL knows the alert for it. 'too-large': beyond our own bounds. */
export type HelloFault = 'malformed' | 'too-large';

/** Stands for a hello that the TLS engine can refuse better than we can. */
export const UNREADABLE_HELLO: ClientHello = { serverName: null, alpn: [] };

/** A ClientHello may be this large, record headers included: post-quantum key shares and many tickets fit. */
export const CLIENT_HELLO_MAX_BYTES = 65_536;
/** A hello cut into more records than this is no client but an attempt to keep us busy. */
const RECORDS_MAX = 1_024;

const RECORD_HEADER_BYTES = 5;
const CONTENT_TYPE_HANDSHAKE = 22;
const HANDSHAKE_HEADER_BYTES = 4;
const HANDSHAKE_CLIENT_HELLO = 1;
const EXTENSION_SERVER_NAME = 0;
const EXTENSION_ALPN = 16;
const NAME_TYPE_HOST_NAME = 0;
const HOST_NAME = /^[a-z0-9_](?:[a-z0-9_.-]*[a-z0-9_])?$/;
const HOST_NAME_MAX_LENGTH = 253;

/**
 * Reads the ClientHello at the start of a TLS stream (RFC 8446 4.1.2 and 5.1, RFC 6066 3, RFC 7301 3.1), which may be
 * cut into several records. It decides nothing that OpenSSL does not check again: a hello that is wrong in other ways
 * matches here and fails in the handshake, with a proper alert.
 */
export function parseClientHello(bytes: Buffer): Parsed<ClientHello, HelloFault> {
  const handshake = gatherHandshake(bytes);
  return handshake.kind === 'match' ? parseBody(handshake.value) : handshake;
}

/** The body of the first handshake message, put together from its records. */
function gatherHandshake(bytes: Buffer): Parsed<Buffer, HelloFault> {
  let fragments: Buffer[] | null = null;
  let gathered = 0;
  let offset = 0;
  for (let record = 0; record < RECORDS_MAX; record++) {
    if (bytes.length < offset + RECORD_HEADER_BYTES) return needMoreOrTooLarge(offset + RECORD_HEADER_BYTES);
    if (bytes.readUInt8(offset) !== CONTENT_TYPE_HANDSHAKE) return reject('malformed');
    if (bytes.readUInt8(offset + 1) !== 3) return reject('malformed');
    const length = bytes.readUInt16BE(offset + 3);
    if (length === 0 || length > 16_384) return reject('malformed');
    const end = offset + RECORD_HEADER_BYTES + length;
    if (bytes.length < end) return needMoreOrTooLarge(end);
    const fragment = bytes.subarray(offset + RECORD_HEADER_BYTES, end);
    gathered += length;
    if (fragments !== null) fragments.push(fragment);
    else if (isWhole(fragment)) return body(fragment);
    else fragments = [fragment];
    if (gathered >= HANDSHAKE_HEADER_BYTES && fragments.length > 1) {
      const joined = Buffer.concat(fragments, gathered);
      if (isWhole(joined)) return body(joined);
      fragments = [joined];
    }
    offset = end;
  }
  return reject('too-large');
}

function needMoreOrTooLarge(atLeast: number): Parsed<never, HelloFault> {
  return atLeast > CLIENT_HELLO_MAX_BYTES ? reject('too-large') : needMore(atLeast);
}

function isWhole(handshake: Buffer): boolean {
  return (
    handshake.length >= HANDSHAKE_HEADER_BYTES &&
    // Another message than a ClientHello is refused by `body`, however long it claims to be.
    (handshake[0] !== HANDSHAKE_CLIENT_HELLO ||
      handshake.length >= HANDSHAKE_HEADER_BYTES + handshake.readUIntBE(1, 3) ||
      handshake.readUIntBE(1, 3) > CLIENT_HELLO_MAX_BYTES)
  );
}

function body(handshake: Buffer): Parsed<Buffer, HelloFault> {
  if (handshake[0] !== HANDSHAKE_CLIENT_HELLO) return reject('malformed');
  const length = handshake.readUIntBE(1, 3);
  if (length > CLIENT_HELLO_MAX_BYTES) return reject('too-large');
  return match(handshake.subarray(HANDSHAKE_HEADER_BYTES, HANDSHAKE_HEADER_BYTES + length));
}

function parseBody(hello: Buffer): Parsed<ClientHello, HelloFault> {
  const reader = new Reader(hello);
  reader.skip(2 + 32); // legacy_version, random
  reader.skip(reader.uint8()); // legacy_session_id
  reader.skip(reader.uint16()); // cipher_suites
  reader.skip(reader.uint8()); // legacy_compression_methods
  if (reader.isCutShort()) return reject('malformed');
  if (reader.remaining === 0) return match(UNREADABLE_HELLO);
  const extensions = reader.take(reader.uint16());
  if (reader.isCutShort()) return reject('malformed');
  return parseExtensions(new Reader(extensions));
}

function parseExtensions(reader: Reader): Parsed<ClientHello, HelloFault> {
  let serverName: string | null = null;
  let alpn: readonly string[] = [];
  while (reader.remaining > 0) {
    const type = reader.uint16();
    const data = reader.take(reader.uint16());
    if (reader.isCutShort()) return reject('malformed');
    if (type === EXTENSION_SERVER_NAME) {
      const parsed = parseServerName(new Reader(data));
      if (parsed === null) return reject('malformed');
      serverName = normalizeServerName(parsed);
    } else if (type === EXTENSION_ALPN) {
      const parsed = parseAlpn(new Reader(data));
      if (parsed === null) return reject('malformed');
      alpn = parsed;
    }
  }
  return match({ serverName, alpn });
}

/** The name as it was sent; null when the extension is malformed. */
function parseServerName(reader: Reader): string | null {
  const list = new Reader(reader.take(reader.uint16()));
  const type = list.uint8();
  const name = list.take(list.uint16());
  if (reader.isCutShort() || list.isCutShort() || type !== NAME_TYPE_HOST_NAME) return null;
  return name.toString('latin1');
}

/** Lower case, without the trailing dot some clients send; null when it is no host name. */
export function normalizeServerName(name: string): string | null {
  const lower = name.toLowerCase();
  const host = lower.endsWith('.') ? lower.slice(0, -1) : lower;
  return host.length <= HOST_NAME_MAX_LENGTH && HOST_NAME.test(host) ? host : null;
}

function parseAlpn(reader: Reader): readonly string[] | null {
  const list = new Reader(reader.take(reader.uint16()));
  if (reader.isCutShort()) return null;
  const protocols: string[] = [];
  while (list.remaining > 0) {
    const name = list.take(list.uint8());
    if (list.isCutShort() || name.length === 0) return null;
    protocols.push(name.toString('latin1'));
  }
  return protocols;
}

const NOTHING = Buffer.alloc(0);

/** Reads forward; past the end it answers zeros and empty buffers, from then on. */
class Reader {
  #isCutShort = false;
  readonly #bytes: Buffer;
  #offset = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  get remaining(): number {
    return this.#bytes.length - this.#offset;
  }

  isCutShort(): boolean {
    return this.#isCutShort;
  }

  uint8(): number {
    return this.#advance(1) ? this.#bytes.readUInt8(this.#offset - 1) : 0;
  }

  uint16(): number {
    return this.#advance(2) ? this.#bytes.readUInt16BE(this.#offset - 2) : 0;
  }

  take(length: number): Buffer {
    return this.#advance(length) ? this.#bytes.subarray(this.#offset - length, this.#offset) : NOTHING;
  }

  skip(length: number): void {
    this.#advance(length);
  }

  #advance(length: number): boolean {
    if (this.#isCutShort || this.remaining < length) {
      this.#isCutShort = true;
      return false;
    }
    this.#offset += length;
    return true;
  }
}
