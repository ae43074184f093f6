import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { loadConfig } from '../../../config/load-config.ts';
import { PodgateError } from '../../../core/errors.ts';
import { createTestAuthority } from '../../support/test-authority.ts';

let directory: string;
beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'podgate-acme-config-'));
  const { ca, certificate } = await createTestAuthority(['a.test']);
  writeFileSync(join(directory, 'ca.pem'), ca);
  writeFileSync(join(directory, 'leaf.pem'), certificate);
  writeFileSync(join(directory, 'hmac.key'), 'zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W\n');
  writeFileSync(join(directory, 'bad.key'), 'geheim, geheim');
});
afterAll(() => {
  rmSync(directory, { recursive: true, force: true });
});

function load(yaml: string) {
  writeFileSync(join(directory, 'podgate.yaml'), yaml);
  return loadConfig({ PODGATE_CONFIG: 'podgate.yaml' }, directory).acme;
}

function problemsOf(yaml: string): readonly string[] {
  try {
    load(yaml);
  } catch (error) {
    if (error instanceof PodgateError && error.code === 'config.invalid') return error.publicMessages;
    throw error;
  }
  return [];
}

test('without the section, no certificate is ordered', () => {
  expect(load('')).toBeNull();
});

test('the minimum is a directory URL and agreement to its terms', () => {
  expect(load('acme: { directoryUrl: "https://acme.test/dir", termsOfServiceAgreed: true }')).toEqual({
    directoryUrl: 'https://acme.test/dir',
    contacts: [],
    tenants: ['dev'],
    perHost: true,
    challenges: ['tls-alpn-01', 'http-01'],
    dns: null,
    preferredChain: null,
    caFile: null,
    externalAccount: null,
    budgetPerWeek: { perDomain: 50, perTenant: 25, perUser: 10 },
  });
});

test('file paths are relative to the working directory, and files are read before the start', () => {
  const acme = load(
    'acme: { directoryUrl: "https://acme.test/dir", termsOfServiceAgreed: true, caFile: ca.pem, eab: { keyId: me, hmacKeyFile: hmac.key } }',
  );
  expect(acme).toMatchObject({
    caFile: join(directory, 'ca.pem'),
    externalAccount: { keyId: 'me', hmacKeyFile: join(directory, 'hmac.key') },
  });
});

test('all errors of the section are reported at once, with their keys', () => {
  const problems = problemsOf(`acme:
  directoryUrl: http://acme.test/dir
  termsOfServiceAgreed: false
  contacts: [nobody]
  challenges: [http-01, http-01]
  budgetPerWeek: { perDomain: 0 }
  email: ops@a.test
`);
  expect(problems.map((problem) => problem.split(':')[0])).toEqual([
    'PODGATE_CONFIG acme.directoryUrl',
    'PODGATE_CONFIG acme.termsOfServiceAgreed',
    'PODGATE_CONFIG acme.contacts[0]',
    'PODGATE_CONFIG acme.challenges',
    'PODGATE_CONFIG acme.budgetPerWeek.perDomain',
    'PODGATE_CONFIG acme',
  ]);
});

test('invalid files are reported without quoting secrets', () => {
  const problems = problemsOf(`acme:
  directoryUrl: https://acme.test/dir
  termsOfServiceAgreed: true
  tenants: [dev, others]
  caFile: leaf.pem
  eab: { keyId: me, hmacKeyFile: bad.key }
`);
  expect(problems).toEqual([
    'PODGATE_CONFIG acme.tenants[1]: there is no such tenant; correct its id.',
    'PODGATE_CONFIG acme.caFile: the file contains a certificate that is not a CA certificate.',
    'PODGATE_CONFIG acme.eab.hmacKeyFile: the file must contain only the key, in base64url, as issued by the ACME server.',
  ]);
  expect(problemsOf('acme: { directoryUrl: "https://a.test", termsOfServiceAgreed: true, caFile: none.pem }')).toEqual([
    'PODGATE_CONFIG acme.caFile: the file cannot be read (ENOENT).',
  ]);
});

const ACME = 'directoryUrl: "https://acme.test/dir", termsOfServiceAgreed: true';
const KEY = 'key "podgate." {\n  algorithm hmac-sha256;\n  secret "c2VjcmV0LXNlY3JldC1zZWNyZXQ=";\n};\n';

test('there are three ways to publish dns-01 records', () => {
  writeFileSync(join(directory, 'dns.key'), KEY);
  writeFileSync(join(directory, 'token'), 'abc\n');
  const dns = (section: string) => load(`acme: { ${ACME}, dns: { ${section} } }`)?.dns;
  expect(dns('update: { server: ns.example.org, keyFile: dns.key }, resolvers: ["192.0.2.1", "2001:db8::1"]')).toEqual({
    resolvers: ['192.0.2.1:53', '[2001:db8::1]:53'],
    nameServers: [],
    propagationTimeoutMs: 120_000,
    writer: { kind: 'update', server: { host: 'ns.example.org', port: 53 }, keyFile: join(directory, 'dns.key') },
  });
  expect(dns('exec: { command: ./hook, arguments: [a] }')?.writer).toEqual({
    kind: 'exec',
    command: join(directory, 'hook'),
    arguments: ['a'],
    timeoutMs: 60_000,
  });
  expect(dns('http: { url: "https://dns.test/x", tokenFile: token }')?.writer).toMatchObject({
    kind: 'http',
    caFile: null,
  });
});

test('errors in dns-01 settings name their keys and quote no secret', () => {
  writeFileSync(join(directory, 'bad.key'), 'key "x" { algorithm hmac-md5; secret "dG9wLXNlY3JldA=="; };');
  const problems = (section: string) => problemsOf(`acme: { ${ACME}, dns: { ${section} } }`).join('\n');
  expect(problems('')).toContain('PODGATE_CONFIG acme.dns: must have exactly one of update, exec and http');
  expect(problems('exec: { command: a }, resolvers: [ns.example.org]')).toContain(
    'acme.dns.resolvers[0]: must be an IP',
  );
  expect(problems('http: { url: "http://dns.test/", tokenFile: t }')).toContain('acme.dns.http.url: must be a URL');
  const said = problems('update: { server: "a b", keyFile: bad.key }');
  expect(said).toContain('acme.dns.update.server: must be a host name');
  expect(said).toContain('acme.dns.update.keyFile: the file must contain one key as written by tsig-keygen');
  expect(said).not.toContain('dG9w');
});
