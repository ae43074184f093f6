import { spawn } from 'node:child_process';
import { once } from 'node:events';
import pg from 'pg';
import postgres from 'postgres';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { until } from '../../../support/until.ts';
import { route, runningRoute } from '../support/gateway-fixture.ts';
import { HOST, startPostgresStage, type PostgresStage } from '../support/postgres-stage.ts';
import { readAndEnd } from '../support/streams.ts';

const OPTIONS = `-c endpoint=${HOST}`;
let stage: PostgresStage;

beforeAll(async () => {
  stage = await startPostgresStage(({ port }) => [
    runningRoute('web.pods.localhost', port, { protocol: 'http' }),
    runningRoute('raw.pods.localhost', port, { protocol: 'tcp' }),
    runningRoute('own.pods.localhost', port, { protocol: 'postgres', tls: 'passthrough' }),
    runningRoute('strict.pods.localhost', port, { protocol: 'postgres', clientCa: 'PEM' }),
    runningRoute('fenced.pods.localhost', port, { protocol: 'postgres', ipAllowList: ['192.0.2.0/24'] }),
    route('off.pods.localhost', { protocol: 'postgres', status: 'STOPPED' }),
  ]);
});
afterAll(async () => {
  await stage.stop();
});

/** By address: libpq sends no server name then. The certificate is the default one, its root is the known one. */
const byAddress = (more: string): string =>
  `host=127.0.0.1 port=${stage.fixture.httpsPort} user=${stage.server.user} dbname=postgres connect_timeout=20 ` +
  `sslmode=verify-ca sslrootcert=${stage.caPath} ${more}`;

describe('psql without a server name', () => {
  it.each([
    `options='${OPTIONS}'`,
    `options='-cendpoint=${HOST}'`,
    `options='--endpoint=${HOST}'`,
    `user=${HOST}.poduser`,
    `user=MyPg.pods.localhost.poduser`,
    `sslmode=require options='${OPTIONS}'`,
  ])('names its pod by %s', async (more) => {
    expect(await stage.psql(byAddress(more), 'select current_user, 6 * 7')).toEqual({
      code: 0,
      stdout: 'poduser|42\n',
      stderr: '',
    });
  });

  it('names it by PGOPTIONS and by a URL', async () => {
    const env = { PGOPTIONS: OPTIONS };
    expect(await stage.psql(byAddress(''), 'select 1', env)).toMatchObject({ code: 0, stdout: '1\n' });
    const url = `postgresql://poduser@127.0.0.1:${stage.fixture.httpsPort}/postgres?sslmode=require&options=-c%20endpoint%3D${HOST}`;
    expect(await stage.psql(url, 'select 1')).toMatchObject({ code: 0, stdout: '1\n' });
  });

  it('keeps all its other options, with their escapes, and the server does not see the name', async () => {
    const options = String.raw`-c geqo=off ${OPTIONS} -c my.text=a\\ b\\\\\\ c --work_mem=5MB`;
    const sql = `select current_setting('geqo'), current_setting('my.text'), current_setting('work_mem'), current_setting('endpoint', true) is null`;
    const result = await stage.psql(byAddress(`options='${options}'`), sql);
    const direct = await stage.psql(stage.direct(`options='${options.replace(`${OPTIONS} `, '')}'`), sql);
    expect(result).toEqual(direct);
    expect(result.stdout).toMatch(/^off\|a b\\ c\|5MB\|t\n$/);
  });

  it('reaches the database of its user if it names none', async () => {
    await stage.psql(stage.direct(), 'create database poduser');
    const conninfo = byAddress(`user=${HOST}.poduser`).replace('dbname=postgres', '');
    expect(await stage.psql(conninfo, 'select current_database()')).toMatchObject({ code: 0, stdout: 'poduser\n' });
  });

  it('works with libpq 18, over direct TLS too, and with sslsni=0', async () => {
    const env = { LD_LIBRARY_PATH: stage.server.libraries };
    for (const more of ['', 'max_protocol_version=3.2', 'sslmode=require sslnegotiation=direct sslrootcert=/none']) {
      const result = await stage.psql(byAddress(`${more} options='${OPTIONS}'`), 'select 1', env);
      expect(result).toEqual({ code: 0, stdout: '1\n', stderr: '' });
    }
    const named = stage.conninfo(`sslsni=0 options='${OPTIONS}'`);
    expect(await stage.psql(named, 'select 1')).toMatchObject({ code: 0, stdout: '1\n' });
  });

  it('cancels its statement', async () => {
    const delivered = stage.fixture.gateway.counters.cancels.delivered;
    const stderr = await stage.interruptPsql(byAddress(`options='${OPTIONS}'`));
    expect(stderr).toContain('canceling statement due to user request');
    await until('it is counted', () => stage.fixture.gateway.counters.cancels.delivered === delivered + 1);
  });

  it.each([
    ['', 'No server name was given.', "options='-c endpoint=<host name>'"],
    ['user=first.last', 'No server name was given.', "'<host name>.<user>'"],
    [
      'user=typo.pods.localhost.poduser',
      'the user does not begin with the host name of a Postgres pod',
      "'<host name>.<user>'",
    ],
    [`options='${OPTIONS} ${OPTIONS}'`, 'More than one endpoint was given.', 'Give only one'],
    [`options='-c endpoint='`, 'The endpoint is not a host name.', "'-c endpoint=<host name>'"],
    [`options='-c endpoint=mypg'`, 'No pod has the host name mypg.', 'Check the name'],
    [`options='-c endpoint=localhost'`, 'No pod has the host name localhost.', 'Check the name'],
    [
      `options='-c endpoint=web.pods.localhost'`,
      'The pod at web.pods.localhost does not speak the Postgres protocol.',
      'Check the name',
    ],
    [
      `options='-c endpoint=raw.pods.localhost'`,
      'The pod at raw.pods.localhost does not speak the Postgres protocol.',
      'Check the name',
    ],
    ['user=web.pods.localhost.poduser', 'the user does not begin with the host name of a Postgres pod', 'SNI'],
    [`options='-c endpoint=own.pods.localhost'`, 'own.pods.localhost terminates TLS itself', 'SNI'],
    ['user=own.pods.localhost.poduser', 'own.pods.localhost terminates TLS itself', 'SNI'],
    [`options='-c endpoint=strict.pods.localhost'`, 'strict.pods.localhost requires client certificates', 'SNI'],
    [`options='-c endpoint=fenced.pods.localhost'`, 'Your address may not connect', 'ip_allow_list'],
    [`options='-c endpoint=off.pods.localhost'`, 'Pod off is not running: its status is STOPPED.', 'Start it: GET'],
  ])('shows why %j is refused', async (more, message, hint) => {
    const { code, stderr } = await stage.psql(byAddress(more), 'select 1');
    expect(stderr).toMatch(/FATAL: {2}.*\nDETAIL: {2}Request id: \S+\.\nHINT: {2}/);
    expect(stderr).toContain(message);
    expect(stderr.slice(stderr.indexOf('HINT'))).toContain(hint);
    expect(code).toBe(2);
  });
});

describe('a client with a server name', () => {
  it('has its options and its user parsed by the server only', async () => {
    const options = await stage.psql(stage.conninfo(`options='-c endpoint=web.pods.localhost'`), 'select 1');
    expect(options.stderr).toContain('unrecognized configuration parameter "endpoint"');
    const user = await stage.psql(stage.conninfo(`user=${HOST}.poduser`), 'select 1');
    expect(user.stderr).toContain(`password authentication failed for user "${HOST}.poduser"`);
  });
});

describe('other clients, connecting by address', () => {
  const ssl = () => ({ ca: stage.certificate.certificatePem, checkServerIdentity: () => undefined });
  const target = () => ({ host: '127.0.0.1', port: stage.fixture.httpsPort, password: stage.server.password });

  it('npm pg can name its pod in both ways', async () => {
    for (const more of [{ user: 'poduser', options: OPTIONS }, { user: `${HOST}.poduser` }]) {
      const client = new pg.Client({ ...target(), database: 'postgres', ssl: ssl(), ...more });
      await client.connect();
      expect((await client.query('select current_user')).rows).toEqual([{ current_user: 'poduser' }]);
      await client.end();
    }
  });

  it('npm postgres can name its pod in both ways', async () => {
    for (const more of [{ user: 'poduser', connection: { options: OPTIONS } }, { user: `${HOST}.poduser` }]) {
      const sql = postgres({ ...target(), database: 'postgres', ssl: ssl(), max: 2, ...more });
      expect([...(await sql`select current_user`)]).toEqual([{ current_user: 'poduser' }]);
      await sql.end();
    }
  });

  it('a client that sends an address as its server name is treated like one that sends none', async () => {
    // A real ClientHello of OpenSSL, whose `-servername` is whatever it is told.
    const startup = Buffer.from(`\0\0\0\0\0\x03\0\0user\0${HOST}.poduser\0database\0postgres\0\0`, 'latin1');
    startup.writeUInt32BE(startup.length, 0);
    const args = ['s_client', '-quiet', '-verify_quiet', '-connect', `127.0.0.1:${stage.fixture.httpsPort}`];
    const child = spawn('openssl', [...args, '-servername', '127.0.0.1', '-alpn', 'postgresql'], {
      stdio: ['pipe', 'pipe', 'ignore'],
    });
    child.stdin.write(startup);
    const [answer] = (await once(child.stdout, 'data')) as [Buffer];
    // AuthenticationSASL of the server.
    expect(answer.subarray(0, 1).toString()).toBe('R');
    const gone = once(child, 'close');
    child.kill();
    await gone;
  });

  it('the StartupMessage may arrive in pieces, with more bytes after it', async () => {
    const client = await stage.fixture.connect(null, { ALPNProtocols: ['postgresql'] });
    const startup = Buffer.from(
      `\0\0\0\0\0\x03\0\0user\0poduser\0options\0${OPTIONS}\0database\0postgres\0\0`,
      'latin1',
    );
    startup.writeUInt32BE(startup.length, 0);
    for (const byte of startup.subarray(0, -1)) client.write(Buffer.of(byte));
    // What is no SASLInitialResponse is refused by the server, which therefore got it.
    client.write(Buffer.concat([startup.subarray(-1), Buffer.from('Q\0\0\0\x05\0', 'latin1')]));
    expect(String(await readAndEnd(client))).toContain('expected SASL response');
    await until('no connection is left', () => stage.fixture.gateway.activeConnections() === 0);
  });

  it('an invalid StartupMessage is closed and counted', async () => {
    const before = stage.fixture.gateway.counters.closed['malformed-startup'];
    const client = await stage.fixture.connect(null, { ALPNProtocols: ['postgresql'] });
    client.write(Buffer.from('\0\0\0\x0e\0\x03\0\0user\0a', 'latin1'));
    expect(await readAndEnd(client)).toHaveLength(0);
    expect(stage.fixture.gateway.counters.closed['malformed-startup']).toBe(before + 1);
  });
});

describe('pg_isready', () => {
  const isReady = (conninfo: string) => stage.run('pg_isready', ['-d', conninfo]);

  it('reports "accepting" for a running pod, by name and by address', async () => {
    expect(await isReady(stage.conninfo())).toMatchObject({ code: 0 });
    expect(await isReady(byAddress(`options='${OPTIONS}'`))).toMatchObject({ code: 0 });
  });

  it.each(['off', 'nobody', 'web', 'fenced'])('reports "rejecting" for %s, by name and by address', async (pod) => {
    const host = `${pod}.pods.localhost`;
    for (const conninfo of [stage.conninfo(`host=${host}`), byAddress(`options='-c endpoint=${host}'`)]) {
      const { code, stdout } = await isReady(conninfo);
      expect(stdout).toContain('rejecting connections');
      expect(code).toBe(1);
    }
  });

  it('reports "rejecting" when nothing names a pod', async () => {
    expect(await isReady(byAddress(''))).toMatchObject({ code: 1 });
  });
});
