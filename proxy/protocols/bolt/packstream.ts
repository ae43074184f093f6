/** The part of PackStream (Bolt's encoding) that refusals need: writing responses, reading the database of a ROUTE. */
export type PackValue = string | number | null | readonly PackValue[] | { readonly [key: string]: PackValue };

/** A structure with one field, as in every server response. */
export function packMessage(tag: number, field: PackValue): Buffer {
  return Buffer.concat([Buffer.from([0xb1, tag]), pack(field)]);
}

/** A structure without a field. */
export function packEmpty(tag: number): Buffer {
  return Buffer.from([0xb0, tag]);
}

/** A message as chunks (16-bit length each) and the end marker. */
export function chunked(message: Buffer): Buffer {
  const parts: Buffer[] = [];
  for (let offset = 0; offset < message.length; offset += 0xffff) {
    const piece = message.subarray(offset, offset + 0xffff);
    parts.push(Buffer.from([piece.length >> 8, piece.length & 0xff]), piece);
  }
  parts.push(Buffer.from([0, 0]));
  return Buffer.concat(parts);
}

function pack(value: PackValue): Buffer {
  if (value === null) return Buffer.from([0xc0]);
  if (typeof value === 'number') return packInteger(value);
  if (typeof value === 'string') {
    const bytes = Buffer.from(value, 'utf8');
    return Buffer.concat([packSize(bytes.length, 0x80, 0xd0), bytes]);
  }
  if (isList(value)) return Buffer.concat([packSize(value.length, 0x90, 0xd4), ...value.map(pack)]);
  const entries = Object.entries(value);
  return Buffer.concat([
    packSize(entries.length, 0xa0, 0xd8),
    ...entries.flatMap(([key, item]) => [pack(key), pack(item)]),
  ]);
}

function isList(value: PackValue): value is readonly PackValue[] {
  return Array.isArray(value);
}

/** Tiny and 32-bit integers; larger ones are not needed. */
function packInteger(value: number): Buffer {
  if (value >= -16 && value <= 127) return Buffer.from([value & 0xff]);
  const bytes = Buffer.alloc(5);
  bytes[0] = 0xca;
  bytes.writeInt32BE(value, 1);
  return bytes;
}

/** Sizes below 16 are part of the marker; larger ones use the markers for 8, 16 and 32 bits. */
function packSize(size: number, tiny: number, wide: number): Buffer {
  if (size < 16) return Buffer.from([tiny | size]);
  if (size < 0x100) return Buffer.from([wide, size]);
  if (size < 0x10000) return Buffer.from([wide + 1, size >> 8, size & 0xff]);
  const bytes = Buffer.alloc(5);
  bytes[0] = wide + 2;
  bytes.writeUInt32BE(size, 1);
  return bytes;
}

export type Unpacked =
  string | number | bigint | boolean | null | Buffer | readonly Unpacked[] | ReadonlyMap<string, Unpacked>;

/** Deeper than the ROUTE of any driver. */
const MAX_DEPTH = 8;

/**
 * The fields at the beginning of a structure (`message` includes marker and tag byte), as far as they can be read. Stops
 * without an error where the bytes end or are malformed.
 */
export function unpackFields(message: Buffer): readonly Unpacked[] {
  const marker = message[0] ?? 0;
  if (marker >> 4 !== 0xb) return [];
  const cursor: Cursor = { bytes: message, at: 2 };
  const fields: Unpacked[] = [];
  for (let index = 0; index < (marker & 0x0f); index += 1) {
    const value = unpack(cursor, 0);
    if (value === undefined) break;
    fields.push(value);
  }
  return fields;
}

interface Cursor {
  readonly bytes: Buffer;
  at: number;
}

function unpack(cursor: Cursor, depth: number): Unpacked | undefined {
  const marker = takeUnsigned(cursor, 1);
  if (marker === undefined || depth > MAX_DEPTH) return undefined;
  if (marker < 0x80) return marker;
  if (marker >= 0xf0) return marker - 0x100;
  switch (marker >> 4) {
    case 0x8:
      return takeString(cursor, marker & 0x0f);
    case 0x9:
      return takeList(cursor, marker & 0x0f, depth);
    case 0xa:
      return takeMap(cursor, marker & 0x0f, depth);
    default:
      return unpackWide(cursor, marker, depth);
  }
}

function unpackWide(cursor: Cursor, marker: number, depth: number): Unpacked | undefined {
  switch (marker) {
    case 0xc0:
      return null;
    case 0xc2:
      return false;
    case 0xc3:
      return true;
    case 0xc1:
      return takeBytes(cursor, 8)?.readDoubleBE(0);
    case 0xc8:
      return takeBytes(cursor, 1)?.readInt8(0);
    case 0xc9:
      return takeBytes(cursor, 2)?.readInt16BE(0);
    case 0xca:
      return takeBytes(cursor, 4)?.readInt32BE(0);
    case 0xcb:
      return takeBytes(cursor, 8)?.readBigInt64BE(0);
    case 0xcc:
    case 0xcd:
    case 0xce:
      return takeBytes(cursor, takeUnsigned(cursor, 1 << (marker - 0xcc)));
    case 0xd0:
    case 0xd1:
    case 0xd2:
      return takeString(cursor, takeUnsigned(cursor, 1 << (marker - 0xd0)));
    case 0xd4:
    case 0xd5:
    case 0xd6:
      return takeList(cursor, takeUnsigned(cursor, 1 << (marker - 0xd4)), depth);
    case 0xd8:
    case 0xd9:
    case 0xda:
      return takeMap(cursor, takeUnsigned(cursor, 1 << (marker - 0xd8)), depth);
    default:
      return undefined;
  }
}

function takeUnsigned(cursor: Cursor, width: number): number | undefined {
  return takeBytes(cursor, width)?.readUIntBE(0, width);
}

function takeBytes(cursor: Cursor, length: number | undefined): Buffer | undefined {
  if (length === undefined || cursor.at + length > cursor.bytes.length) return undefined;
  cursor.at += length;
  return cursor.bytes.subarray(cursor.at - length, cursor.at);
}

function takeString(cursor: Cursor, length: number | undefined): string | undefined {
  return takeBytes(cursor, length)?.toString('utf8');
}

/** A length that exceeds the remaining bytes fails at the first missing item, without allocating anything for it. */
function takeList(cursor: Cursor, length: number | undefined, depth: number): Unpacked[] | undefined {
  const items: Unpacked[] = [];
  for (let index = 0; index < (length ?? 0); index += 1) {
    const item = unpack(cursor, depth + 1);
    if (item === undefined) return undefined;
    items.push(item);
  }
  return length === undefined ? undefined : items;
}

function takeMap(cursor: Cursor, length: number | undefined, depth: number): Map<string, Unpacked> | undefined {
  const map = new Map<string, Unpacked>();
  for (let index = 0; index < (length ?? 0); index += 1) {
    const key = unpack(cursor, depth + 1);
    const item = unpack(cursor, depth + 1);
    if (typeof key !== 'string' || item === undefined) return undefined;
    map.set(key, item);
  }
  return length === undefined ? undefined : map;
}
