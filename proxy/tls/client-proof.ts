import type { X509Certificate } from 'node:crypto';
import type { TLSSocket } from 'node:tls';
import { errorCode } from '../../core/error-code.ts';

/** A verified client certificate. */
export interface ClientCertificate {
  /** RFC 2253: most specific part first, special characters escaped. */
  readonly subject: string;
  /** Not escaped; null if the subject has no common name. */
  readonly commonName: string | null;
  /** SHA-256 of the whole certificate, in lower-case hexadecimal. */
  readonly fingerprint: string;
  readonly der: Buffer;
}

/** The outcome of requesting a client certificate. It was verified against `authorities` (PEM). */
export type ClientProof =
  | { readonly kind: 'verified'; readonly authorities: string; readonly certificate: ClientCertificate }
  | { readonly kind: 'missing'; readonly authorities: string }
  /** `reason`: what is wrong with it, as the end of a sentence. */
  | { readonly kind: 'refused'; readonly authorities: string; readonly reason: string };

/** Call this after the handshake, on a server that requests a certificate but does not reject any. */
export function readClientProof(client: TLSSocket, authorities: string): ClientProof {
  const certificate = client.getPeerX509Certificate();
  if (certificate === undefined) return { kind: 'missing', authorities };
  // Node reports every resumed session as authorized, whatever the original one was. These servers do not resume
  // sessions; if one did, it must not pass this check.
  if (!client.authorized || client.isSessionReused()) {
    return { kind: 'refused', authorities, reason: reasonOf(client.authorizationError) };
  }
  return {
    kind: 'verified',
    authorities,
    certificate: {
      // Its parts are already escaped, including line breaks.
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

/** OpenSSL's names for verification errors (X509_verify_cert_error_string), as Node reports them. */
const REASONS: Readonly<Record<string, string>> = {
  CERT_HAS_EXPIRED: 'it has expired',
  CERT_NOT_YET_VALID: 'it is not valid yet',
  INVALID_PURPOSE: 'it is not a client certificate',
  CERT_REVOKED: 'it has been revoked',
  DEPTH_ZERO_SELF_SIGNED_CERT: 'it was not issued by a CA that the pod trusts',
  SELF_SIGNED_CERT_IN_CHAIN: 'it was not issued by a CA that the pod trusts',
  UNABLE_TO_GET_ISSUER_CERT: 'it was not issued by a CA that the pod trusts',
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: 'it was not issued by a CA that the pod trusts',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: 'it was not issued by a CA that the pod trusts',
};

/** Typed as an Error, but Node sets it to the name of the error. */
function reasonOf(error: unknown): string {
  const code = errorCode(error) ?? String(error);
  return REASONS[code] ?? `it cannot be verified (${code})`;
}
