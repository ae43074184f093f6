import { valuesOf } from './fields.ts';
import type { RequestHead } from './head.ts';

/** The connection is to go on after this request (RFC 9112 9.3). */
export function persists({ httpVersion, rawHeaders }: RequestHead): boolean {
  const said = valuesOf(rawHeaders, 'connection').toLowerCase();
  if (saysClose(rawHeaders)) return false;
  return httpVersion === '1.1' || /(?:^|,)\s*keep-alive\s*(?:,|$)/.test(said);
}

/** The sender ends the connection after this message. */
export function saysClose(fields: readonly string[]): boolean {
  return /(?:^|,)\s*close\s*(?:,|$)/i.test(valuesOf(fields, 'connection'));
}

/** The protocol to change to, or null (RFC 9110 7.8): only one that we carry. */
export function upgradeOf({ httpVersion, rawHeaders }: RequestHead): string | null {
  if (httpVersion === '1.0') return null;
  const upgrade = valuesOf(rawHeaders, 'upgrade');
  if (upgrade === '' || !isTunnelProtocol(upgrade)) return null;
  return /(?:^|,)\s*upgrade\s*(?:,|$)/i.test(valuesOf(rawHeaders, 'connection')) ? upgrade : null;
}

/** The client waits for 100 (Continue) before it sends the body (RFC 9110 10.1.1). */
export function expectsContinue({ httpVersion, rawHeaders }: RequestHead): boolean {
  return httpVersion === '1.1' && valuesOf(rawHeaders, 'expect').toLowerCase() === '100-continue';
}

export function acceptOf({ rawHeaders }: RequestHead): string {
  return valuesOf(rawHeaders, 'accept');
}

/** An upgrade we carry: not one to another HTTP (h2c would hide requests from every check here) or TLS. */
export function isTunnelProtocol(upgrade: string): boolean {
  return /^[a-z0-9][a-z0-9./_-]{0,63}$/i.test(upgrade) && !/^(h2c|http\/|tls\/)/i.test(upgrade);
}
