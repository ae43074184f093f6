/** The installation that a command talks to, and how it does. */
export interface Target {
  /** Name of the login; `local` = the installation on this machine, without a login. */
  readonly profile: string;
  /** Of the API: `https://host[:port]`, or `http://` on loopback. */
  readonly origin: string;
  readonly token: string;
  /** File with the only CA to trust (PEM); null = the CAs this machine trusts. */
  readonly caPath: string | null;
  /** Where the gateway is dialed, on this machine; null = at the names and ports the API gives. */
  readonly gateway: { readonly address: string; readonly port: number } | null;
}

/** Names below localhost mean this machine, whether its resolver knows them or not (RFC 6761, section 6.3). */
export function addressOf(target: Target, host: string): string | null {
  if (target.gateway !== null) return target.gateway.address;
  return host === 'localhost' || host.endsWith('.localhost') ? '127.0.0.1' : null;
}
