import { isIPv4, isIPv6, SocketAddress } from 'node:net';

const MAPPED = '::ffff:';

/** IPv6 in canonical form (RFC 5952), IPv4-mapped addresses as IPv4, so that limits and lists recognize an address. */
export function canonicalIPv6(address: string): string {
  const canonical = new SocketAddress({ family: 'ipv6', address }).address;
  const tail = canonical.startsWith(MAPPED) ? canonical.slice(MAPPED.length) : '';
  return isIPv4(tail) ? tail : canonical;
}

/** An address as limits and headers use it: without a zone, which is valid on one machine only. */
export function canonicalAddress(address: string): string {
  const [plain = ''] = address.split('%', 1);
  return isIPv6(plain) ? canonicalIPv6(plain) : plain;
}

/** An address without its zone, which is valid on one machine only. */
export function isPlainIPv6(text: string): boolean {
  return isIPv6(text) && !text.includes('%');
}
