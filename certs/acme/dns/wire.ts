/** Numbers and names as DNS messages have them (RFC 1035 4.1.4). */

/** Lower case, uncompressed: as signatures want it. */
export function wireName(name: string): Buffer {
  const labels = name
    .toLowerCase()
    .split('.')
    .filter((label) => label !== '');
  return Buffer.concat([
    ...labels.map((label) => Buffer.from(`${String.fromCharCode(label.length)}${label}`, 'latin1')),
    Buffer.alloc(1),
  ]);
}

/**
 * The name at `start`, in lower case and without a dot at its end, and where what follows it begins; null where it is none.
 * A pointer leads backwards only, so that no message can lead in a circle.
 */
export function readName(message: Buffer, start: number): { readonly name: string; readonly end: number } | null {
  const labels: string[] = [];
  let end: number | null = null;
  let at = start;
  let before = start;
  for (;;) {
    const length = message[at];
    if (length === undefined) return null;
    if (length === 0) return { name: labels.join('.').toLowerCase(), end: end ?? at + 1 };
    if (length >= 0xc0) {
      if (at + 2 > message.length) return null;
      const target = message.readUInt16BE(at) & 0x3fff;
      if (target >= before) return null;
      end ??= at + 2;
      before = target;
      at = target;
    } else {
      const next = at + 1 + length;
      if (length > 63 || next > message.length || labels.length >= LABELS_MAX) return null;
      labels.push(message.toString('latin1', at + 1, next));
      at = next;
    }
  }
}

/** In 255 bytes. */
const LABELS_MAX = 127;

export function uint16(value: number): Buffer {
  return Buffer.from([value >> 8, value & 0xff]);
}

export function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}
