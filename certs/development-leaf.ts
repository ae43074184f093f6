import type { Certificate } from '../core/certificates.ts';
import * as x509 from './x509.ts';

export const KEY_ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;
export const LEAF_LIFETIME_MS = 90 * 24 * 60 * 60_000;
/** Clients whose clock is a little behind accept it all the same. */
const BACKDATED_MS = 60 * 60_000;

export interface Signer {
  readonly certificate: x509.X509Certificate;
  readonly privateKey: CryptoKey;
}

export function validityAt(nowMs: number, lifetimeMs: number): { notBeforeMs: number; notAfterMs: number } {
  return { notBeforeMs: nowMs - BACKDATED_MS, notAfterMs: nowMs + lifetimeMs };
}

/** A server certificate with a key of its own. The chain is the leaf alone: clients hold the CA. */
export async function signLeaf(signer: Signer, names: readonly string[], nowMs: number): Promise<Certificate> {
  const keys = await crypto.subtle.generateKey(KEY_ALGORITHM, true, ['sign', 'verify']);
  const { notBeforeMs, notAfterMs } = validityAt(nowMs, LEAF_LIFETIME_MS);
  const certificate = await x509.X509CertificateGenerator.create({
    subject: [{ CN: [names[0]?.slice(0, 64) ?? 'Podgate'] }],
    issuer: signer.certificate.subjectName,
    notBefore: new Date(notBeforeMs),
    notAfter: new Date(notAfterMs),
    signingKey: signer.privateKey,
    publicKey: keys.publicKey,
    signingAlgorithm: KEY_ALGORITHM,
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth], false),
      new x509.SubjectAlternativeNameExtension(names.map((value) => ({ type: 'dns', value }))),
      await x509.AuthorityKeyIdentifierExtension.create(signer.certificate.publicKey, false, crypto),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey, false, crypto),
    ],
  });
  return {
    names,
    certificatePem: `${certificate.toString('pem')}\n`,
    privateKeyPem: await keyPem(keys.privateKey),
  };
}

/** PKCS #8. */
export async function keyPem(key: CryptoKey): Promise<string> {
  return `${x509.PemConverter.encode(await crypto.subtle.exportKey('pkcs8', key), 'PRIVATE KEY')}\n`;
}
