import type { ProxySource } from '../../../../proxy/proxy-protocol/proxy-header.ts';

export interface Vector {
  readonly name: string;
  readonly bytes: Buffer;
  readonly source: ProxySource;
}

const SIGNATURE = '0d0a0d0a000d0a515549540a';
const LONGEST_ADDRESS = 'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff';
const client = (address: string, port: number): ProxySource => ({ kind: 'client', address, port });
const line = (name: string, text: string, source: ProxySource): Vector => ({
  name,
  bytes: Buffer.from(`${text}\r\n`, 'latin1'),
  source,
});
const binary = (name: string, hex: string, source: ProxySource): Vector => ({
  name,
  bytes: Buffer.from(SIGNATURE + hex.replaceAll(' ', ''), 'hex'),
  source,
});

/** 192.168.0.1:56324 -> 192.168.0.11:443. */
const IPV4 = 'c0a80001 c0a8000b dc04 01bb';
/** [2001:db8::1]:65535 -> [2001:db8::2]:443. */
const IPV6 = '20010db8000000000000000000000001 20010db8000000000000000000000002 ffff 01bb';
const UNIX = Buffer.from('/run/client.sock').toString('hex').padEnd(216, '0').padEnd(432, '0');

/** What proxy-protocol.txt (2020/03/05) gives as examples, its limits, and each row of its tables once. */
export const VALID: readonly Vector[] = [
  line(
    'v1: the example of the Varnish paragraph',
    'PROXY TCP4 192.168.0.1 192.168.0.11 56324 443',
    client('192.168.0.1', 56_324),
  ),
  line(
    'v1: TCP4 at its longest, 56 characters',
    'PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535',
    client('255.255.255.255', 65_535),
  ),
  line(
    'v1: TCP6 at its longest, 104 characters',
    `PROXY TCP6 ${LONGEST_ADDRESS} ${LONGEST_ADDRESS} 65535 65535`,
    client(LONGEST_ADDRESS, 65_535),
  ),
  line('v1: UNKNOWN at its shortest, 15 characters', 'PROXY UNKNOWN', { kind: 'unknown' }),
  line(
    'v1: UNKNOWN at its longest, 107 characters',
    `PROXY UNKNOWN ${LONGEST_ADDRESS} ${LONGEST_ADDRESS} 65535 65535`,
    { kind: 'unknown' },
  ),
  line('v1: port 0', 'PROXY TCP4 10.0.0.1 10.0.0.2 0 1', client('10.0.0.1', 0)),
  line('v1: an IPv6 address that is not canonical', 'PROXY TCP6 2001:DB8:0:0::1 ::1 1 2', client('2001:db8::1', 1)),
  line('v1: IPv4 mapped into IPv6', 'PROXY TCP6 ::ffff:192.0.2.7 ::1 1 2', client('192.0.2.7', 1)),
  binary('v2: LOCAL without a block', '20 00 0000', { kind: 'local' }),
  binary('v2: LOCAL with a block and a family, which are skipped', `20 99 000c ${IPV4}`, { kind: 'local' }),
  binary('v2: UNSPEC', '21 00 0000', { kind: 'unknown' }),
  binary('v2: UNSPEC with a block that means nothing', '21 00 0003 ffffff', { kind: 'unknown' }),
  binary('v2: TCP over IPv4', `21 11 000c ${IPV4}`, client('192.168.0.1', 56_324)),
  binary('v2: UDP over IPv4', `21 12 000c ${IPV4}`, client('192.168.0.1', 56_324)),
  binary('v2: TCP over IPv6', `21 21 0024 ${IPV6}`, client('2001:db8::1', 65_535)),
  binary('v2: UDP over IPv6', `21 22 0024 ${IPV6}`, client('2001:db8::1', 65_535)),
  binary(
    'v2: IPv4 mapped into IPv6',
    `21 21 0024 00000000000000000000ffffc0000207${IPV6.slice(32)}`,
    client('192.0.2.7', 65_535),
  ),
  binary('v2: UNIX stream', `21 31 00d8 ${UNIX}`, { kind: 'unknown' }),
  binary('v2: UNIX datagram', `21 32 00d8 ${UNIX}`, { kind: 'unknown' }),
  binary(
    'v2: vectors of which nothing is used (AUTHORITY, NOOP, AWS)',
    `21 11 001d ${IPV4} 02 0003 616263 04 0000 ea 0005 0176706365`,
    client('192.168.0.1', 56_324),
  ),
  // Computed bit by bit over the header with zeros in its place, by another program.
  binary('v2: a right checksum', `21 11 0013 ${IPV4} 03 0004 1c1ae9c6`, client('192.168.0.1', 56_324)),
];

export const INVALID: readonly { readonly name: string; readonly bytes: Buffer }[] = [
  ...[
    'PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\n\r',
    'PROXY TCP4 192.168.0.1 192.168.0.11 56324\r\n',
    'PROXY TCP4 192.168.0.1 192.168.0.11 56324 443 1\r\n',
    'PROXY TCP4  192.168.0.1 192.168.0.11 56324 443\r\n',
    'PROXY TCP4 192.168.0.1 192.168.0.11 56324 443 \r\n',
    'PROXY TCP4 192.168.0.1 192.168.0.11 56324 65536\r\n',
    'PROXY TCP4 192.168.0.1 192.168.0.11 056324 443\r\n',
    'PROXY TCP4 192.168.0.1 192.168.0.11 -1 443\r\n',
    'PROXY TCP4 192.168.0.256 192.168.0.11 56324 443\r\n',
    'PROXY TCP4 192.168.1 192.168.0.11 56324 443\r\n',
    'PROXY TCP4 ::1 ::1 56324 443\r\n',
    'PROXY TCP6 192.168.0.1 192.168.0.11 56324 443\r\n',
    'PROXY TCP6 fe80::1%eth0 ::1 56324 443\r\n',
    'PROXY TCP5 192.168.0.1 192.168.0.11 56324 443\r\n',
    'PROXY UNKNOWNS\r\n',
    'PROXY \r\n',
    'PROXY tcp4 192.168.0.1 192.168.0.11 56324 443\r\n',
    `PROXY UNKNOWN ${'x'.repeat(92)}\r\n`,
    `PROXY UNKNOWN ${'x'.repeat(200)}`,
  ].map((text) => ({ name: JSON.stringify(text), bytes: Buffer.from(text, 'latin1') })),
  ...(
    [
      ['version 1 in binary', `11 11 000c ${IPV4}`],
      ['version 3', `31 11 000c ${IPV4}`],
      ['a command that is none', `22 11 000c ${IPV4}`],
      ['a family that is none', `21 41 000c ${IPV4}`],
      ['a transport that is none', `21 13 000c ${IPV4}`],
      ['half a family', `21 10 000c ${IPV4}`],
      ['an address cut off', `21 11 000b ${IPV4}`],
      ['an IPv6 address in an IPv4 block', `21 21 000c ${IPV4}`],
      ['a UNIX address cut off', `21 31 00d7 ${UNIX}`],
      ['more than 4 KiB', `21 11 1001 ${IPV4}`],
      ['a vector cut off in its header', `21 11 000e ${IPV4} 04 00`],
      ['a vector that says more than there is', `21 11 000f ${IPV4} 04 0001`],
      ['a wrong checksum', `21 11 0013 ${IPV4} 03 0004 00000000`],
      ['a checksum of three bytes', `21 11 0012 ${IPV4} 03 0003 000000`],
      ['a right checksum over other bytes', `21 12 0013 ${IPV4} 03 0004 1c1ae9c6`],
    ] as const
  ).map(([name, hex]) => ({ name: `v2: ${name}`, bytes: Buffer.from(SIGNATURE + hex.replaceAll(' ', ''), 'hex') })),
];
