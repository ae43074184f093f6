import { parseAddressRange } from '../../../core/address-range.ts';
import { parseHost } from '../http/wire/host.ts';

/** Where a CONNECT wants to go. `address` is in plain form: IPv4 mapped to IPv6 is IPv4. */
export type ConnectTarget = { readonly port: number } & (
  { readonly kind: 'address'; readonly address: string } | { readonly kind: 'name'; readonly name: string }
);

const NAME_MAX_LENGTH = 253;

/**
 * The target of a CONNECT (RFC 9110 9.3.6): a name or an address, and always a port. Null for anything else, such as
 * `2130706433:443` or `0x7f.1:443`: many programs read these as addresses (the host parser of the URL standard, inet_aton),
 * and no name of the DNS ends in a number.
 */
export function parseConnectTarget(text: string): ConnectTarget | null {
  const parsed = parseHost(text);
  const port = Number(parsed?.port ?? 0);
  if (parsed === null || port < 1 || port > 65_535) return null;
  const { host } = parsed;
  const isBracketed = host.startsWith('[');
  const range = parseAddressRange(isBracketed ? host.slice(1, -1) : host);
  // Brackets are for IPv6 (RFC 3986 3.2.2); one without them has no port that everybody would find.
  if (range !== null)
    return isBracketed === host.includes(':') ? { kind: 'address', address: range.address, port } : null;
  if (isBracketed || host.length > NAME_MAX_LENGTH) return null;
  const labels = host.split('.');
  if (labels.some((label) => label.length > 63) || /^(?:\d+|0x[0-9a-f]*)$/.test(labels.at(-1) ?? '')) return null;
  return { kind: 'name', name: host, port };
}
