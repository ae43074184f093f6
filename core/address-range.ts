import { BlockList, isIP, SocketAddress } from 'node:net';

/** One IP address, or a network in CIDR notation (RFC 4632 3.1, RFC 4291 2.3). */
export interface AddressRange {
  readonly family: 'ipv4' | 'ipv6';
  /** As Node writes it: lower case, shortest form. Bits beyond `prefixLength` may be set. */
  readonly address: string;
  /** In bits: 0 to 32 or 0 to 128. */
  readonly prefixLength: number;
}

const PREFIX_LENGTH = /^(0|[1-9]\d{0,2})$/;
const IPV4_IN_IPV6 = '::ffff:';

/**
 * The one parser of addresses and CIDR blocks: allow lists, trusted proxies, settings, Kubernetes policies. Addresses
 * are judged by `node:net`, which refuses leading zeros, hexadecimal and short forms (`010.0.0.1`, `0xa.0.0.1`, `10/8`):
 * other programs read some of them as octal. `net.BlockList` does not check the prefix length (it takes `/08`, and `/` as
 * /0), so that is done here. Zones (`fe80::1%eth0`) are refused, because they mean something on one machine only.
 * IPv4 mapped to IPv6 (`::ffff:10.0.0.0/104`) is returned as the IPv4 range. Returns null for anything else.
 */
export function parseAddressRange(text: string): AddressRange | null {
  const [given = '', prefix, ...rest] = text.split('/');
  if (rest.length > 0 || given.includes('%')) return null;
  const family = isIP(given) === 6 ? 'ipv6' : 'ipv4';
  if (isIP(given) === 0) return null;
  const bits = family === 'ipv6' ? 128 : 32;
  if (prefix !== undefined && !PREFIX_LENGTH.test(prefix)) return null;
  const prefixLength = prefix === undefined ? bits : Number(prefix);
  if (prefixLength > bits) return null;
  const { address } = new SocketAddress({ address: given, family });
  if (address.startsWith(IPV4_IN_IPV6) && address.includes('.') && prefixLength >= 96) {
    return { family: 'ipv4', address: address.slice(IPV4_IN_IPV6.length), prefixLength: prefixLength - 96 };
  }
  return { family, address, prefixLength };
}

/**
 * The same for entries of a stored pod. The API used to accept a prefix length with leading zeros (`10.0.0.0/08`), and
 * those entries keep their meaning.
 */
export function parseStoredAddressRange(text: string): AddressRange | null {
  return parseAddressRange(text.replace(/\/0+(?=\d)/, '/'));
}

/** In CIDR notation, such as `10.0.0.0/8`. */
export function addressRangeText({ address, prefixLength }: AddressRange): string {
  return `${address}/${prefixLength}`;
}

/** Addresses and CIDR blocks; an entry that cannot be parsed matches no address. */
export function compileAddressList(entries: readonly string[]): BlockList {
  const list = new BlockList();
  for (const entry of entries) {
    const range = parseStoredAddressRange(entry);
    if (range !== null) list.addSubnet(range.address, range.prefixLength, range.family);
  }
  return list;
}

export function isListed(list: BlockList, address: string): boolean {
  const family = isIP(address);
  return family !== 0 && list.check(address, family === 6 ? 'ipv6' : 'ipv4');
}
