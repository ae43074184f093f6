import { isIP } from 'node:net';

export const DNS_PORT = 53;
export const SERVER_ADDRESS_RULE =
  'must be an IP address with an optional port: 192.0.2.1, 192.0.2.1:53, [2001:db8::1]:53';

/** The address of a name server with its port, as `dns.Resolver.setServers` takes it; null if it is not one. */
export function withDnsPort(text: string): string | null {
  if (isIP(text) !== 0) return isIP(text) === 6 ? `[${text}]:${DNS_PORT}` : `${text}:${DNS_PORT}`;
  const [, address = '', port = ''] = /^\[?([^\]]+)\]?:(\d{1,5})$/.exec(text) ?? [];
  return isIP(address) !== 0 && Number(port) > 0 && Number(port) < 65_536 ? text : null;
}
