import { decodeJwt } from 'jose';

/** Wall clock ms at which a token that has been verified expires: those without an expiry are not accepted. */
export function tokenExpiryMs(token: string): number {
  return (decodeJwt(token).exp ?? 0) * 1_000;
}
