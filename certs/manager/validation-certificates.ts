import acme from 'acme-client';
import type { Certificate, ChallengeRecord } from '../../core/certificates.ts';

/** The certificates that prove names by tls-alpn-01 (RFC 8737 3), each made once. They prove nothing but that. */
export function createValidationCertificates() {
  let made = new Map<string, Certificate>();
  return {
    async of(challenges: readonly ChallengeRecord[]): Promise<readonly Certificate[]> {
      const next = new Map<string, Certificate>();
      for (const { uid, host, keyAuthorization } of challenges) {
        next.set(uid, made.get(uid) ?? (await make(host, keyAuthorization)));
      }
      made = next;
      return [...next.values()];
    },
  };
}

async function make(host: string, keyAuthorization: string): Promise<Certificate> {
  const authorization = { identifier: { type: 'dns', value: host } } as acme.Authorization;
  const [key, certificate] = await acme.crypto.createAlpnCertificate(
    authorization,
    keyAuthorization,
    await acme.crypto.createPrivateEcdsaKey('P-256'),
  );
  return { names: [host], certificatePem: certificate.toString(), privateKeyPem: key.toString() };
}
