/** What a Bolt client sends first (Bolt handshake specification), before four proposals of a version. */
export const BOLT_MAGIC: readonly number[] = [0x60, 0x60, 0xb0, 0x17];

/** Do these first bytes of a connection open a Bolt handshake? */
export function isBoltMagic(bytes: Buffer): 'match' | 'reject' | 'need-more' {
  for (const [index, expected] of BOLT_MAGIC.entries()) {
    if (index >= bytes.length) return 'need-more';
    if (bytes[index] !== expected) return 'reject';
  }
  return 'match';
}
