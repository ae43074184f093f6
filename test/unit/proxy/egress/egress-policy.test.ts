import { describe, expect, it } from 'vitest';
import { EgressPolicy } from '../../../../proxy/policy/egress-policy.ts';
import { recentOwnAddresses } from '../../../../proxy/socket/own-addresses.ts';

const OWN = ['198.51.100.7', '2001:db8:1::7', 'fe80::1'];
const policyOf = (allow: readonly string[] = [], deny: readonly string[] = []) =>
  new EgressPolicy({ allow, deny, ports: [443] }, () => OWN);

const PUBLIC = ['8.8.8.8', '198.51.100.8', '100.63.255.255', '172.32.0.1', '2606:4700::1', '64:ff9b::808:808'];
const PRIVATE = [
  '10.1.2.3',
  '172.16.0.1',
  '172.31.255.255',
  '192.168.1.1',
  '100.64.0.1',
  'fd12::1',
  '64:ff9b::a01:203',
];
/** What no setting opens. */
const NEVER = [
  ...['127.0.0.1', '127.255.255.255', '0.0.0.0', '0.1.2.3', '169.254.169.254', '224.0.0.1', '255.255.255.255'],
  ...['::', '::1', '::7f00:1', 'fe80::2', 'fec0::1', 'ff02::1', '2002:7f00:1::1', '2001:0:1::1', '64:ff9b:1::a00:1'],
  ...['64:ff9b::7f00:1', '64:ff9b::', '64:ff9b::1', '64:ff9b::a9fe:a9fe'],
  ...['168.63.129.16', '100.100.100.200', 'fd00:ec2::254', '192.0.0.192'],
  ...OWN,
];
/** In each of these an IPv4 address is hidden that is judged as itself. */
const mapped = (address: string): readonly string[] =>
  address.includes(':') ? [address] : [address, `::ffff:${address}`, `0:0:0:0:0:ffff:${address}`];

describe('the addresses that pods may reach', () => {
  it('public addresses by default, in any form', () => {
    const policy = policyOf();
    for (const address of PUBLIC.flatMap(mapped)) expect(policy.isAddressAllowed(address), address).toBe(true);
    for (const address of [...PRIVATE, ...NEVER].flatMap(mapped)) {
      expect(policy.isAddressAllowed(address), address).toBe(false);
    }
  });

  it('no setting allows this machine, its link, metadata or translated addresses', () => {
    const policy = policyOf(['0.0.0.0/0', '::/0', ...NEVER, ...PRIVATE, 'fc00::/7', '100.64.0.0/10']);
    for (const address of NEVER.flatMap(mapped)) expect(policy.isAddressAllowed(address), address).toBe(false);
  });

  it('a private address is allowed by an entry within the private ranges, never by one that merely contains it', () => {
    const wide = policyOf(['0.0.0.0/0', '::/0', '8.0.0.0/5']);
    for (const address of PRIVATE) expect(wide.isAddressAllowed(address), address).toBe(false);
    for (const address of PUBLIC) expect(wide.isAddressAllowed(address), address).toBe(true);
    const narrow = policyOf(['10.1.0.0/16', '::ffff:192.168.1.0/120']);
    expect(narrow.isAddressAllowed('10.1.2.3')).toBe(true);
    expect(narrow.isAddressAllowed('::ffff:10.1.2.3')).toBe(true);
    expect(narrow.isAddressAllowed('192.168.1.1')).toBe(true);
    expect(narrow.isAddressAllowed('10.2.0.1')).toBe(false);
    // A list of private ones says nothing about public ones: they are not in it.
    expect(narrow.isAddressAllowed('8.8.8.8')).toBe(false);
  });

  it('deny comes before allow', () => {
    const policy = policyOf(['10.0.0.0/8', '0.0.0.0/0'], ['10.1.0.0/16', '8.8.8.0/24']);
    expect(policy.isAddressAllowed('10.2.0.1')).toBe(true);
    for (const address of ['10.1.2.3', '8.8.8.8'].flatMap(mapped)) {
      expect(policy.isAddressAllowed(address), address).toBe(false);
    }
  });

  it('an address that this machine gets later counts as its own from then on', () => {
    const own: string[] = [];
    const policy = new EgressPolicy({ allow: [], deny: [], ports: [443] }, () => own);
    expect(policy.isAddressAllowed('198.51.100.9')).toBe(true);
    own.push('198.51.100.9');
    expect(policy.isAddressAllowed('198.51.100.9')).toBe(false);
    expect(policy.isAddressAllowed('::ffff:198.51.100.9')).toBe(false);
  });

  it.each(['', 'example.org', '8.8.8.8/32', '0x7f.1', '2130706433', '010.0.0.1', 'fe80::1%eth0', '8.8.8.8 '])(
    'anything but a plain address is rejected: "%s"',
    (text) => {
      expect(policyOf(['0.0.0.0/0']).isAddressAllowed(text)).toBe(false);
    },
  );

  it('only the listed ports', () => {
    expect([443, 80, 22].map((port) => policyOf().isPortAllowed(port))).toEqual([true, false, false]);
  });
});

it('the addresses of this machine are read at most once a second, with any number of tunnels', () => {
  let nowMs = 0;
  let asked = 0;
  const recent = recentOwnAddresses(
    () => nowMs,
    () => [`192.0.2.${++asked}`],
  );
  expect([recent(), recent()]).toEqual([['192.0.2.1'], ['192.0.2.1']]);
  nowMs = 1_000;
  expect(recent()).toEqual(['192.0.2.2']);
});
