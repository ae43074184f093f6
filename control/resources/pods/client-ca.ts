import { X509Certificate } from 'node:crypto';

/** Of one bundle, and of all bundles of a pod: every gateway process holds them in memory. */
export const CLIENT_CA_MAX_BYTES = 16_384;
const CERTIFICATES_MAX = 10;
const CERTIFICATE = /-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----/g;

/** Why this text cannot be the authorities that client certificates are checked against, or null. Empty = none: fine. */
export function clientCaProblem(pem: string): string | null {
  if (pem === '') return null;
  if (Buffer.byteLength(pem) > CLIENT_CA_MAX_BYTES) return `must have at most ${CLIENT_CA_MAX_BYTES} bytes`;
  if (pem.includes('PRIVATE KEY')) return 'holds a private key; give the certificates of the authorities alone';
  const certificates = pem.match(CERTIFICATE) ?? [];
  if (certificates.length === 0 || pem.replace(CERTIFICATE, '').includes('-----')) {
    return 'must be one or more certificates in PEM form (-----BEGIN CERTIFICATE-----)';
  }
  if (certificates.length > CERTIFICATES_MAX) return `must contain at most ${CERTIFICATES_MAX} certificates`;
  for (const [index, certificate] of certificates.entries()) {
    const problem = authorityProblem(certificate);
    if (problem !== null) return `certificate ${index + 1} ${problem}`;
  }
  return null;
}

function authorityProblem(pem: string): string | null {
  try {
    const isAuthority = new X509Certificate(pem).ca;
    return isAuthority ? null : 'is not that of an authority (basic constraint CA:TRUE); give the one that issues';
  } catch {
    return 'cannot be read';
  }
}
