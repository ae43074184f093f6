import type { X509Certificate } from 'node:crypto';
import type { TLSSocket } from 'node:tls';
import { errorCode } from '../../core/error-code.ts';

/** A client's certificate that was verified. */
export interface ClientCertificate {
  /** RFC 2253: the most specific part first, special characters escaped. */
  readonly subject: string;
  /** As it is, not escaped; null when the subject has none. */
  readonly commonName: string | null;
  /** Of the whole certificate: SHA-256 in hexadecimal, lower case. */
  readonly fingerprint: string;
  readonly der: Buffer;
}

/** What came of asking a client for a certificate. `authorities` (PEM) is what it was verified against. */
export type ClientProof =
  | { readonly kind: 'verified'; readonly authorities: string; readonly certificate: ClientCertificate }
  | { readonly kind: 'missing'; readonly authorities: string }
  /** `reason`: what is wrong with it, as the rest of a sentence. */
  | { readonly kind: 'refused'; readonly authorities: string; readonly reason: string };

/** To be asked once the handshake is done, of a server that has asked for a certificate and refuses none. */
export function readClientProof(client: TLSSocket, authorities: string): ClientProof {
  const certificate = client.getPeerX509Certificate();
  if (certificate === undefined) return { kind: 'missing', authorities };
  // Node calls any resumed session authorized, whatever it began with. These servers resume none; if one did, it would
  // not pass here.
  if (!client.authorized || client.isSessionReused()) {
    return { kind: 'refused', authorities, reason: reasonOf(client.authorizationError) };
  }
  return {
    kind: 'verified',
    authorities,
    certificate: {
      // Its parts are escaped already, a line break within one, too.
      subject: certificate.subject.split('\n').toReversed().join(','),
      commonName: commonNameOf(certificate),
      fingerprint: certificate.fingerprint256.replaceAll(':', '').toLowerCase(),
      der: certificate.raw,
    },
  };
}

function commonNameOf(certificate: X509Certificate): string | null {
  const [name = null] = [certificate.toLegacyObject().subject.CN as string | readonly string[] | undefined].flat();
  return name;
}

/** OpenSSL's names of verification errors (X509_verify_cert_error_string), as Node gives them. */
const REASONS: Readonly<Record<string, string>> = {
  CERT_HAS_EXPIRED: 'it has expired',
  CERT_NOT_YET_VALID: 'it is not valid yet',
  INVALID_PURPOSE: 'it is not for clients',
  CERT_REVOKED: 'it is revoked',
  DEPTH_ZERO_SELF_SIGNED_CERT: 'none of the authorities that the pod trusts has issued it',
  SELF_SIGNED_CERT_IN_CHAIN: 'none of the authorities that the pod trusts has issued it',
  UNABLE_TO_GET_ISSUER_CERT: 'none of the authorities that the pod trusts has issued it',
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: 'none of the authorities that the pod trusts has issued it',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: 'none of the authorities that the pod trusts has issued it',
};

/** Typed as an error, it is the name of one. */
function reasonOf(error: unknown): string {
  const code = errorCode(error) ?? String(error);
  return REASONS[code] ?? `it cannot be verified (${code})`;
}
