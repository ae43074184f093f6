import { isTunnelProtocol } from './examine.ts';
import { valuesOf } from './wire/fields.ts';
import type { RequestHead } from './wire/head.ts';

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
