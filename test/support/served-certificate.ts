import type { Certificate, ServedCertificate } from '../../core/certificates.ts';

/** As control sends it. */
export function served(certificate: Certificate): ServedCertificate {
  return { ...certificate, id: certificate.names.join(' '), source: 'files', notAfterMs: Date.now() + 3_600_000 };
}
