/** When a certificate was valid from and to, and when it was fetched; wall clock ms. */
export interface CertificateLife {
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  readonly obtainedAtMs: number;
}

/** The window in which its issuer would like to see it renewed (RFC 9773 4.2). */
export interface RenewalWindow {
  readonly startMs: number;
  readonly endMs: number;
}

const HOUR_MS = 60 * 60_000;
const DAY_MS = 24 * HOUR_MS;
/** Of its lifetime, this much passes before it is renewed: time enough to fail and try again. */
const RENEW_AFTER_SHARE = 2 / 3;
/** Certificates that were fetched together are not renewed together: up to so much of the lifetime earlier. */
const JITTER_SHARE = 1 / 30;
/** Advice that comes later than this share of the lifetime before the end is not followed. */
const LAST_SHARE = 1 / 12;

/**
 * When to renew, in wall clock ms. `fraction` (0 to 1, the same for the same certificate) picks the moment: within the
 * issuer's window, else before two thirds of the lifetime.
 */
export function renewalTimeMs(life: CertificateLife, window: RenewalWindow | null, fraction: number): number {
  const lifetimeMs = life.notAfterMs - life.notBeforeMs;
  // By whichever clock says it was younger: when ours is behind the issuer's, the end comes sooner than it seems.
  const beginMs = Math.min(life.notBeforeMs, life.obtainedAtMs);
  const last = beginMs + lifetimeMs * (1 - LAST_SHARE);
  if (window !== null && window.endMs > window.startMs) {
    return Math.min(last, window.startMs + (window.endMs - window.startMs) * fraction);
  }
  return beginMs + lifetimeMs * (RENEW_AFTER_SHARE - JITTER_SHARE * fraction);
}

/**
 * Is it time to renew? A certificate that was fetched a moment ago is not renewed, whatever the clock says: with a clock that
 * is days off, every new certificate looks old, and orders would never end. A certificate that is not valid yet comes from an
 * issuer whose clock is ahead of ours: another one would be no better.
 */
export function isRenewalTime(
  life: CertificateLife,
  window: RenewalWindow | null,
  fraction: number,
  nowMs: number,
): boolean {
  if (nowMs < renewalTimeMs(life, window, fraction)) return false;
  const ageMs = nowMs - life.obtainedAtMs;
  const lifetimeMs = life.notAfterMs - life.notBeforeMs;
  // An issuer that is about to revoke says so by a window of the past.
  const restMs = window === null ? Math.min(DAY_MS, lifetimeMs / 6) : HOUR_MS;
  // A negative age comes from a clock that was set back since: what it says now counts.
  return ageMs < 0 || ageMs >= restMs;
}

/** How bad it is that a certificate has not been renewed. */
export type Lapse = 'no' | 'soon' | 'expired';

/** `soon` is the last fifth of the lifetime: renewal was due long ago, and has failed ever since. */
export function lapseOf(life: CertificateLife, nowMs: number): Lapse {
  if (nowMs >= life.notAfterMs) return 'expired';
  return life.notAfterMs - nowMs < (life.notAfterMs - life.notBeforeMs) / 5 ? 'soon' : 'no';
}

const FIRST_ADVICE_MS = 6 * HOUR_MS;

/** When to ask for the window again: as the issuer says (Retry-After), within reason (RFC 9773 4.3). */
export function nextAdviceMs(nowMs: number, retryAfterMs: number | null): number {
  return nowMs + Math.min(DAY_MS, Math.max(60_000, retryAfterMs ?? FIRST_ADVICE_MS));
}

/** A number from 0 to 1 for a text: the same text has the same number in every replica and after every restart. */
export function fractionOf(text: string): number {
  // FNV-1a, then mixed: neighbours among the names shall not be neighbours in time.
  let hash = 0x811c9dc5;
  for (let at = 0; at < text.length; at++) hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x7feb352d);
  hash = Math.imul(hash ^ (hash >>> 15), 0x846ca68b);
  return ((hash ^ (hash >>> 16)) >>> 0) / 2 ** 32;
}
