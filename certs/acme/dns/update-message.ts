import { uint16, uint32, wireName } from './wire.ts';

const OPCODE_UPDATE = 5;
const TYPE = { SOA: 6, TXT: 16 } as const;
const CLASS = { IN: 1, NONE: 254 } as const;
const TTL_SECONDS = 60;

export interface TextUpdate {
  readonly zone: string;
  readonly name: string;
  readonly text: string;
  readonly action: 'add' | 'remove';
}

/**
 * A dynamic update (RFC 2136) of one TXT record, not signed yet. Removing takes that one text away and leaves others
 * of the same name. Names are ASCII and have been checked; a text has at most 255 bytes.
 */
export function updateMessage(update: TextUpdate, id: number): Buffer {
  const isAdding = update.action === 'add';
  const header = Buffer.concat([id, OPCODE_UPDATE << 11, 1, 0, 1, 0].map((value) => uint16(value)));
  const zone = Buffer.concat([wireName(update.zone), uint16(TYPE.SOA), uint16(CLASS.IN)]);
  const text = Buffer.from(update.text, 'latin1');
  const data = Buffer.concat([Buffer.from([text.length]), text]);
  const record = Buffer.concat([
    ...[wireName(update.name), uint16(TYPE.TXT), uint16(isAdding ? CLASS.IN : CLASS.NONE)],
    ...[uint32(isAdding ? TTL_SECONDS : 0), uint16(data.length), data],
  ]);
  return Buffer.concat([header, zone, record]);
}

/** The words of RFC 1035, 2136 and 8945 for what an answer says; null = it was done. Not an answer to this: a sentence, too. */
export function problemOfAnswer(answer: Buffer, id: number): string | null {
  if (answer.length < 12 || answer.readUInt16BE(0) !== id || ((answer[2] ?? 0) & 0x80) === 0)
    return 'it sent no response to the update';
  const code = (answer[3] ?? 0) & 0x0f;
  return code === 0 ? null : (CODES[code] ?? `code ${code}`);
}

const CODES: Readonly<Record<number, string>> = {
  1: 'FORMERR',
  2: 'SERVFAIL',
  4: 'NOTIMP: it does not support dynamic updates',
  5: 'REFUSED: its configuration does not allow this key to change this name',
  9: 'NOTAUTH: it is not authoritative for that zone, or does not know the key, or the clocks differ by five minutes or more',
  10: 'NOTZONE: the name is not in this zone',
};
