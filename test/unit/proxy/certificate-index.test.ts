import { expect, test } from 'vitest';
import type { CertificateSource, ServedCertificate } from '../../../core/certificates.ts';
import { CertificateIndex } from '../../../proxy/tls/certificate-index.ts';

const NOW_MS = 1_000;

function certificate(
  source: CertificateSource,
  names: readonly string[],
  { id = names.join(), notAfterMs = 2_000 } = {},
): ServedCertificate {
  const chain = '-----BEGIN CERTIFICATE-----\nissuer\n-----END CERTIFICATE-----\n';
  const certificatePem = `-----BEGIN CERTIFICATE-----\n${id}\n-----END CERTIFICATE-----\n${chain}`;
  return { id: `${source} ${id}`, source, names, certificatePem, privateKeyPem: 'key', notAfterMs };
}

function indexOf(...certificates: readonly ServedCertificate[]) {
  const index = new CertificateIndex();
  index.replace(certificates);
  return { index, find: (name: string | null) => index.find(name, NOW_MS)?.id ?? null };
}

test('an exact name comes before its wildcard', () => {
  const { find } = indexOf(
    certificate('per-host', ['a.pods.localhost']),
    certificate('per-host', ['*.Pods.localhost'], { id: 'wild' }),
  );
  expect(find('a.pods.localhost')).toBe('per-host a.pods.localhost');
  expect(find('b.pods.localhost')).toBe('per-host wild');
});

test('the better source comes first, whether for the name or for its wildcard', () => {
  const [files, acme, host, development] = [
    certificate('files', ['*.pods.localhost']),
    certificate('wildcard', ['*.pods.localhost', 'localhost']),
    certificate('per-host', ['a.pods.localhost']),
    certificate('development', ['localhost', '*.pods.localhost']),
  ];
  expect(indexOf(development, host, acme, files).find('a.pods.localhost')).toBe(files.id);
  expect(indexOf(development, host, acme).find('a.pods.localhost')).toBe(acme.id);
  expect(indexOf(development, host).find('a.pods.localhost')).toBe(host.id);
  expect(indexOf(development, host).find('b.pods.localhost')).toBe(development.id);
});

test('an expired certificate is served only when there is no valid one, and then the latest', () => {
  const old = certificate('files', ['a.test'], { notAfterMs: 900 });
  const older = certificate('wildcard', ['a.test'], { id: 'older', notAfterMs: 800 });
  const good = certificate('development', ['*.test']);
  expect(indexOf(old, older, good).find('a.test')).toBe(good.id);
  expect(indexOf(older, old).find('a.test')).toBe(old.id);
});

test('an unknown name gets the certificate of the first base host, else any; without certificates there is none', () => {
  const { index, find } = indexOf(
    certificate('per-host', ['a.pods.localhost']),
    certificate('development', ['localhost']),
  );
  expect(find('nobody.test')).toBe('per-host a.pods.localhost');
  index.setDefaultNames(['localhost']);
  for (const name of ['nobody.test', null, '', '.', 'c.b.pods.localhost'])
    expect(find(name)).toBe('development localhost');
  expect(indexOf().find('a')).toBeNull();
});

test('a change replaces the certificate with that ID, and returns the removed ones', () => {
  const { index, find } = indexOf(
    certificate('per-host', ['a.test'], { id: '1' }),
    certificate('per-host', ['b.test'], { id: '2' }),
  );
  const gone = index.change([certificate('per-host', ['c.test'], { id: '1' })], ['per-host 2', 'unknown']);
  expect(gone.map(({ id }) => id).sort()).toEqual(['per-host 1', 'per-host 2']);
  expect(find('c.test')).toBe('per-host 1');
  expect(find('b.test')).toBe('per-host 1');
  expect(index.size).toBe(1);
});

test('leaf and chain can be joined again', () => {
  const one = certificate('per-host', ['a.test']);
  const { index } = indexOf(one, certificate('per-host', ['b.test']));
  const entry = index.find('a.test', NOW_MS);
  expect(`${entry?.leafPem}${entry?.chainPem}`).toBe(one.certificatePem);
  expect(index.find('b.test', NOW_MS)?.chainPem).toBe(entry?.chainPem);
});

test('the development CA is not publicly trusted, and an expired certificate is not trusted at all', () => {
  const { index } = indexOf(
    certificate('development', ['*.pods.localhost']),
    certificate('per-host', ['a.pods.localhost']),
    certificate('per-host', ['old.pods.localhost'], { notAfterMs: 1 }),
  );
  const trusted = ['a', 'b', 'old'].filter((name) => index.hasTrusted(`${name}.pods.localhost`, NOW_MS));
  expect(trusted).toEqual(['a']);
});
