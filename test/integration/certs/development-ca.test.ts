import { X509Certificate } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect, type TLSSocket } from 'node:tls';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type DevelopmentCa, openDevelopmentCa } from '../../../certs/development-ca.ts';
import { openAuthority } from '../../../certs/development-authority.ts';
import { signLeaf } from '../../../certs/development-leaf.ts';
import type { Certificate } from '../../../core/certificates.ts';
import type { Clock } from '../../../core/clock.ts';
import { run } from '../../support/run.ts';
import { silentLog } from '../../support/silent-log.ts';
import { until } from '../../support/until.ts';

const DAY_MS = 24 * 60 * 60_000;
const NAMES = ['localhost', '*.pods.localhost'];

let dir: string;
let nowMs: number;
const clock: Clock = { now: () => nowMs, monotonicMs: () => performance.now() };
const never = new AbortController().signal;
const open = (baseHosts: readonly string[] = ['localhost']): Promise<DevelopmentCa> =>
  openDevelopmentCa({ dir, baseHosts, clock, log: silentLog });

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'podgate-ca-'));
  nowMs = Date.now();
});
afterEach(() => {
  rmSync(dir, { recursive: true, force: true });
});

async function serving<T>(certificate: Certificate, use: (port: number) => Promise<T>): Promise<T> {
  const server: Server = createServer(
    { cert: certificate.certificatePem, key: certificate.privateKeyPem },
    (_request, response) => response.end('served'),
  );
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  try {
    return await use((server.address() as AddressInfo).port);
  } finally {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
}

function handshake(port: number, servername: string): Promise<string> {
  return new Promise((resolve) => {
    const socket: TLSSocket = connect(
      { host: '127.0.0.1', port, servername, ca: readFileSync(join(dir, 'ca.pem')) },
      () => {
        resolve(socket.authorized ? 'trusted' : 'not trusted');
        socket.destroy();
      },
    );
    socket.on('error', (error: NodeJS.ErrnoException) => resolve(`${error.code ?? ''} ${error.message}`));
  });
}

async function opensslVerify(certificate: Certificate, host: string): Promise<{ code: number | null; said: string }> {
  writeFileSync(join(dir, 'leaf.pem'), certificate.certificatePem);
  const { code, stdout, stderr } = await run('openssl', [
    ...['verify', '-x509_strict', '-CAfile', join(dir, 'ca.pem'), '-verify_hostname', host, join(dir, 'leaf.pem')],
  ]);
  return { code, said: stdout + stderr };
}

describe('a certificate for the base host and its pods', () => {
  test('is trusted by openssl, strictly, under both names and under no other', async () => {
    const certificate = await (await open()).issue(NAMES, never);
    expect(await opensslVerify(certificate, 'localhost')).toMatchObject({ code: 0 });
    expect(await opensslVerify(certificate, 'mypg.pods.localhost')).toMatchObject({ code: 0 });
    expect(await opensslVerify(certificate, 'a.b.pods.localhost')).toMatchObject({ code: 2 });
  });

  test('is trusted by Node and by curl', async () => {
    const ca = await open();
    await serving(await ca.issue(NAMES, never), async (port) => {
      expect(await handshake(port, 'hello.pods.localhost')).toBe('trusted');
      expect(await handshake(port, 'example.org')).toContain('ERR_TLS_CERT_ALTNAME_INVALID');
      const url = `https://hello.pods.localhost:${port}/`;
      const answer = await run('curl', [
        '-sS',
        '--cacert',
        ca.caPath,
        '--resolve',
        `hello.pods.localhost:${port}:127.0.0.1`,
        url,
      ]);
      expect(answer).toMatchObject({ code: 0, stdout: 'served' });
    });
  });

  test('is valid for 90 days and has its own key', async () => {
    const ca = await open();
    const [one, two] = await Promise.all([ca.issue(NAMES, never), ca.issue(NAMES, never)]);
    const { validToDate, ca: isAuthority } = new X509Certificate(one.certificatePem);
    expect(Math.round((validToDate.getTime() - nowMs) / DAY_MS)).toBe(90);
    expect(isAuthority).toBe(false);
    expect(one.privateKeyPem).not.toBe(two.privateKeyPem);
  });
});

describe('the name constraints', () => {
  test.each(['example.org', 'localhost.example.org'])(
    'make a certificate for %s invalid, whoever signs it',
    async (host) => {
      // As a thief of the key would: past the check of issue().
      const authority = await openAuthority({ dir, baseHosts: ['localhost'], clock, log: silentLog });
      const forged = await signLeaf(authority, [host], nowMs);
      const verdict = await opensslVerify(forged, host);
      expect(verdict.code).toBe(2);
      expect(verdict.said).toContain('permitted subtree');
      await serving(forged, async (port) => {
        expect(await handshake(port, host)).toContain('permitted subtree violation');
      });
    },
  );

  test('are checked by issue() before anything is signed', async () => {
    const ca = await open();
    await expect(ca.issue(['localhost', 'example.org'], never)).rejects.toMatchObject({ code: 'config.invalid' });
    await expect(ca.issue([], never)).rejects.toMatchObject({ code: 'config.invalid' });
  });
});

describe('the authority', () => {
  const fingerprint = (): string => new X509Certificate(readFileSync(join(dir, 'ca.pem'))).fingerprint256;

  test('is created once, in two files that only this user can read', async () => {
    await open();
    const first = fingerprint();
    await open();
    expect(fingerprint()).toBe(first);
    for (const name of ['ca.pem', 'ca.key']) expect(statSync(join(dir, name)).mode & 0o777).toBe(0o600);
  });

  test('is created again when the base hosts change, when its files do not match, and before it expires', async () => {
    await open();
    const seen = new Set([fingerprint()]);
    await open(['localhost', 'pods.example.org']);
    seen.add(fingerprint());
    writeFileSync(join(dir, 'ca.key'), 'cut off');
    await open(['localhost', 'pods.example.org']);
    seen.add(fingerprint());
    nowMs += 8 * 365 * DAY_MS;
    await open(['localhost', 'pods.example.org']);
    seen.add(fingerprint());
    expect(seen.size).toBe(4);
  });
});

test('certificates are published at once, and again after two thirds of their lifetime', async () => {
  const ca = await openDevelopmentCa({ dir, baseHosts: ['localhost'], clock, log: silentLog, lookEveryMs: 5 });
  const ending = new AbortController();
  const published: (readonly Certificate[])[] = [];
  const running = ca.run((certificates) => published.push(certificates), ending.signal);
  await until('the first certificates', () => published.length === 1);
  expect(published[0]?.[0]?.names).toEqual(NAMES);
  nowMs += 59 * DAY_MS;
  await new Promise((resolve) => setTimeout(resolve, 50));
  expect(published).toHaveLength(1);
  nowMs += 2 * DAY_MS;
  await until('the renewed certificates', () => published.length === 2);
  ending.abort();
  await running;
});
