import type { Route } from '../../core/route.ts';

/** The application protocols that Podgate can select; null = the client offered none. */
export type Alpn = 'h2' | 'http/1.1' | 'postgresql' | null;

/** What a server name refers to, as far as ALPN is concerned. */
export type AlpnTarget = Route['protocol'] | 'base-host' | 'unknown';

/**
 * What each name accepts, the best first (decision 0034). HTTP clients at a Postgres name and Postgres clients at any name
 * are accepted so that they can be told what is wrong; nothing they send reaches a pod that speaks another protocol.
 * WebSocket clients of Bolt (Neo4j Browser) offer `http/1.1`, so tcp names accept it. Where every client is refused,
 * HTTP/1.1 comes first: its response is the shortest.
 */
const ACCEPTED: Readonly<Record<AlpnTarget, readonly Exclude<Alpn, null>[]>> = {
  http: ['postgresql', 'h2', 'http/1.1'],
  'base-host': ['postgresql', 'h2', 'http/1.1'],
  postgres: ['postgresql', 'http/1.1', 'h2'],
  tcp: ['postgresql', 'http/1.1'],
  unknown: ['postgresql', 'http/1.1', 'h2'],
};

/** Selects one of the protocols that the client offers. 'none-in-common': RFC 7301 3.2 requires a fatal alert. */
export function chooseAlpn(target: AlpnTarget, offered: readonly string[]): Alpn | 'none-in-common' {
  if (offered.length === 0) return null;
  return ACCEPTED[target].find((protocol) => offered.includes(protocol)) ?? 'none-in-common';
}
