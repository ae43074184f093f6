import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';
import { makeCertificate } from '../support/certificate.ts';
import { route, startGateway, type GatewayFixture } from '../support/gateway-fixture.ts';

const run = promisify(execFile);

/**
 * testssl takes a minute and a half for all it knows, for each way in. CI has what a change of ours could spoil; the
 * whole: PODGATE_TESTSSL=whole npx vitest run test/integration/proxy/tls/scanners.test.ts
 */
const IS_WHOLE = process.env['PODGATE_TESTSSL'] === 'whole';
const SCAN_MS = IS_WHOLE ? 900_000 : 240_000;
/** Ways in, with the sections of testssl that CI looks at: protocols, categories of ciphers, known attacks. */
const WAYS = [
  { name: 'https', host: 'web.pods.localhost', sslscan: [], testssl: [], sections: ['-p', '-U'] },
  {
    name: 'postgres',
    host: 'pg.pods.localhost',
    sslscan: ['--starttls-psql'],
    testssl: ['--starttls', 'postgres'],
    sections: ['-p', '-s'],
  },
] as const;

/** One that would be good on the Internet, but for its authority. */
function startScanned(): Promise<GatewayFixture> {
  return startGateway({
    certificate: makeCertificate(['*.pods.localhost'], {
      days: 80,
      extensions: ['crlDistributionPoints=URI:http://crl.pods.localhost/'],
    }),
    routes: [route('web.pods.localhost', { protocol: 'http' }), route('pg.pods.localhost', { protocol: 'postgres' })],
  });
}

describe('scanners of TLS servers', () => {
  it.each(WAYS)('sslscan finds only TLS 1.2 and 1.3, with strong ciphers, over $name', async (way) => {
    const gateway = await startScanned();
    const { stdout } = await run(
      'sslscan',
      [...way.sslscan, '--no-colour', '--show-client-cas', `--sni-name=${way.host}`, `127.0.0.1:${gateway.httpsPort}`],
      { timeout: SCAN_MS },
    );
    await gateway.stop();
    const enabled = [...stdout.matchAll(/^(\S+)\s+enabled$/gm)].map(([, protocol]) => protocol);
    expect(enabled).toEqual(['TLSv1.2', 'TLSv1.3']);
    const ciphers = [...stdout.matchAll(/^(?:Preferred|Accepted)\s+(\S+)\s+(\d+) bits\s+(\S+)/gm)];
    expect(ciphers.length).toBeGreaterThanOrEqual(6);
    for (const [line, , bits, cipher] of ciphers) {
      expect(Number(bits), line).toBeGreaterThanOrEqual(128);
      expect(cipher, line).toMatch(/^(TLS_|ECDHE-).*(GCM|CHACHA20)/);
    }
    expect(stdout).toContain('Server supports TLS Fallback SCSV');
    expect(stdout).toContain('Session renegotiation not supported');
    expect(stdout).not.toMatch(/^TLSv\S+ vulnerable to heartbleed/m);
  });

  it.each(WAYS)(
    'testssl finds nothing above LOW over $name',
    async (way) => {
      const gateway = await startScanned();
      const dir = await mkdtemp(join(tmpdir(), 'podgate-testssl-'));
      const [root, findings] = [join(dir, 'root.pem'), join(dir, 'findings.json')];
      await writeFile(root, gateway.certificate.certificatePem);
      // Its exit code counts findings of any severity.
      await run(
        'testssl',
        [
          ...['--quiet', '--color', '0', '--warnings', 'off', '--ip', '127.0.0.1', '--add-ca', root],
          ...['--jsonfile', findings, ...way.testssl, ...(IS_WHOLE ? [] : way.sections)],
          `${way.host}:${gateway.httpsPort}`,
        ],
        { timeout: SCAN_MS },
      ).catch(() => undefined);
      await gateway.stop();
      const found = JSON.parse(await readFile(findings, 'utf8')) as readonly {
        readonly id: string;
        readonly severity: string;
        readonly finding: string;
      }[];
      // It has looked: a scan that broke off finds nothing either.
      expect(found.find(({ id }) => id === 'TLS1_3')?.finding).toMatch(/^offered/);
      expect(found.length).toBeGreaterThan(15);
      const bad = found.filter(({ severity }) => ['MEDIUM', 'HIGH', 'CRITICAL', 'FATAL'].includes(severity));
      expect(bad).toEqual([]);
      await rm(dir, { recursive: true });
    },
    SCAN_MS + 30_000,
  );
});
