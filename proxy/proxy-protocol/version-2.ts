import { match, needMore, reject, type Parsed } from '../bytes/parsed.ts';
import { canonicalIPv6 } from './address.ts';
import { crc32c } from './crc32c.ts';
import type { ProxyHeader, ProxySource } from './proxy-header.ts';

export const VERSION_2_SIGNATURE = Buffer.from('0d0a0d0a000d0a515549540a', 'hex');

/** Addresses and TLVs together. The length field allows 64 KiB, but load balancers send a few hundred bytes. */
export const VERSION_2_MAX_LENGTH = 4_096;

const FIXED_BYTES = 16;
const COMMAND_LOCAL = 0;
const COMMAND_PROXY = 1;
const TLV_HEADER_BYTES = 3;
const TLV_CRC32C = 0x03;
const CRC32C_BYTES = 4;

type Family = 'ipv4' | 'ipv6' | 'unix' | 'unspecified';

/** The family and transport byte: only these combinations are defined (section 2.2). */
const FAMILIES: Readonly<Record<number, Family>> = {
  0x00: 'unspecified',
  0x11: 'ipv4',
  0x12: 'ipv4',
  0x21: 'ipv6',
  0x22: 'ipv6',
  0x31: 'unix',
  0x32: 'unix',
};

const ADDRESS_BYTES: Readonly<Record<Family, number>> = { ipv4: 12, ipv6: 36, unix: 216, unspecified: 0 };

/**
 * The binary header (section 2.2). `bytes` begin with the signature. TLVs are skipped, except that a checksum is verified.
 * With LOCAL and AF_UNSPEC, the address block has no meaning and is skipped, too.
 */
export function parseVersion2(bytes: Buffer): Parsed<ProxyHeader> {
  const versionAndCommand = bytes[12];
  if (versionAndCommand === undefined) return needMore(FIXED_BYTES);
  if (versionAndCommand >>> 4 !== 2) return reject('not version 2');
  const command = versionAndCommand & 0x0f;
  if (command !== COMMAND_LOCAL && command !== COMMAND_PROXY) return reject('neither LOCAL nor PROXY');
  if (bytes.length < FIXED_BYTES) return needMore(FIXED_BYTES);
  const length = bytes.readUInt16BE(14);
  if (length > VERSION_2_MAX_LENGTH) return reject('too long');
  const family = FAMILIES[bytes.readUInt8(13)];
  if (command === COMMAND_PROXY) {
    if (family === undefined) return reject('no such family or transport');
    if (length < ADDRESS_BYTES[family]) return reject('too short for its addresses');
  }
  const end = FIXED_BYTES + length;
  if (bytes.length < end) return needMore(end);
  if (command === COMMAND_LOCAL) return match({ source: { kind: 'local' }, bytes: end });
  if (family === undefined || family === 'unspecified') return match({ source: { kind: 'unknown' }, bytes: end });
  const header = bytes.subarray(0, end);
  const problem = problemOfVectors(header, FIXED_BYTES + ADDRESS_BYTES[family]);
  return problem === null ? match({ source: sourceOf(header, family), bytes: end }) : reject(problem);
}

function sourceOf(header: Buffer, family: Exclude<Family, 'unspecified'>): ProxySource {
  switch (family) {
    case 'ipv4': {
      const address = header.subarray(FIXED_BYTES, FIXED_BYTES + 4).join('.');
      return { kind: 'client', address, port: header.readUInt16BE(FIXED_BYTES + 8) };
    }
    case 'ipv6': {
      const groups = Array.from({ length: 8 }, (_, group) => header.readUInt16BE(FIXED_BYTES + group * 2).toString(16));
      const address = canonicalIPv6(groups.join(':'));
      return { kind: 'client', address, port: header.readUInt16BE(FIXED_BYTES + 32) };
    }
    case 'unix':
      return { kind: 'unknown' };
  }
}

/** What is wrong with the TLVs from `start` to the end of the header, or null. */
function problemOfVectors(header: Buffer, start: number): string | null {
  let offset = start;
  while (offset < header.length) {
    if (offset + TLV_HEADER_BYTES > header.length) return 'a vector is cut off';
    const value = offset + TLV_HEADER_BYTES;
    const next = value + header.readUInt16BE(offset + 1);
    if (next > header.length) return 'a vector is cut off';
    if (header[offset] === TLV_CRC32C && !isChecksumRight(header, value, next)) return 'the checksum is wrong';
    offset = next;
  }
  return null;
}

/** Over the whole header, with the checksum field as zeros (section 2.2.3). */
function isChecksumRight(header: Buffer, value: number, end: number): boolean {
  if (end - value !== CRC32C_BYTES) return false;
  const zeroed = Buffer.from(header);
  zeroed.fill(0, value, end);
  return crc32c(zeroed) === header.readUInt32BE(value);
}
