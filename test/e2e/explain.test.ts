import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect } from 'node:tls';
import { once } from 'node:events';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { podgateCommand } from '../support/podgate-command.ts';
import { Program } from '../support/program.ts';
import { run } from '../support/run.ts';

interface Finding {
  readonly level: string;
  readonly subject: string;
  readonly message: string;
  readonly remedy: string;
}
type Steps = Readonly<Record<'tls_ms' | 'route_ms' | 'dial_ms' | 'first_byte_ms' | 'total_ms', number | null>>;
interface Explanation {
  readonly summary: Finding;
  readonly stanzas: readonly {
    readonly stanza: string;
    readonly host: string;
    readonly findings: readonly Finding[];
    readonly certificate: { readonly names: readonly string[]; readonly not_after: string } | null;
    readonly client_reads: { readonly code: string; readonly message: string; readonly hint: string | null } | null;
    readonly attempt: (Omit<Steps, 'total_ms'> & { readonly request_id: string; readonly tcp_ms: number }) | null;
  }[];
  readonly connection: (Steps & { readonly request_id: string; readonly message: string | null }) | null;
}
type Recent = Steps & {
  readonly time: string;
  readonly request_id: string;
  readonly code: string | null;
  readonly end: string | null;
  readonly status: number | null;
  readonly protocol: string;
};

let program: Program;

beforeAll(async () => {
  program = await Program.start({ workers: 2 });
  await Promise.all([
    program.createPod({ pod_id: 'hello', pod_template: 'podgate/hello' }),
    program.createPod({ pod_id: 'mypg', pod_template: 'postgres' }),
    // A server that waits for its client, and one that lets nobody in.
    program.createPod({
      pod_id: 'echo',
      pod_template: 'podgate/process',
      command: ['python3', '-c', ECHO],
      networking: {
        default: { protocol: 'tcp', port: 7000 },
        closed: { protocol: 'tcp', port: 7001, ip_allow_list: ['192.0.2.0/24'] },
      },
    }),
  ]);
}, 120_000);
afterAll(() => program.dispose());

const ECHO = `
import os, socket, threading
def serve(port):
    s = socket.create_server(('127.0.0.1', int(port)))
    while True:
        c, _ = s.accept()
        threading.Thread(target=lambda: [c.sendall(b) for b in iter(lambda: c.recv(100), b'')], daemon=True).start()
ports = [v for k, v in os.environ.items() if k == 'PORT' or k.startswith('PORT_')]
for p in sorted(set(ports)): threading.Thread(target=serve, args=(p,)).start()
`;

async function explain(podId: string, query = ''): Promise<Explanation> {
  const { status, body } = await program.get(`/v3/pods/${podId}/explain${query}`);
  expect([status, body.message]).toEqual([200, 'Connections explained successfully.']);
  return body.result as Explanation;
}

async function recent(podId: string): Promise<readonly Recent[]> {
  const { body } = await program.get(`/v3/pods/${podId}/connections`);
  return (body.result as { recent: readonly Recent[] }).recent;
}

/** Over a connection of its own. */
function fetchPod(host: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const to = { host: '127.0.0.1', port: program.httpsPort, servername: host, ca: program.ca, agent: false };
    request({ ...to, headers: { host } }, (response) => {
      response.resume().once('end', () => resolve(response.statusCode ?? 0));
    })
      .once('error', reject)
      .end();
  });
}

test('a reachable pod: every finding is good, and the attempt has the times of all steps', async () => {
  const { summary, stanzas } = await explain('hello');
  expect(summary).toMatchObject({ level: 'ok', subject: 'attempt', message: 'The pod responds with status 200.' });
  const [stanza] = stanzas;
  expect(stanza?.findings.filter(({ level, subject }) => level !== 'ok' && subject !== 'name')).toEqual([]);
  expect(stanza?.findings.map(({ subject }) => subject)).toEqual(['pod', 'name', 'route', 'certificate', 'attempt']);
  expect(stanza?.certificate?.names).toContain('*.pods.localhost');
  expect(Date.parse(stanza?.certificate?.not_after ?? '')).toBeGreaterThan(Date.now());
  const { tcp_ms: tcp, tls_ms: tls, dial_ms: dial, first_byte_ms: firstByte } = stanza?.attempt ?? {};
  // Of the dial only where no kept connection to the pod was used.
  expect([tcp, tls, dial ?? 0, firstByte].every((ms) => (ms ?? -1) >= 0)).toBe(true);
  expect((await recent('hello'))[0]).toMatchObject({
    request_id: stanza?.attempt?.request_id,
    status: 200,
    code: null,
    protocol: 'http',
  });
});

test('Postgres and protocols in which the client speaks first are tried, too', async () => {
  const postgres = await explain('mypg');
  expect(postgres.summary.message).toBe('Postgres asks for user and password.');
  expect(postgres.stanzas[0]?.attempt).toMatchObject({
    route_ms: expect.any(Number) as number,
    dial_ms: expect.any(Number) as number,
  });
  const echo = await explain('echo', '?stanza=default');
  expect(echo.summary.message).toBe('The pod accepts the connection and waits for its client to speak first.');
  expect(echo.stanzas.map(({ stanza }) => stanza)).toEqual(['default']);
  expect(echo.stanzas[0]?.attempt?.dial_ms).toBeGreaterThanOrEqual(0);
});

test('an address is checked against the allow list; an attempt that the list rejects is not a failure of the pod', async () => {
  const listed = await explain('echo', '?stanza=closed&address=192.0.2.7');
  expect(listed.summary).toMatchObject({
    level: 'warn',
    message: 'The attempt comes from 127.0.0.1, which ip_allow_list does not admit: it ends there, as it should.',
  });
  expect(listed.stanzas[0]?.findings.find(({ subject }) => subject === 'address')).toMatchObject({ level: 'ok' });
  expect(listed.stanzas[0]?.client_reads).toMatchObject({
    code: 'route.forbidden',
    message: 'Your address may not connect to this pod.',
  });
  const other = await explain('echo', '?stanza=closed&address=198.51.100.7');
  expect(other.summary).toMatchObject({ level: 'fail', message: 'ip_allow_list does not admit 198.51.100.7.' });
});

test('a stopped pod: the client’s message, and what to do; its ID leads to the connection', async () => {
  await program.api('GET', '/v3/pods/mypg/stop');
  await program.podStatus('mypg', 'STOPPED');
  const { summary, stanzas } = await explain('mypg');
  expect(summary).toMatchObject({ level: 'fail', message: 'The status of pod mypg is STOPPED.' });
  expect(summary.remedy).toContain('podgate start mypg');
  expect(stanzas[0]?.client_reads).toMatchObject({
    code: 'route.stopped',
    message: 'Pod mypg is not running: its status is STOPPED.',
  });
  const psql = await run('psql', [
    `host=mypg.pods.localhost hostaddr=127.0.0.1 port=${program.httpsPort} sslmode=require user=me dbname=postgres`,
    '-c',
    'select 1',
  ]);
  const id = /HINT: .*podgate explain mypg --id ([\w-]+)/.exec(psql.stderr)?.[1] ?? psql.stderr;
  const told = await explain('mypg', `?request_id=${id}`);
  expect(told.summary).toMatchObject({ level: 'fail', message: 'Pod mypg is not running: its status is STOPPED.' });
  expect(told.connection).toMatchObject({ request_id: id, dial_ms: null, tls_ms: expect.any(Number) as number });
  const byCommand = await podgateCommand(program, ['explain', 'mypg.pods.localhost', `--id=${id}`]);
  expect(byCommand.code).toBe(1);
  expect(byCommand.stdout).toContain('Pod mypg is not running: its status is STOPPED.');
  expect(byCommand.stdout).toMatch(/TLS +#+ +\d+\.\d ms/);
});

test('the last 50 sessions and requests are listed, including an open session', async () => {
  const host = 'hello.pods.localhost';
  for (let number = 0; number < 55; number++) expect(await fetchPod(host)).toBe(200);
  const seen = await recent('hello');
  expect(new Set(seen.map(({ request_id: id }) => id)).size).toBe(50);
  expect(seen.map(({ time }) => time)).toEqual(
    seen
      .map(({ time }) => time)
      .toSorted()
      .toReversed(),
  );
  expect(seen[0]).toMatchObject({
    status: 200,
    code: null,
    tls_ms: expect.any(Number) as number,
    total_ms: expect.any(Number) as number,
  });
  const client = connect({
    ...{ host: '127.0.0.1', port: program.httpsPort, servername: 'echo.pods.localhost', ca: program.ca },
  });
  client.write('said');
  await once(client, 'data');
  const [session] = await recent('echo');
  expect(session).toMatchObject({
    end: null,
    total_ms: null,
    first_byte_ms: expect.any(Number) as number,
    protocol: 'tcp',
  });
  client.destroy();
  await once(client, 'close');
});

test('it needs USER, knows its stanzas, and is limited for each user', async () => {
  const { stdout } = await podgateCommand(program, ['token', '--user', 'reader']);
  const token = stdout.trim();
  await program.api('POST', '/v3/pods/hello/permissions', { user: 'reader', level: 'READ' });
  expect((await program.get('/v3/pods/hello/explain', token)).status).toBe(403);
  await program.api('POST', '/v3/pods/hello/permissions', { user: 'reader', level: 'USER' });
  expect((await program.get('/v3/pods/hello/explain?stanza=nope', token)).status).toBe(400);
  expect((await program.get('/v3/pods/hello/explain?address=nowhere', token)).status).toBe(400);
  const statuses: number[] = [];
  for (let number = 0; number < 15; number++) {
    statuses.push((await program.get('/v3/pods/hello/explain', token)).status);
  }
  expect(statuses.slice(0, 10)).toEqual(Array.from({ length: 10 }, () => 200));
  expect(statuses).toContain(429);
}, 60_000);

test('where the address of the attempt must send a PROXY header, it sends one without a client', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'podgate-explain-'));
  const file = join(directory, 'podgate.yaml');
  writeFileSync(file, 'proxyProtocol: {from: [127.0.0.1], policy: require}\n');
  const behind = await Program.start({ workers: 1, env: { PODGATE_CONFIG: file } });
  try {
    await behind.createPod({ pod_id: 'hello', pod_template: 'podgate/hello' });
    const { body } = await behind.get('/v3/pods/hello/explain');
    expect((body.result as Explanation).summary).toMatchObject({ level: 'ok', subject: 'attempt' });
  } finally {
    await behind.dispose();
    rmSync(directory, { recursive: true });
  }
}, 90_000);

test('podgate explain also checks from this machine, and reports it in text and JSON', async () => {
  const text = await podgateCommand(program, ['explain', 'hello']);
  expect(text.stderr).toBe('');
  expect(text.code).toBe(0);
  expect(text.stdout).toContain(`hello.pods.localhost, port ${program.httpsPort} (http)`);
  expect(text.stdout).toContain('is reached from here, with a certificate that');
  expect(text.stdout).toMatch(/TLS +#+ +\d+\.\d ms\n(?: {2}dial .*\n)? {2}first byte +#+ +\d+\.\d ms/);
  const json = await podgateCommand(program, ['explain', 'https://hello.pods.localhost/', '--json']);
  const { here, summary } = JSON.parse(json.stdout) as Explanation & { here: { findings: Finding[] }[] };
  expect(summary.level).toBe('ok');
  expect(here[0]?.findings.map(({ subject }) => subject)).toEqual(['name here', 'certificate here']);
});
