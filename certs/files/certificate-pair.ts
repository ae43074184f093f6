import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto';
import type { Certificate } from '../../core/certificates.ts';

export type ReadPair =
  | { readonly kind: 'good'; readonly certificate: Certificate; readonly notAfterMs: number }
  /** A sentence on what is wrong, without the text of the key. */
  | { readonly kind: 'bad'; readonly reason: string };

const PEM_CERTIFICATE = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g;

/**
 * A chain, leaf first, and its key, both PEM, as they are in an operator's files. Its names are those of the leaf's
 * subjectAltName (RFC 9110 4.3.4: nothing else counts). A pair that is good can be served at once.
 */
export function readCertificatePair(certificatePem: string, keyPem: string): ReadPair {
  const bad = (reason: string): ReadPair => ({ kind: 'bad', reason });
  const chain: X509Certificate[] = [];
  for (const pem of certificatePem.match(PEM_CERTIFICATE) ?? []) {
    const parsed = attempt(() => new X509Certificate(pem));
    if (parsed === null) return bad(`certificate ${chain.length + 1} of the file cannot be read`);
    chain.push(parsed);
  }
  const [leaf] = chain;
  if (leaf === undefined) return bad('the file contains no certificate in PEM format');
  const outOfOrder = chain.findIndex((one, at) => {
    const next = chain[at + 1];
    return next !== undefined && !one.checkIssued(next);
  });
  if (outOfOrder >= 0) {
    return bad(`certificate ${outOfOrder + 1} was not issued by the next one: put the leaf first, then its issuers`);
  }
  const key: KeyObject | null = attempt(() => createPrivateKey(keyPem));
  if (key === null) return bad('the key file contains no private key in PEM format, or one with a passphrase');
  if (!leaf.checkPrivateKey(key)) return bad('the key does not match the certificate');
  const names = dnsNamesOf(leaf);
  if (names.length === 0) return bad('the certificate contains no DNS name (subjectAltName)');
  const notAfterMs = Date.parse(leaf.validTo);
  if (Number.isNaN(notAfterMs)) return bad('its expiry date cannot be parsed');
  const certificatePems = chain.map((one) => one.toString()).join('');
  const privateKeyPem = key.export({ type: 'pkcs8', format: 'pem' });
  return { kind: 'good', certificate: { names, certificatePem: certificatePems, privateKeyPem }, notAfterMs };
}

function dnsNamesOf({ subjectAltName }: X509Certificate): readonly string[] {
  // A name with a comma or a quote in it would be quoted, and is no host name.
  return (subjectAltName ?? '')
    .split(', ')
    .filter((entry) => entry.startsWith('DNS:') && !entry.includes('"'))
    .map((entry) => entry.slice('DNS:'.length).toLowerCase());
}

function attempt<T>(make: () => T): T | null {
  try {
    return make();
  } catch {
    // What OpenSSL says of a key is of no use to an operator, and may be more than a log should hold.
    return null;
  }
}
