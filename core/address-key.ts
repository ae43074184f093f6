const IPV4_IN_IPV6 = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i;

/**
 * What limits per address count by: an IPv4 address, or the /64 of an IPv6 address. One IPv6 subscriber has a whole /64
 * (RFC 6177), so a limit per single address would be none. Expects an address as Node writes it.
 */
export function addressKey(address: string): string {
  if (!address.includes(':')) return address;
  const mapped = IPV4_IN_IPV6.exec(address)?.[1];
  if (mapped !== undefined) return mapped;
  const [head = '', tail] = address.split('%', 1)[0]?.split('::') ?? [];
  const groups = head === '' ? [] : head.split(':');
  if (tail !== undefined) {
    const last = tail === '' ? [] : tail.split(':');
    while (groups.length + last.length < 8) groups.push('0');
    groups.push(...last);
  }
  return groups.slice(0, 4).join(':');
}
