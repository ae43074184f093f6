import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TLSSocket } from 'node:tls';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';
import { until } from '../../../support/until.ts';
import type { GatewayFixture } from '../support/gateway-fixture.ts';
import { runningRoute } from '../support/gateway-fixture.ts';
import { certificate, createStage, echoes } from '../support/stage.ts';

const { start, echo } = createStage();
const VERSIONS = ['TLSv1.2', 'TLSv1.3'] as const;
type Version = (typeof VERSIONS)[number];

const newKey = (): string => randomBytes(48).toString('base64');

/** What the client keeps of a session: in TLS 1.3 its ticket comes after the handshake. */
async function sessionOf(client: TLSSocket, version: Version): Promise<Buffer> {
  const ticket = version === 'TLSv1.3' ? (once(client, 'session') as Promise<[Buffer]>) : null;
  await echoes(client);
  const session = ticket === null ? client.getSession() : (await ticket)[0];
  client.destroy();
  if (session === undefined) throw new Error('no session');
  return session;
}

async function isResumed(worker: GatewayFixture, host: string, session: Buffer, maxVersion: Version): Promise<boolean> {
  const client = await worker.connect(host, { session, maxVersion });
  // Also one that is not resumed has to work.
  expect(await echoes(client)).toBe(true);
  const isReused = client.isSessionReused();
  client.destroy();
  return isReused;
}

describe('TLS sessions', () => {
  it('are resumed in every worker with the same keys, and in none with others', async () => {
    const routes = [runningRoute('echo.pods.localhost', (await echo()).port)];
    const ticketKeys = [newKey()];
    const one = await start({ routes, ticketKeys });
    const two = await start({ routes, ticketKeys });
    const stranger = await start({ routes });
    for (const version of VERSIONS) {
      const session = await sessionOf(await one.connect('echo.pods.localhost', { maxVersion: version }), version);
      for (const [worker, expected] of [
        [one, true],
        [two, true],
        [stranger, false],
      ] as const) {
        expect([version, await isResumed(worker, 'echo.pods.localhost', session, version)]).toEqual([
          version,
          expected,
        ]);
      }
    }
  });

  it('outlive one change of the keys, and no second', async () => {
    const routes = [runningRoute('echo.pods.localhost', (await echo()).port)];
    const [first, second, third] = [newKey(), newKey(), newKey()];
    const worker = await start({ routes, ticketKeys: [first, second] });
    const open = (maxVersion: Version): Promise<TLSSocket> => worker.connect('echo.pods.localhost', { maxVersion });
    const old = new Map<Version, Buffer>();
    for (const version of VERSIONS) old.set(version, await sessionOf(await open(version), version));
    const resumed = async (): Promise<readonly boolean[]> => {
      const answers: boolean[] = [];
      for (const [version, session] of old) {
        answers.push(await isResumed(worker, 'echo.pods.localhost', session, version));
      }
      return answers;
    };
    expect(await resumed()).toEqual([true, true]);
    worker.feed.send({ kind: 'ticket-keys', keys: [second, first, third] });
    expect(await resumed()).toEqual([true, true]);
    // New ones are sealed with the new key: another worker has that one alone.
    const other = await start({ routes, ticketKeys: [second] });
    let young = Buffer.alloc(0);
    await until('the new key seals', async () => {
      young = Buffer.from(await sessionOf(await open('TLSv1.3'), 'TLSv1.3'));
      return isResumed(other, 'echo.pods.localhost', young, 'TLSv1.3');
    });
    worker.feed.send({ kind: 'ticket-keys', keys: [third, second] });
    await until('the first key is forgotten', async () => (await resumed()).every((is) => !is));
    expect(await isResumed(worker, 'echo.pods.localhost', young, 'TLSv1.3')).toBe(true);
  });

  it('of one name are not resumed at another, though one certificate is for both', async () => {
    const { port } = await echo();
    const worker = await start({
      routes: [runningRoute('one.pods.localhost', port), runningRoute('two.pods.localhost', port)],
    });
    for (const version of VERSIONS) {
      const session = await sessionOf(await worker.connect('one.pods.localhost', { maxVersion: version }), version);
      expect(await isResumed(worker, 'two.pods.localhost', session, version)).toBe(false);
      expect(await isResumed(worker, 'one.pods.localhost', session, version)).toBe(true);
    }
  });

  it('are resumed by openssl', async () => {
    const routes = [runningRoute('web.pods.localhost', (await echo()).port)];
    const ticketKeys = [newKey()];
    const [one, two] = [await start({ routes, ticketKeys }), await start({ routes, ticketKeys })];
    const dir = await mkdtemp(join(tmpdir(), 'podgate-sessions-'));
    const root = join(dir, 'root.pem');
    await writeFile(root, certificate.certificatePem);
    for (const version of ['-tls1_2', '-tls1_3']) {
      const file = join(dir, `session${version}`);
      const ask = (port: number, option: string): Promise<string> =>
        sClient(
          ['-connect', `127.0.0.1:${port}`, '-servername', 'web.pods.localhost', version, '-CAfile', root],
          [...[option, file], '-verify_return_error'],
        );
      expect(await ask(one.httpsPort, '-sess_out')).toContain('New, TLSv1');
      expect(await ask(one.httpsPort, '-sess_in')).toContain('Reused, TLSv1');
      expect(await ask(two.httpsPort, '-sess_in')).toContain('Reused, TLSv1');
    }
    await rm(dir, { recursive: true });
  });
});

/** Says a word, and hears it: so the ticket of TLS 1.3 has come, too. */
async function sClient(target: readonly string[], options: readonly string[]): Promise<string> {
  const running = promisify(execFile)('openssl', ['s_client', ...target, ...options], { timeout: 30_000 });
  const { child } = running;
  let heard = '';
  child.stdout?.on('data', (text: string) => {
    heard += text;
    if (heard.endsWith('word\n')) child.stdin?.end('Q\n');
  });
  child.stdin?.write('word\n');
  return (await running).stdout;
}
