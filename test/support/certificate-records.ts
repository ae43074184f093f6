import type { CertificateRecord } from '../../core/certificates.ts';
import type { Put } from '../../core/store.ts';

/** A wish for a certificate, unless `changes` say more. */
export function certificateRecord(changes: Partial<CertificateRecord> = {}): CertificateRecord {
  return {
    uid: 'uid-of-certificate',
    tenant: 'dev',
    user: 'alice',
    names: ['a.test'],
    source: 'acme',
    held: null,
    order: null,
    advice: null,
    failures: 0,
    lastError: null,
    notBeforeMs: 0,
    isRenewalAsked: false,
    createdAtMs: 1_000,
    ...changes,
  };
}

const absent = { expected: 'absent', tenant: 'dev', indexes: [] } as const;

/** A record of each kind that certificates need, all of one key. */
export const CERTIFICATE_PUTS: readonly Put[] = [
  { ...absent, kind: 'certificate', key: 'a.test', value: certificateRecord() },
  {
    ...absent,
    kind: 'acme-account',
    key: 'a.test',
    value: {
      uid: 'uid-of-account',
      sealedKey: 'sealed',
      sealedNextKey: null,
      url: 'https://acme.test/account/1',
      contact: ['mailto:ops@a.test'],
      failures: 0,
      lastError: null,
      notBeforeMs: 0,
    },
  },
  {
    ...absent,
    kind: 'certificate-budget',
    key: 'a.test',
    value: { spent: [{ key: 'a.test', domain: 'a.test', tenant: 'dev', user: null, atMs: 1_000 }] },
  },
  {
    ...absent,
    kind: 'challenge',
    key: 'a.test',
    value: {
      uid: 'uid-of-challenge',
      type: 'http-01',
      host: 'a.test',
      token: 'token',
      keyAuthorization: 'token.thumbprint',
      expiresAtMs: 2_000,
    },
  },
  {
    ...absent,
    kind: 'challenge-text',
    key: 'a.test',
    value: { uid: 'uid-of-text', host: 'a.test', name: '_acme-challenge.a.test', value: 'text', createdAtMs: 1_000 },
  },
];
