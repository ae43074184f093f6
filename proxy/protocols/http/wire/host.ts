const REG_NAME = /^([a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*)\.?(?::([0-9]{0,5}))?$/i;
const IPV6 = /^(\[[0-9a-f:.]{2,45}\])(?::([0-9]{0,5}))?$/i;

export interface HostAndPort {
  /** Lower case, without a trailing dot. */
  readonly host: string;
  /** Null also where nothing stands behind the colon (RFC 3986 3.2.3). */
  readonly port: string | null;
}

/**
 * A Host header's value (RFC 9110 7.2) or the authority of an absolute-form target; null when it is neither a host name
 * of letters, digits and hyphens nor an address. No user information, no percent-encoding: nothing a browser would send.
 */
export function parseHost(value: string): HostAndPort | null {
  if (value.length > 300) return null;
  const match = REG_NAME.exec(value) ?? IPV6.exec(value);
  const host = match?.[1];
  return host === undefined ? null : { host: host.toLowerCase(), port: match?.[2] || null };
}
