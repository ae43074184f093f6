import type { CertificateRecord, RenewalAdvice } from '../../core/certificates.ts';
import { isRetryTime } from './back-off.ts';
import { fractionOf, isRenewalTime, type RenewalWindow } from './renewal-time.ts';

/** What is to be done about a certificate that there should be. */
export type CertificateStep = 'nothing' | 'order' | 'ask-advice';

/** `names`: those it should have. Only what the record says and the time decide: every replica comes to the same. */
export function planNextStep(record: CertificateRecord, names: readonly string[], nowMs: number): CertificateStep {
  const { held, order, advice, isRenewalAsked } = record;
  if (record.source === 'imported') return 'nothing';
  if (!isRenewalAsked && !isRetryTime(record.notBeforeMs, nowMs)) return 'nothing';
  if (order !== null || held === null || isRenewalAsked) return 'order';
  if (names.some((name) => !record.names.includes(name))) return 'order';
  if (isRenewalTime(held, windowOf(advice), fractionOf(held.serial), nowMs)) return 'order';
  return advice === null || nowMs >= advice.askAgainMs ? 'ask-advice' : 'nothing';
}

/** An issuer that says nothing is noted as a window of no length. */
export function windowOf(advice: RenewalAdvice | null): RenewalWindow | null {
  return advice !== null && advice.endMs > advice.startMs ? advice : null;
}

/** Who is served first: the installation's own, then what ends first, then who has waited longest. */
export function byUrgency(one: CertificateRecord, other: CertificateRecord): number {
  const rank = ({ user, held }: CertificateRecord): number => (user === null ? 0 : held === null ? 2 : 1);
  const [a, b] = [rank(one), rank(other)];
  if (a !== b) return a - b;
  return (one.held?.notAfterMs ?? one.createdAtMs) - (other.held?.notAfterMs ?? other.createdAtMs);
}
