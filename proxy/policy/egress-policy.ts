import { BlockList } from 'node:net';
import { type AddressRange, parseAddressRange } from '../../core/address-range.ts';
import type { EgressRules } from '../../core/egress.ts';

/**
 * What no rule opens: addresses of this machine and its link, metadata services, which give a machine its identity, and
 * addresses that hide another one. IPv4 mapped to IPv6 is judged as IPv4.
 */
const NEVER: readonly string[] = [
  // RFC 6890: "this network", loopback, link-local (with the metadata address of most clouds), IETF, multicast, reserved.
  '0.0.0.0/8',
  '127.0.0.0/8',
  '169.254.0.0/16',
  '192.0.0.0/24',
  '224.0.0.0/4',
  '240.0.0.0/4',
  // Unspecified, loopback and IPv4-compatible; link-local, site-local, multicast.
  '::/96',
  'fe80::/10',
  'fec0::/10',
  'ff00::/8',
  // Translated by somebody on the way to an IPv4 address that is not judged here: NAT64 of a site, Teredo, 6to4.
  '64:ff9b:1::/48',
  '2001::/32',
  '2002::/16',
  // Metadata outside link-local: Azure, Alibaba Cloud, AWS by IPv6.
  '168.63.129.16',
  '100.100.100.200',
  'fd00:ec2::254',
];

/** Open only to entries of `allow` that lie within them: RFC 1918, RFC 6598 (shared), RFC 4193 (unique local). */
const PRIVATE: readonly string[] = ['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', '100.64.0.0/10', 'fc00::/7'];

/** The well-known prefix of NAT64 (RFC 6052): in networks with IPv6 alone the only way to IPv4. */
const NAT64 = new BlockList();
NAT64.addSubnet('64:ff9b::', 96, 'ipv6');

const never = listOf(NEVER.map(rangeOf));
const privateRanges = PRIVATE.map(rangeOf);
const isPrivate = listOf(privateRanges);

/** Judges addresses that pods want to reach. Nothing here resolves names: what is judged is what is dialed. */
export class EgressPolicy {
  readonly #ports: ReadonlySet<number>;
  readonly #deny: BlockList;
  /** Null: every public address. */
  readonly #public: BlockList | null;
  readonly #private: BlockList;
  readonly #ownAddresses: () => Iterable<string>;

  /** `ownAddresses`: those that this machine has at the moment. */
  constructor({ allow, deny, ports }: EgressRules, ownAddresses: () => Iterable<string>) {
    const allowed = allow.map(rangeOf);
    this.#ports = new Set(ports);
    this.#deny = listOf(deny.map(rangeOf));
    this.#private = listOf(allowed.filter(isWithinPrivate));
    this.#public = allowed.length === 0 ? null : listOf(allowed.filter((range) => !isWithinPrivate(range)));
    this.#ownAddresses = ownAddresses;
  }

  isPortAllowed(port: number): boolean {
    return this.#ports.has(port);
  }

  /** May be any text: only an address in its plain form, as a resolver or `parseAddressRange` writes it, is allowed. */
  isAddressAllowed(address: string): boolean {
    const range = parseAddressRange(address);
    if (range === null || address.includes('/')) return false;
    const behind = ipv4BehindNat64(range);
    if (behind !== null && !this.isAddressAllowed(behind)) return false;
    if (isIn(never, range) || isIn(this.#deny, range) || this.#isOwn(range)) return false;
    if (isIn(isPrivate, range)) return isIn(this.#private, range);
    return this.#public === null || isIn(this.#public, range);
  }

  #isOwn({ address }: AddressRange): boolean {
    for (const own of this.#ownAddresses()) if (parseAddressRange(own)?.address === address) return true;
    return false;
  }
}

function rangeOf(text: string): AddressRange {
  const range = parseAddressRange(text);
  // An entry that is not understood must not open or close anything by accident.
  if (range === null) throw new Error(`not an address or network: ${text}`);
  return range;
}

function listOf(ranges: readonly AddressRange[]): BlockList {
  const list = new BlockList();
  for (const { address, prefixLength, family } of ranges) list.addSubnet(address, prefixLength, family);
  return list;
}

function isIn(list: BlockList, { address, family }: AddressRange): boolean {
  return list.check(address, family);
}

/** 0.0.0.0/0 contains private addresses, and was not written to open them. */
function isWithinPrivate(range: AddressRange): boolean {
  return privateRanges.some(
    (outer) =>
      outer.family === range.family && outer.prefixLength <= range.prefixLength && isIn(listOf([outer]), range),
  );
}

/** Its last 32 bits, as IPv4. */
function ipv4BehindNat64(range: AddressRange): string | null {
  if (range.family !== 'ipv6' || !isIn(NAT64, range)) return null;
  const groups = range.address.slice('64:ff9b::'.length).split(':').filter(Boolean);
  const [low = 0, high = 0] = groups.reverse().map((group) => Number.parseInt(group, 16));
  return `${high >> 8}.${high & 255}.${low >> 8}.${low & 255}`;
}
