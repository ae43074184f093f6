import type { Route } from '../../core/route.ts';

/** The application protocols a server of ours can choose; null = none is chosen. */
export const ALPNS = ['h2', 'http/1.1', 'postgresql', null] as const;
export type Alpn = (typeof ALPNS)[number];

/** What the name of a connection stands for, as far as ALPN is concerned. */
export type AlpnTarget = Route['protocol'] | 'base-host' | 'unknown';

/**
 * Chooses before the handshake, among what the client offers: a server that knows its answer never refuses an offer,
 * which would be an alert nobody can read (RFC 7301 3.2). `postgresql` is taken wherever it is offered, so that a
 * client at the wrong name reads an ErrorResponse. A name of nobody answers HTTP clients with a page; those that speak
 * HTTP/2 only (gRPC) read theirs in it.
 */
export function chooseAlpn(target: AlpnTarget, offered: readonly string[]): Alpn {
  if (offered.includes('postgresql')) return 'postgresql';
  if (target === 'tcp' || target === 'postgres') return null;
  const preferred = target === 'unknown' ? (['http/1.1', 'h2'] as const) : (['h2', 'http/1.1'] as const);
  return preferred.find((protocol) => offered.includes(protocol)) ?? null;
}
