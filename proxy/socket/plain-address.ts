/** IPv4 addresses as IPv4, also on a socket that listens on both; null when the client is already gone. */
export function plainAddress(address: string | undefined): string | null {
  if (address === undefined) return null;
  return address.startsWith('::ffff:') && address.includes('.') ? address.slice(7) : address;
}
