import { execFile } from 'node:child_process';
import { constants, randomBytes } from 'node:crypto';
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
  it('are resumed in every worker with the same keys, and in none with different keys', async () => {
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

  it('survive one change of the keys, but not a second', async () => {
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

  it('of one name are not resumed under another, even with a certificate for both', async () => {
    const { port } = await echo();
    const names = ['one.pods.localhost', 'two.pods.localhost'] as const;
    const routes = names.map((name) => runningRoute(name, port));
    const ticketKeys = [newKey()];
    const [worker, other] = [await start({ routes, ticketKeys }), await start({ routes, ticketKeys })];
    // Node's client does not offer a session to another name; Python's does what it is told.
    const asked = await promisify(execFile)('python3', [
      '-c',
      RESUME,
      `${worker.httpsPort}`,
      `${other.httpsPort}`,
      ...names,
    ]);
    expect(asked.stdout.trim().split('\n')).toEqual([
      ...['TLSv1_2 one True', 'TLSv1_2 two False', 'TLSv1_2 one True', 'TLSv1_2 two False'],
      ...['TLSv1_3 one True', 'TLSv1_3 two False', 'TLSv1_3 one True', 'TLSv1_3 two False'],
    ]);
  });

  it('are not resumed by session ID alone', async () => {
    const routes = [runningRoute('echo.pods.localhost', (await echo()).port)];
    const worker = await start({ routes });
    const options = { maxVersion: 'TLSv1.2', secureOptions: constants.SSL_OP_NO_TICKET } as const;
    const client = await worker.connect('echo.pods.localhost', options);
    const session = await sessionOf(client, 'TLSv1.2');
    const again = await worker.connect('echo.pods.localhost', { ...options, session });
    expect([await echoes(again), again.isSessionReused()]).toEqual([true, false]);
    again.destroy();
  });

  it('continue indefinitely for a TLS 1.3 client that uses each ticket once, on any worker', async () => {
    const routes = [runningRoute('echo.pods.localhost', (await echo()).port)];
    const ticketKeys = [newKey()];
    const workers = [await start({ routes, ticketKeys }), await start({ routes, ticketKeys })] as const;
    const tickets: Buffer[] = [];
    for (let visit = 0; visit <= 20; visit++) {
      const session = tickets.shift();
      const client = await workers[visit % 2 === 0 ? 0 : 1].connect(
        'echo.pods.localhost',
        session === undefined ? {} : { session },
      );
      client.on('session', (ticket) => tickets.push(ticket));
      expect([await echoes(client), client.isSessionReused()]).toEqual([true, visit > 0]);
      // What comes before the next word came with the handshake.
      await echoes(client);
      client.destroy();
      expect(tickets.length).toBeGreaterThan(0);
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

/** Opens a session under the first name, and offers it under both, at each of two workers. */
const RESUME = `
import socket, ssl, sys
ports, names = sys.argv[1:3], sys.argv[3:5]
for version in ('TLSv1_2', 'TLSv1_3'):
    context = ssl._create_unverified_context()
    context.minimum_version = context.maximum_version = getattr(ssl.TLSVersion, version)
    def visit(port, name, session=None):
        with context.wrap_socket(socket.create_connection(('127.0.0.1', int(port))), server_hostname=name, session=session) as s:
            s.sendall(b'x')
            s.recv(1)
            return s.session_reused, s.session
    _, session = visit(ports[0], names[0])
    for port in ports:
        for name in names: print(version, name.split('.')[0], visit(port, name, session)[0])
`;

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
