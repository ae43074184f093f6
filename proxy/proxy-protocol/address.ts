import { isIPv4, isIPv6, SocketAddress } from 'node:net';

const MAPPED = '::ffff:';

/** IPv6 in its canonical form (RFC 5952), IPv4-mapped ones as IPv4: limits and lists must know an address again. */
export function canonicalIPv6(address: string): string {
  const canonical = new SocketAddress({ family: 'ipv6', address }).address;
  const tail = canonical.startsWith(MAPPED) ? canonical.slice(MAPPED.length) : '';
  return isIPv4(tail) ? tail : canonical;
}

/** Any address as limits and headers have it: without a zone, which means something on one machine only. */
export function canonicalAddress(address: string): string {
  const [plain = ''] = address.split('%', 1);
  return isIPv6(plain) ? canonicalIPv6(plain) : plain;
}

/** An address without zone: a zone means something on one machine only. */
export function isPlainIPv6(text: string): boolean {
  return isIPv6(text) && !text.includes('%');
}
