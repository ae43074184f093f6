import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import neo4j, { type Driver } from 'neo4j-driver';
import { afterAll, describe, expect, it } from 'vitest';
import { type ClientKeyPair, createClientAuthority } from '../../../support/client-authority.ts';
import { run } from '../../../support/run.ts';
import { route, runningRoute } from '../support/gateway-fixture.ts';
import { startNginx } from '../support/proxied-servers.ts';
import { certificate, createStage } from '../support/stage.ts';

const { start } = createStage();

const lab = createClientAuthority('Lab');
const dir = mkdtempSync(join(tmpdir(), 'podgate-clients-'));
const file = (name: string, text: string): string => {
  writeFileSync(join(dir, name), text);
  return join(dir, name);
};
const root = file('root.pem', certificate.certificatePem);
afterAll(() => {
  lab.remove();
  rmSync(dir, { recursive: true });
});

/** With and without a certificate, and with one that has expired: what each client is told. */
const alice = keptAs('alice', lab.issue('/CN=alice'));
const late = keptAs('late', lab.issue('/CN=late', { days: -1 }));

function keptAs(name: string, { cert, key }: ClientKeyPair): { readonly certfile: string; readonly keyfile: string } {
  return { certfile: file(`${name}.pem`, cert), keyfile: file(`${name}.key`, key) };
}

describe('clients with certificates', () => {
  it('curl is admitted, or gets the page', async () => {
    const pod = await startNginx();
    const { httpsPort } = await start({
      routes: [
        runningRoute('web.pods.localhost', pod.port, { protocol: 'http', clientCa: lab.ca, sendProxyProtocol: 'v2' }),
      ],
    });
    const curl = async (...more: readonly string[]): Promise<string> => {
      const target = [
        '--resolve',
        `web.pods.localhost:${httpsPort}:127.0.0.1`,
        `https://web.pods.localhost:${httpsPort}/`,
      ];
      const { stdout } = await run('curl', ['-sS', '-w', ' %{http_code}', '--cacert', root, ...more, ...target]);
      return stdout;
    };
    for (const version of ['--tls-max', '--tlsv1.3']) {
      const only = version === '--tls-max' ? ['--tls-max', '1.2'] : [version];
      expect(await curl(...only, '--cert', alice.certfile, '--key', alice.keyfile)).toMatch(
        /^127\.0\.0\.1 \d+ .* 200$/,
      );
      const refused = await curl(...only, '-H', 'Accept: application/json');
      expect(refused).toMatch(/ 403$/);
      expect(refused).toContain('your client sent none');
      expect(await curl(...only, '--cert', late.certfile, '--key', late.keyfile)).toContain('it has expired');
    }
    await pod.stop();
  });

  it('neo4j-driver is admitted to the pod, or gets the reason', async () => {
    const { httpsPort } = await start({
      routes: [route('graph.pods.localhost', { status: 'STOPPED', clientCa: lab.ca })],
    });
    const messageOf = async (pair: typeof alice | null): Promise<string> => {
      const driver: Driver = neo4j.driver(`bolt://graph.pods.localhost:${httpsPort}`, neo4j.auth.basic('neo4j', 'x'), {
        encrypted: 'ENCRYPTION_ON',
        trust: 'TRUST_CUSTOM_CA_SIGNED_CERTIFICATES',
        trustedCertificates: [root],
        maxTransactionRetryTime: 1,
        // Without a +s scheme the driver takes no plain certificate, but a provider of one.
        ...(pair !== null && {
          clientCertificate: neo4j.clientCertificateProviders.rotating({ initialCertificate: pair }),
        }),
      });
      const error = await driver.executeQuery('RETURN 1').then(
        () => new Error('it was let in'),
        (reason: unknown) => reason as Error & { code?: string },
      );
      await driver.close();
      return `${'code' in error ? (error.code ?? '') : ''} ${error.message}`;
    };
    // Past the certificate there is a pod that is stopped.
    expect(await messageOf(alice)).toMatch(/DatabaseUnavailable .*is not running/);
    expect(await messageOf(null)).toMatch(/Security\.Forbidden .*your client sent none/);
    expect(await messageOf(late)).toMatch(/Security\.Forbidden .*it has expired/);
  });
});
