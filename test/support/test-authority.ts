import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';

/** A CA made for one test, and a certificate it signed. All PEM. */
export interface TestAuthority {
  readonly ca: string;
  readonly certificate: string;
  readonly key: string;
}

const run = promisify(execFile);
const NEW_KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];

/** Made by the openssl program, not by certs/: what is tested here must not depend on the program's own certificates. */
export async function createTestAuthority(dnsNames: readonly string[]): Promise<TestAuthority> {
  const directory = await mkdtemp(path.join(os.tmpdir(), 'podgate-ca-'));
  const file = (name: string) => path.join(directory, name);
  try {
    const ca = [
      '-x509',
      '-keyout',
      file('ca.key'),
      '-out',
      file('ca.pem'),
      '-days',
      '1',
      '-subj',
      '/CN=Test authority',
    ];
    await run('openssl', ['req', ...NEW_KEY, ...ca]);
    await run('openssl', ['req', ...NEW_KEY, '-keyout', file('key.pem'), '-out', file('csr.pem'), '-subj', '/CN=Test']);
    await writeFile(file('names'), `subjectAltName=${dnsNames.map((name) => `DNS:${name}`).join(',')}\n`);
    const signer = ['-CA', file('ca.pem'), '-CAkey', file('ca.key'), '-CAcreateserial', '-days', '1'];
    const signed = ['-in', file('csr.pem'), '-out', file('cert.pem'), '-extfile', file('names')];
    await run('openssl', ['x509', '-req', ...signer, ...signed]);
    return {
      ca: await readFile(file('ca.pem'), 'utf8'),
      certificate: await readFile(file('cert.pem'), 'utf8'),
      key: await readFile(file('key.pem'), 'utf8'),
    };
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}
