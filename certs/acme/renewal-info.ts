import type { RenewalAdvice } from '../../core/certificates.ts';
import { nextAdviceMs } from '../plan/renewal-time.ts';
import { AcmeError, parseRetryAfter } from './acme-error.ts';
import type { AcmeSession } from './acme-session.ts';
import { renewalInfoId } from './issued-certificate.ts';

/**
 * Asks the issuer when it would like to see the certificate renewed (RFC 9773 4). Null when it says nothing about that.
 * acme-client does not know this.
 */
export async function fetchRenewalAdvice(
  session: AcmeSession,
  certificatePem: string,
  nowMs: number,
  signal: AbortSignal,
): Promise<RenewalAdvice | null> {
  const id = renewalInfoId(certificatePem);
  if (id === null) return null;
  const step = 'fetching the renewal information';
  const answer = await session.fetchResource(step, 'renewalInfo', id, signal);
  if (answer === null) return null;
  const advice = parseAdvice(answer.body);
  if (advice === null) throw new AcmeError('server', `${step}: the response violates RFC 9773`);
  return { ...advice, askAgainMs: nextAdviceMs(nowMs, parseRetryAfter(answer.retryAfter, nowMs)) };
}

function parseAdvice(text: string): Omit<RenewalAdvice, 'askAgainMs'> | null {
  try {
    const { suggestedWindow, explanationURL } = JSON.parse(text) as {
      readonly suggestedWindow?: { readonly start?: unknown; readonly end?: unknown };
      readonly explanationURL?: unknown;
    };
    const startMs = Date.parse(String(suggestedWindow?.start));
    const endMs = Date.parse(String(suggestedWindow?.end));
    if (!(endMs > startMs)) return null;
    return { startMs, endMs, explanationUrl: typeof explanationURL === 'string' ? explanationURL : null };
  } catch {
    return null;
  }
}
