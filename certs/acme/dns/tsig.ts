import { createHmac, timingSafeEqual } from 'node:crypto';
import type { TsigKey } from './dns-settings.ts';
import { readName, uint16, uint32, wireName } from './wire.ts';

const TYPE_TSIG = 250;
const CLASS_ANY = 255;
/** How far the clocks may be apart. */
const FUDGE_SECONDS = 300;
const HEADER_BYTES = 12;

export interface Signed {
  readonly message: Buffer;
  /** The server signs it together with its answer. */
  readonly mac: Buffer;
}

/** Appends a TSIG record to a message without one (RFC 8945 4.2 and 5.1). `seconds` since 1970. */
export function sign(message: Buffer, key: TsigKey, seconds: number): Signed {
  const noError = Buffer.concat([uint16(0), uint16(0)]);
  const timers = timersOf(seconds, FUDGE_SECONDS);
  const mac = createHmac(hashOf(key), key.secret)
    .update(Buffer.concat([message, variables(key, timers, noError)]))
    .digest();
  const id = message.subarray(0, 2);
  const data = Buffer.concat([wireName(key.algorithm), timers, uint16(mac.length), mac, id, noError]);
  const record = Buffer.concat([wireName(key.name), uint16(TYPE_TSIG), anyAtOnce, uint16(data.length), data]);
  return { message: Buffer.concat([withAdditional(message, message.readUInt16BE(10) + 1), record]), mac };
}

/**
 * Why an answer is not one that the holder of the key has given to this request, or null (RFC 8945 5.3): the last record
 * must be a TSIG of the key, over the request's MAC and the whole answer, made at this time. Any bytes may be asked about.
 */
export function problemOfSignature(answer: Buffer, requestMac: Buffer, key: TsigKey, seconds: number): string | null {
  const found = findTsig(answer);
  if (found === null) return 'its response is not signed';
  const { start, name, algorithm, time, fudge, mac, originalId, errorAndOther } = found;
  if (name !== key.name.toLowerCase().replace(/\.$/, '') || algorithm !== key.algorithm)
    return 'its response is signed with another key';
  const unsigned = withAdditional(answer.subarray(0, start), answer.readUInt16BE(10) - 1);
  originalId.copy(unsigned, 0);
  const expected = createHmac(hashOf(key), key.secret)
    .update(uint16(requestMac.length))
    .update(requestMac)
    .update(unsigned)
    .update(variables(key, timersOf(time, fudge), errorAndOther))
    .digest();
  // One cut short would be allowed by RFC 8945 5.2.2.1; nobody sends it unless it is asked for.
  if (mac.length !== expected.length || !timingSafeEqual(mac, expected))
    return 'the signature of its response is invalid';
  return Math.abs(seconds - time) > Math.min(fudge, FUDGE_SECONDS)
    ? 'its response was signed at a different time'
    : null;
}

interface FoundTsig {
  /** Where its record begins. */
  readonly start: number;
  readonly name: string;
  readonly algorithm: string;
  readonly time: number;
  readonly fudge: number;
  readonly mac: Buffer;
  readonly originalId: Buffer;
  /** Error, length and data of "other", as they are signed. */
  readonly errorAndOther: Buffer;
}

/** The TSIG record at the very end of a message; null where there is none, or anything is not as it should be. */
function findTsig(message: Buffer): FoundTsig | null {
  if (message.length < HEADER_BYTES || message.readUInt16BE(10) === 0) return null;
  let at = HEADER_BYTES;
  for (let left = message.readUInt16BE(4); left > 0; left--) {
    const question = readName(message, at);
    if (question === null) return null;
    at = question.end + 4;
  }
  const records = message.readUInt16BE(6) + message.readUInt16BE(8) + message.readUInt16BE(10);
  for (let left = records; left > 0; left--) {
    const start = at;
    const owner = readName(message, at);
    if (owner === null || owner.end + 10 > message.length) return null;
    const dataStart = owner.end + 10;
    at = dataStart + message.readUInt16BE(owner.end + 8);
    if (at > message.length) return null;
    if (left > 1) continue;
    const isTsig =
      message.readUInt16BE(owner.end) === TYPE_TSIG &&
      message.subarray(owner.end + 2, owner.end + 8).equals(anyAtOnce) &&
      at === message.length;
    return isTsig ? parseData(message.subarray(dataStart, at), start, owner.name) : null;
  }
  return null;
}

function parseData(data: Buffer, start: number, name: string): FoundTsig | null {
  const algorithm = readName(data, 0);
  if (algorithm === null || algorithm.end + 10 > data.length) return null;
  const macStart = algorithm.end + 10;
  const macEnd = macStart + data.readUInt16BE(algorithm.end + 8);
  if (macEnd + 6 > data.length || macEnd + 6 + data.readUInt16BE(macEnd + 4) !== data.length) return null;
  return {
    start,
    name,
    algorithm: algorithm.name,
    time: data.readUIntBE(algorithm.end, 6),
    fudge: data.readUInt16BE(algorithm.end + 6),
    mac: data.subarray(macStart, macEnd),
    originalId: data.subarray(macEnd, macEnd + 2),
    errorAndOther: data.subarray(macEnd + 2),
  };
}

/** Class ANY and a TTL of 0. */
const anyAtOnce = Buffer.concat([uint16(CLASS_ANY), uint32(0)]);

/** RFC 8945 4.3.3. */
function variables(key: TsigKey, timers: Buffer, errorAndOther: Buffer): Buffer {
  return Buffer.concat([wireName(key.name), anyAtOnce, wireName(key.algorithm), timers, errorAndOther]);
}

function timersOf(seconds: number, fudge: number): Buffer {
  const time = Buffer.alloc(6);
  time.writeUIntBE(seconds, 0, 6);
  return Buffer.concat([time, uint16(fudge)]);
}

/** A copy that says it has so many additional records. */
function withAdditional(message: Buffer, count: number): Buffer {
  const copy = Buffer.from(message);
  copy.writeUInt16BE(count, 10);
  return copy;
}

function hashOf(key: TsigKey): string {
  return key.algorithm.replace('hmac-', '');
}
