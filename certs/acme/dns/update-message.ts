import { createHmac } from 'node:crypto';
import type { TsigKey } from './dns-settings.ts';

const OPCODE_UPDATE = 5;
const TYPE = { SOA: 6, TXT: 16, TSIG: 250 } as const;
const CLASS = { IN: 1, NONE: 254, ANY: 255 } as const;
const TTL_SECONDS = 60;
/** How far the clocks may be apart. */
const FUDGE_SECONDS = 300;

export interface TextUpdate {
  readonly zone: string;
  readonly name: string;
  readonly text: string;
  readonly action: 'add' | 'remove';
}

/**
 * A dynamic update (RFC 2136) of one TXT record, signed (RFC 8945). Removing takes that one text away and leaves others
 * of the same name. Names are ASCII and have been checked; a text has at most 255 bytes.
 */
export function updateMessage(update: TextUpdate, id: number, key: TsigKey, seconds: number): Buffer {
  const isAdding = update.action === 'add';
  const zone = Buffer.concat([wireName(update.zone), uint16(TYPE.SOA), uint16(CLASS.IN)]);
  const text = Buffer.from(update.text, 'latin1');
  const data = Buffer.concat([Buffer.from([text.length]), text]);
  const record = Buffer.concat([
    ...[wireName(update.name), uint16(TYPE.TXT), uint16(isAdding ? CLASS.IN : CLASS.NONE)],
    ...[uint32(isAdding ? TTL_SECONDS : 0), uint16(data.length), data],
  ]);
  const flags = OPCODE_UPDATE << 11;
  const header = (additional: number): Buffer =>
    Buffer.concat([id, flags, 1, 0, 1, additional].map((value) => uint16(value)));
  const message = Buffer.concat([header(0), zone, record]);
  return Buffer.concat([header(1), message.subarray(12), signature(message, id, key, seconds)]);
}

/** The TSIG record over a message (RFC 8945 4.3.3 and 5.1). */
function signature(message: Buffer, id: number, key: TsigKey, seconds: number): Buffer {
  const name = wireName(key.name);
  const algorithm = wireName(key.algorithm);
  const time = Buffer.alloc(6);
  time.writeUIntBE(seconds, 0, 6);
  const anyAtOnce = Buffer.concat([uint16(CLASS.ANY), uint32(0)]);
  const timers = Buffer.concat([time, uint16(FUDGE_SECONDS)]);
  const noError = Buffer.concat([uint16(0), uint16(0)]);
  const mac = createHmac(key.algorithm.replace('hmac-', ''), key.secret)
    .update(Buffer.concat([message, name, anyAtOnce, algorithm, timers, noError]))
    .digest();
  const data = Buffer.concat([algorithm, timers, uint16(mac.length), mac, uint16(id), noError]);
  return Buffer.concat([name, uint16(TYPE.TSIG), anyAtOnce, uint16(data.length), data]);
}

/** Lower case, uncompressed: as signatures want it. */
function wireName(name: string): Buffer {
  const labels = name
    .toLowerCase()
    .split('.')
    .filter((label) => label !== '');
  return Buffer.concat([
    ...labels.map((label) => Buffer.from(`${String.fromCharCode(label.length)}${label}`, 'latin1')),
    Buffer.alloc(1),
  ]);
}

function uint16(value: number): Buffer {
  return Buffer.from([value >> 8, value & 0xff]);
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

/** The words of RFC 1035, 2136 and 8945 for what an answer says; null = it was done. Not an answer to this: a sentence, too. */
export function problemOfAnswer(answer: Buffer, id: number): string | null {
  if (answer.length < 12 || answer.readUInt16BE(0) !== id || ((answer[2] ?? 0) & 0x80) === 0)
    return 'no answer to the update';
  const code = (answer[3] ?? 0) & 0x0f;
  return code === 0 ? null : (CODES[code] ?? `code ${code}`);
}

const CODES: Readonly<Record<number, string>> = {
  1: 'FORMERR',
  2: 'SERVFAIL',
  4: 'NOTIMP: it takes no dynamic updates',
  5: 'REFUSED: its configuration does not let this key change this name',
  9: 'NOTAUTH: it is not in charge of that zone, or does not know the key, or the clocks are five minutes apart',
  10: 'NOTZONE: the name is not in this zone',
};
