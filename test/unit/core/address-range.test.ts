import { BlockList } from 'node:net';
import { describe, expect, test } from 'vitest';
import { addressRangeText, parseAddressRange, parseStoredAddressRange } from '../../../core/address-range.ts';

function read(text: string): string | null {
  const range = parseAddressRange(text);
  return range === null ? null : addressRangeText(range);
}

describe('an address range', () => {
  test.each([
    ['10.0.0.0/8', '10.0.0.0/8'],
    ['10.1.2.3', '10.1.2.3/32'],
    ['10.1.2.3/8', '10.1.2.3/8'],
    ['0.0.0.0/0', '0.0.0.0/0'],
    ['2001:DB8:0:0::/32', '2001:db8::/32'],
    ['::1', '::1/128'],
    ['::/0', '::/0'],
    ['fe80::/10', 'fe80::/10'],
    ['::10.0.0.1', '::10.0.0.1/128'],
  ])('%s is %s', (text, canonical) => {
    expect(read(text)).toBe(canonical);
  });

  test.each([
    ['::ffff:10.0.0.0/104', '10.0.0.0/8'],
    ['::ffff:10.0.0.1', '10.0.0.1/32'],
    ['::FFFF:a00:1', '10.0.0.1/32'],
    ['0:0:0:0:0:ffff:a00:0/104', '10.0.0.0/8'],
    ['::ffff:0:0/96', '0.0.0.0/0'],
  ])('%s, IPv4 mapped to IPv6, is %s', (text, canonical) => {
    expect(read(text)).toBe(canonical);
  });

  test('a network larger than the IPv4-mapped range stays an IPv6 network', () => {
    expect(parseAddressRange('::ffff:0:0/95')?.family).toBe('ipv6');
  });

  test.each([
    ['a prefix length with leading zeros', '10.0.0.0/08'],
    ['', '10.0.0.0/008'],
    ['', '10.0.0.0/00'],
    ['', '2001:db8::/032'],
    ['an empty prefix length', '10.0.0.0/'],
    ['a prefix length that is no number', '10.0.0.0/+8'],
    ['', '10.0.0.0/ 8'],
    ['', '10.0.0.0/8.0'],
    ['', '10.0.0.0/1e1'],
    ['', '10.0.0.0/-1'],
    ['', '10.0.0.0/٨'],
    ['a mask', '10.0.0.0/255.0.0.0'],
    ['a prefix length that is too large', '10.0.0.0/33'],
    ['', '2001:db8::/129'],
    ['', '10.0.0.0/1000'],
    ['two slashes', '10.0.0.0/8/'],
    ['', '10.0.0.0//8'],
    ['white space', ' 10.0.0.0/8'],
    ['', '10.0.0.0/8\n'],
    ['octets with leading zeros, octal elsewhere', '010.0.0.0/8'],
    ['', '10.0.0.08'],
    ['hexadecimal', '0x0a.0.0.0/8'],
    ['one number', '167772160'],
    ['short forms', '10.0.0/8'],
    ['', '10/8'],
    ['zones', 'fe80::1%eth0'],
    ['', 'fe80::1%eth0/64'],
    ['', 'fe80::/64%eth0'],
    ['', '10.0.0.1%1'],
    ['brackets', '[::1]/128'],
    ['a port', '10.0.0.1:80'],
    ['names', 'localhost'],
    ['a star', '*'],
    ['nothing', ''],
    ['NUL', '10.0.0.1\0'],
  ])('refuses %s: %j', (_what, text) => {
    expect(parseAddressRange(text)).toBeNull();
  });

  test('a stored entry with leading zeros in its prefix length keeps its meaning', () => {
    expect(parseStoredAddressRange('10.0.0.0/08')).toEqual(parseAddressRange('10.0.0.0/8'));
    expect(parseStoredAddressRange('2001:db8::/032')).toEqual(parseAddressRange('2001:db8::/32'));
    expect(parseStoredAddressRange('10.0.0.0/00')).toEqual(parseAddressRange('10.0.0.0/0'));
    expect(parseStoredAddressRange('0.0.0.0/0')).toEqual(parseAddressRange('0.0.0.0/0'));
    expect(parseStoredAddressRange('010.0.0.0/08')).toBeNull();
    expect(parseStoredAddressRange('10.0.0.0/08/')).toBeNull();
  });

  test('BlockList accepts every result', () => {
    const parts = ['10.0.0.0', '::', '::ffff:1.2.3.4', 'fe80::1', '1.2.3', '::g', '%', ''];
    const lengths = ['', '/0', '/8', '/08', '/32', '/33', '/96', '/128', '/129', '/x', '//'];
    for (const text of parts.flatMap((part) => lengths.map((length) => part + length))) {
      const range = parseAddressRange(text);
      if (range !== null) new BlockList().addSubnet(range.address, range.prefixLength, range.family);
    }
  });
});
