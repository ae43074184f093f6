import { describe, expect, it } from 'vitest';
import { parseProxyHeader } from '../../../../proxy/proxy-protocol/parse-proxy-header.ts';
import type { ProxyHeader } from '../../../../proxy/proxy-protocol/proxy-header.ts';
import { VERSION_1_MAX_BYTES } from '../../../../proxy/proxy-protocol/version-1.ts';
import { writeProxyHeader, type ProxiedConnection } from '../../../../proxy/proxy-protocol/write-proxy-header.ts';
import { Fuzz, SEED } from '../fuzz.ts';
import { VALID } from './vectors.ts';

const PLAIN: ProxiedConnection = {
  id: 'AbCdEf012345',
  source: { address: '192.168.0.1', port: 56_324 },
  destination: { address: '192.168.0.11', port: 443 },
  serverName: null,
  alpn: null,
  tls: null,
};
const V6 = {
  source: { address: '2001:db8::1', port: 65_535 },
  destination: { address: '2001:db8::2', port: 443 },
};
const LONGEST = 'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff';

function vectorOf(name: string): Buffer {
  const found = VALID.find((vector) => vector.name === name);
  if (found === undefined) throw new Error(`no vector ${name}`);
  return found.bytes;
}

/** Type and value of each, in order. */
function tlvs(bytes: Buffer): readonly (readonly [number, Buffer])[] {
  const found: (readonly [number, Buffer])[] = [];
  for (let at = 0; at < bytes.length;) {
    const length = bytes.readUInt16BE(at + 1);
    found.push([bytes.readUInt8(at), bytes.subarray(at + 3, at + 3 + length)]);
    at += 3 + length;
  }
  return found;
}

/** Whose connection a header is for, and how long it is, as our own parser reads it. */
function read(header: Buffer): ProxyHeader | null {
  const parsed = parseProxyHeader(Buffer.concat([header, Buffer.from('what follows')]));
  return parsed.kind === 'match' && parsed.value !== 'absent' ? parsed.value : null;
}

describe('writeProxyHeader', () => {
  it('writes the lines of the specification for version 1', () => {
    const line = (changes: Partial<ProxiedConnection>): Buffer => writeProxyHeader('v1', { ...PLAIN, ...changes });
    expect(line({})).toEqual(vectorOf('v1: the example of the Varnish paragraph'));
    const most = { address: '255.255.255.255', port: 65_535 };
    expect(line({ source: most, destination: most })).toEqual(vectorOf('v1: TCP4 at its longest, 56 characters'));
    const most6 = { address: LONGEST, port: 65_535 };
    const longest = line({ source: most6, destination: most6 });
    expect(longest).toEqual(vectorOf('v1: TCP6 at its longest, 104 characters'));
    expect(longest.length).toBeLessThanOrEqual(VERSION_1_MAX_BYTES);
    expect(String(line({ source: V6.source }))).toBe('PROXY TCP6 2001:db8::1 ::ffff:192.168.0.11 65535 443\r\n');
  });

  it('writes the addresses of the specification for version 2, then what else is known', () => {
    const [ipv4, ipv6] = [vectorOf('v2: TCP over IPv4'), vectorOf('v2: TCP over IPv6')];
    for (const [changes, bytes] of [
      [{}, ipv4],
      [V6, ipv6],
    ] as const) {
      const header = writeProxyHeader('v2', { ...PLAIN, ...changes });
      expect(header.subarray(0, 14)).toEqual(bytes.subarray(0, 14));
      expect(header.readUInt16BE(14)).toBe(header.length - 16);
      expect(header.subarray(16, bytes.length)).toEqual(bytes.subarray(16));
      expect(tlvs(header.subarray(bytes.length)).map(([type]) => type)).toEqual([0x05, 0x03]);
    }
    const mixed = writeProxyHeader('v2', { ...PLAIN, source: V6.source });
    expect(mixed.subarray(32, 48).toString('hex')).toBe('00000000000000000000ffffc0a8000b');
  });

  it('writes name, protocol, TLS and the verified certificate as TLVs of version 2', () => {
    const header = writeProxyHeader('v2', {
      ...PLAIN,
      serverName: 'mypg.pods.localhost',
      alpn: 'postgresql',
      tls: {
        version: 'TLSv1.3',
        cipher: 'TLS_AES_128_GCM_SHA256',
        clientCertificate: { commonName: 'Ålice' },
      },
    });
    const found = new Map(tlvs(header.subarray(28)));
    expect(String(found.get(0x01))).toBe('postgresql');
    expect(String(found.get(0x02))).toBe('mypg.pods.localhost');
    expect(String(found.get(0x05))).toBe('AbCdEf012345');
    const tls = found.get(0x20) ?? Buffer.alloc(0);
    // It came over TLS, and with a certificate of this connection and of this session, which was found good.
    expect([tls[0], tls.readUInt32BE(1)]).toEqual([0x07, 0]);
    const within = new Map(tlvs(tls.subarray(5)));
    expect(String(within.get(0x21))).toBe('TLSv1.3');
    expect(String(within.get(0x22))).toBe('Ålice');
    expect(String(within.get(0x23))).toBe('TLS_AES_128_GCM_SHA256');
  });

  it('omits a common name that is invalid or far too long', () => {
    for (const [commonName, length] of [
      [null, 0],
      ['', 0],
      ['a'.repeat(256), 256],
      ['a'.repeat(70_000), 0],
    ] as const) {
      const tls = { version: 'TLSv1.3', cipher: 'TLS_AES_128_GCM_SHA256', clientCertificate: { commonName } };
      const header = writeProxyHeader('v2', { ...PLAIN, tls });
      expect(read(header)).toMatchObject({ bytes: header.length });
      const value = new Map(tlvs(header.subarray(28))).get(0x20) ?? Buffer.alloc(0);
      expect(new Map(tlvs(value.subarray(5))).get(0x22)?.length ?? 0).toBe(length);
    }
  });

  it('marks a client without a certificate as not verified', () => {
    const tls = { version: 'TLSv1.2', cipher: 'ECDHE-ECDSA-AES128-GCM-SHA256', clientCertificate: null };
    const header = writeProxyHeader('v2', { ...PLAIN, tls });
    const value = new Map(tlvs(header.subarray(28))).get(0x20) ?? Buffer.alloc(0);
    expect([value[0], value.readUInt32BE(1)]).toEqual([0x01, 1]);
  });

  it(`is read by our own parser unchanged, including the checksum (seed ${SEED})`, () => {
    const fuzz = new Fuzz();
    for (let round = 0; round < 2_000; round++) {
      const random = fuzz.bytes(64);
      const port = random.readUInt16BE(32);
      const isV6 = round % 2 === 0;
      const address = isV6
        ? Array.from({ length: 8 }, (_, group) =>
            (random[group] ?? 0) % 3 === 0 ? '0' : random.readUInt16BE(group * 2).toString(16),
          ).join(':')
        : [...random.subarray(0, 4)].join('.');
      const connection: ProxiedConnection = {
        ...PLAIN,
        source: { address, port },
        destination: round % 3 === 0 ? V6.destination : PLAIN.destination,
        serverName: round % 5 === 0 ? null : 'a'.repeat(round % 254),
      };
      const [one, two] = [writeProxyHeader('v1', connection), writeProxyHeader('v2', connection)];
      const source = read(one)?.source;
      expect(source).toMatchObject({ kind: 'client', port });
      expect(read(one)?.bytes).toBe(one.length);
      expect(read(two)).toEqual({ source, bytes: two.length });
    }
  });
});
