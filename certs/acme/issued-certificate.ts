import { createPrivateKey, X509Certificate as NodeCertificate } from 'node:crypto';
import { AuthorityKeyIdentifierExtension, X509Certificate } from '../x509.ts';

/** What is to be known of a chain with its key. Times in wall clock ms. */
export interface IssuedCertificate {
  readonly certificatePem: string;
  readonly names: readonly string[];
  readonly issuer: string;
  readonly serial: string;
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
}

/**
 * Reads a chain, leaf first. Throws an Error with a sentence for what is no chain, does not fit the key, or lacks one of
 * the names: it would be worse than the one before.
 */
export function readIssued(
  certificatePem: string,
  privateKeyPem: string,
  names: readonly string[] = [],
): IssuedCertificate {
  let leaf: NodeCertificate;
  let isFitting: boolean;
  try {
    leaf = new NodeCertificate(certificatePem);
    isFitting = leaf.checkPrivateKey(createPrivateKey(privateKeyPem));
  } catch {
    // Without the cause, which may quote the key.
    throw new Error('certificate or key cannot be read');
  }
  if (!isFitting) throw new Error('certificate and key do not match');
  const covered = dnsNamesOf(leaf);
  const missing = names.filter((name) => !covered.includes(name));
  if (missing.length > 0) throw new Error(`the certificate is not for ${missing.join(', ')}`);
  return {
    certificatePem,
    names: covered,
    issuer: /^CN=(.*)$/m.exec(leaf.issuer)?.[1] ?? leaf.issuer.replaceAll('\n', ', '),
    serial: leaf.serialNumber,
    notBeforeMs: leaf.validFromDate.getTime(),
    notAfterMs: leaf.validToDate.getTime(),
  };
}

function dnsNamesOf(certificate: NodeCertificate): readonly string[] {
  return (certificate.subjectAltName ?? '')
    .split(', ')
    .filter((entry) => entry.startsWith('DNS:'))
    .map((entry) => entry.slice(4).toLowerCase());
}

/**
 * How renewal information names a certificate (RFC 9773 4.1): its issuer's key and its serial number. Null for one that
 * does not say which key signed it.
 */
export function renewalInfoId(certificatePem: string): string | null {
  const leaf = new X509Certificate(certificatePem);
  const keyId = leaf.getExtension(AuthorityKeyIdentifierExtension)?.keyId;
  if (keyId === undefined) return null;
  const digits = new NodeCertificate(certificatePem).serialNumber;
  const serial = Buffer.from(digits.length % 2 === 0 ? digits : `0${digits}`, 'hex');
  // As DER has it: a first bit that is set would make the number negative.
  const asInteger = (serial[0] ?? 0) >= 0x80 ? Buffer.concat([Buffer.from([0]), serial]) : serial;
  return `${Buffer.from(keyId, 'hex').toString('base64url')}.${asInteger.toString('base64url')}`;
}
