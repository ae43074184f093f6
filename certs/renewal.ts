/** Of its lifetime, this much passes before a certificate is renewed: time enough to fail and try again. */
const RENEW_AFTER_SHARE = 2 / 3;

/** When to renew a certificate, in wall clock ms. */
export function renewalTimeMs(validity: { readonly notBeforeMs: number; readonly notAfterMs: number }): number {
  const { notBeforeMs, notAfterMs } = validity;
  return notBeforeMs + (notAfterMs - notBeforeMs) * RENEW_AFTER_SHARE;
}

/** A clock that was set back behind the certificate's beginning makes it as useless as one that has expired. */
export function isRenewalDue(
  validity: { readonly notBeforeMs: number; readonly notAfterMs: number },
  nowMs: number,
): boolean {
  return nowMs >= renewalTimeMs(validity) || nowMs < validity.notBeforeMs;
}
