import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import postgres from 'postgres';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { until } from '../../support/until.ts';
import { makeCertificate } from './support/certificate.ts';
import { route, runningRoute, startGateway, type GatewayFixture } from './support/gateway-fixture.ts';
import { startPostgres, type PostgresServer } from './support/postgres-server.ts';
import { openPlain, readAndEnd } from './support/streams.ts';

const HOST = 'mypg.pods.localhost';
const certificate = makeCertificate(['localhost', '*.pods.localhost']);

function startupMessage(): Buffer {
  const bytes = Buffer.from(`\0\0\0\0\0\u0003\0\0user\0poduser\0database\0postgres\0\0`, 'latin1');
  bytes.writeUInt32BE(bytes.length, 0);
  return bytes;
}

interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

describe('a postgres stanza', () => {
  let server: PostgresServer;
  let fixture: GatewayFixture;
  let dir: string;

  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), 'podgate-psql-'));
    writeFileSync(join(dir, 'ca.pem'), certificate.certificatePem);
    server = await startPostgres();
    fixture = await startGateway({
      certificate,
      routes: [
        runningRoute(HOST, server.port, { protocol: 'postgres' }),
        runningRoute('tcppg.pods.localhost', server.port, { protocol: 'tcp' }),
        runningRoute('web.pods.localhost', 1, { protocol: 'http' }),
        runningRoute('fenced.pods.localhost', server.port, { protocol: 'postgres', ipAllowList: ['192.0.2.0/24'] }),
        route('off.pods.localhost', { protocol: 'postgres', status: 'STOPPED' }),
        route('soon.pods.localhost', { protocol: 'postgres', status: 'CREATING_CONTAINER' }),
      ],
    });
  });
  afterAll(async () => {
    await fixture.stop();
    await server.stop();
    rmSync(dir, { recursive: true });
  });

  function connection(host: string, more = ''): string {
    return (
      `host=${host} hostaddr=127.0.0.1 port=${fixture.httpsPort} user=${server.user} dbname=postgres connect_timeout=10 ` +
      `sslmode=verify-full sslrootcert=${join(dir, 'ca.pem')} ${more}`
    );
  }

  function run(program: string, args: readonly string[], input = ''): Promise<Outcome> {
    return new Promise((resolve) => {
      const env = { PATH: process.env['PATH'] ?? '', PGPASSWORD: server.password, HOME: dir };
      const child = execFile(
        program,
        args,
        { env, timeout: 30_000, maxBuffer: 64 * 1024 * 1024 },
        (error, stdout, stderr) => {
          resolve({ code: typeof error?.code === 'number' ? error.code : error === null ? 0 : -1, stdout, stderr });
        },
      );
      child.stdin?.end(input);
    });
  }

  const psql = (conninfo: string, sql: string): Promise<Outcome> => run('psql', ['-X', '-At', conninfo, '-c', sql]);

  it('lets psql run SQL over verify-full with a SCRAM password', async () => {
    expect(await psql(connection(HOST), 'select 6 * 7')).toEqual({ code: 0, stdout: '42\n', stderr: '' });
  });

  it('transfers large results, and COPY in both directions', async () => {
    const result = await psql(connection(HOST), "select length(repeat('x', 50000000)), md5(repeat('x', 50000000))");
    expect(result.stdout).toMatch(/^50000000\|[0-9a-f]{32}\n$/);
    const rows = await psql(connection(HOST), 'select i from generate_series(1, 300000) i');
    expect(rows.stdout.split('\n')).toHaveLength(300_001);
    const copied = await run(
      'psql',
      ['-X', '-At', connection(HOST)],
      [
        'create temp table copied (line text);',
        'copy copied from stdin;',
        ...rows.stdout.trimEnd().split('\n'),
        '\\.',
        'copy (select sum(line::bigint) from copied) to stdout;\n',
      ].join('\n'),
    );
    expect(copied.stdout).toContain('45000150000');
  });

  it.each(['prefer', 'disable'])('works with channel_binding=%s', async (binding) => {
    const result = await psql(connection(HOST, `channel_binding=${binding}`), 'select 1');
    expect(result).toMatchObject({ code: 0, stdout: '1\n' });
  });

  it('serves npm pg and npm postgres', async () => {
    const client = new pg.Client({
      host: '127.0.0.1',
      port: fixture.httpsPort,
      user: server.user,
      password: server.password,
      database: 'postgres',
      ssl: { ca: certificate.certificatePem, servername: HOST },
    });
    await client.connect();
    expect((await client.query<{ answer: number }>('select 42 as answer')).rows).toEqual([{ answer: 42 }]);
    await client.end();

    const sql = postgres({
      host: '127.0.0.1',
      port: fixture.httpsPort,
      user: server.user,
      password: server.password,
      database: 'postgres',
      max: 2,
      ssl: { ca: certificate.certificatePem, servername: HOST },
    });
    expect(await sql`select 42 as answer`).toEqual([{ answer: 42 }]);
    await sql.end();
  });

  it('accepts direct TLS with ALPN postgresql', async () => {
    const client = await fixture.connect(HOST, { ALPNProtocols: ['postgresql'] });
    client.write(startupMessage());
    const [answer] = (await once(client, 'data')) as [Buffer];
    // AuthenticationSASL, of the server itself.
    expect(answer.subarray(0, 1).toString()).toBe('R');
    expect(answer.readUInt32BE(5)).toBe(10);
    client.destroy();
    const stranger = await fixture.connect('nobody.pods.localhost', { ALPNProtocols: ['postgresql'] });
    stranger.write(startupMessage());
    expect(String(await readAndEnd(stranger))).toMatch(/^E.*C3D000/s);
  });

  it('is not reached by packets other than a StartupMessage', async () => {
    const before = fixture.gateway.counters.sessions;
    for (const hex of ['0000000804d2162f', '0000000800030000', '0000ffff00030000', '160301']) {
      const client = await fixture.connect(HOST);
      client.write(Buffer.from(hex, 'hex'));
      expect(await readAndEnd(client)).toHaveLength(0);
    }
    expect(fixture.gateway.counters.sessions).toBe(before);
    expect(fixture.gateway.counters.closed['malformed-startup']).toBe(4);
  });

  it('can be reached behind a tcp stanza, too', async () => {
    expect(await psql(connection('tcppg.pods.localhost'), 'select 1')).toMatchObject({ code: 0, stdout: '1\n' });
  });

  it.each([
    ['nobody.pods.localhost', 'FATAL:  No pod has the host name nobody.pods.localhost.', 2],
    ['web.pods.localhost', 'FATAL:  The pod at web.pods.localhost does not speak the Postgres protocol.', 2],
    ['localhost', 'FATAL:  No pod has the host name localhost.', 2],
    ['fenced.pods.localhost', 'FATAL:  Your address may not connect to this pod.', 2],
    ['off.pods.localhost', 'FATAL:  Pod off is not running: its status is STOPPED.', 2],
    ['soon.pods.localhost', 'FATAL:  Pod soon is starting: its status is CREATING_CONTAINER.', 2],
  ])('explains to psql why %s is refused', async (host, message, code) => {
    const result = await psql(connection(host), 'select 1');
    expect(result.stderr).toContain(message);
    expect(result.stderr).toMatch(/DETAIL: +Request id: \S+\.\n/);
    expect(result.stderr).toMatch(/HINT: +\S/);
    expect(result.code).toBe(code);
  });

  it('makes pg_isready report "rejecting" for a stopped pod, and a libpq with two hosts try the next', async () => {
    const ready = await run('pg_isready', ['-d', connection('off.pods.localhost')]);
    expect(ready).toMatchObject({ code: 1 });
    expect(ready.stdout).toContain('rejecting connections');
    const both = connection(`off.pods.localhost,${HOST}`).replace('hostaddr=127.0.0.1', 'hostaddr=127.0.0.1,127.0.0.1');
    expect(await psql(both, 'select 1')).toMatchObject({ code: 0, stdout: '1\n' });
  });

  it('explains a missing server name with SQLSTATE 3D000 and a hint', async () => {
    const result = await psql(connection('127.0.0.1').replace('verify-full', 'verify-ca'), 'select 1');
    expect(result.stderr).toContain('FATAL:  No server name was given.');
    expect(result.stderr).toContain('(SNI)');
  });

  it('explains plaintext with a hint at sslmode=require', async () => {
    const result = await psql(connection(HOST).replace('sslmode=verify-full', 'sslmode=disable'), 'select 1');
    expect(result.stderr).toContain('FATAL:  This port accepts TLS only.');
    expect(result.stderr).toContain('sslmode=require');
  });

  it('explains itself to a browser at the wrong name', async () => {
    const client = await fixture.connect(HOST);
    client.end(`GET / HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`);
    const page = String(await readAndEnd(client));
    expect(page).toMatch(/^HTTP\/1.1 421 /);
    expect(page).toContain('belongs to a Postgres database');
  });

  it('rejects bytes sent before the reply to SSLRequest', async () => {
    const before = fixture.gateway.counters.closed['early-bytes'];
    const socket = await openPlain(fixture.httpsPort);
    socket.write(Buffer.concat([Buffer.from('0000000804d2162f', 'hex'), Buffer.from('early')]));
    expect(await readAndEnd(socket)).toHaveLength(0);
    expect(fixture.gateway.counters.closed['early-bytes']).toBe(before + 1);
  });

  it('replies N to GSSENCRequest once, and continues with SSLRequest', async () => {
    const socket = await openPlain(fixture.httpsPort);
    let answers = '';
    socket.on('data', (data: Buffer) => (answers += data.toString('latin1')));
    socket.write(Buffer.from('0000000804d21630', 'hex'));
    await until('N', () => answers === 'N');
    socket.write(Buffer.from('0000000804d2162f', 'hex'));
    await until('S', () => answers === 'NS');
    expect(answers).toBe('NS');
    socket.destroy();

    const twice = await openPlain(fixture.httpsPort);
    twice.write(Buffer.from('0000000804d216300000000804d21630', 'hex'));
    expect(String(await readAndEnd(twice))).toBe('N');
  });

  it('closes a CancelRequest silently and counts it', async () => {
    const before = fixture.gateway.counters.closed['cancel-request'];
    const socket = await openPlain(fixture.httpsPort);
    socket.write(Buffer.from('0000001004d2162e0000000100000002', 'hex'));
    expect(await readAndEnd(socket)).toHaveLength(0);
    expect(fixture.gateway.counters.closed['cancel-request']).toBe(before + 1);
  });

  it('keeps running sessions when their route stops, and refuses new ones', async () => {
    const client = new pg.Client({
      host: '127.0.0.1',
      port: fixture.httpsPort,
      user: server.user,
      password: server.password,
      database: 'postgres',
      ssl: { ca: certificate.certificatePem, servername: HOST },
    });
    await client.connect();
    fixture.feed.change([route(HOST, { protocol: 'postgres', status: 'SHUTTING_DOWN' })]);
    await until('the route has no backend', () => fixture.gateway.table.get(HOST)?.backend === null);
    expect((await psql(connection(HOST), 'select 1')).stderr).toContain('SHUTTING_DOWN');
    expect((await client.query('select 1')).rowCount).toBe(1);
    fixture.feed.change([], [HOST]);
    await until('the route is gone', () => fixture.gateway.table.get(HOST) === undefined);
    expect((await client.query('select 1')).rowCount).toBe(1);
    await client.end();
    fixture.feed.change([runningRoute(HOST, server.port, { protocol: 'postgres' })]);
    await until('the route is back', () => fixture.gateway.table.get(HOST) !== undefined);
    await until('no connection is left', () => fixture.gateway.activeConnections() === 0);
  });
});
