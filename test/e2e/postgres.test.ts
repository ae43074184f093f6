import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { Client } from 'pg';
import postgres from 'postgres';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Program } from '../support/program.ts';
import { run } from '../support/run.ts';
import { until } from '../support/until.ts';

const HOST = 'mypg.pods.localhost';
let program: Program;
let user: string;
let password: string;

beforeAll(async () => {
  program = await Program.start();
  await program.createPod({ pod_id: 'mypg', pod_template: 'postgres' });
  const { body } = await program.get('/v3/pods/mypg/credentials');
  ({ user_username: user, user_password: password } = body.result as { user_username: string; user_password: string });
});
afterAll(async () => {
  await program.dispose();
});

const conninfo = () =>
  `host=${HOST} hostaddr=127.0.0.1 port=${program.httpsPort} sslmode=verify-full sslrootcert=${program.caPath} user=${user} dbname=postgres`;
const psql = (sql: string, env: Record<string, string> = {}) =>
  run('psql', [conninfo(), '-XAtq', '-v', 'ON_ERROR_STOP=1', '-c', sql], { env: { PGPASSWORD: password, ...env } });

test('psql runs SQL through the gateway, verifying the certificate in full', async () => {
  const answer = await psql('select 6 * 7, current_user');
  expect(answer).toMatchObject({ code: 0, stdout: `42|${user}\n`, stderr: '' });
});

test('Postgres itself rejects a wrong password', async () => {
  const answer = await psql('select 1', { PGPASSWORD: 'wrong' });
  expect(answer.code).toBe(2);
  expect(answer.stderr).toContain('password authentication failed');
});

test('npm pg and npm postgres run SQL', async () => {
  const ssl = { ca: program.ca, servername: HOST };
  const client = new Client({ host: '127.0.0.1', port: program.httpsPort, user, password, database: 'postgres', ssl });
  await client.connect();
  expect((await client.query('select $1::int + 1 as sum', [41])).rows).toEqual([{ sum: 42 }]);
  await client.end();
  const sql = postgres({
    host: '127.0.0.1',
    port: program.httpsPort,
    user,
    password,
    database: 'postgres',
    ssl,
    max: 2,
  });
  expect([...(await sql`select ${'text'} as echo`)]).toEqual([{ echo: 'text' }]);
  await sql.end();
});

/** psql, interrupted as by Ctrl-C while its statement runs. */
async function interruptPsql(round: number): Promise<{ stderr: string; tookMs: number }> {
  const sql = `select pg_sleep(30), ${round}`;
  const child = spawn('psql', [conninfo(), '-XAtq', '-c', sql], {
    env: { ...process.env, PGPASSWORD: password },
    stdio: ['ignore', 'ignore', 'pipe'],
    timeout: 20_000,
  });
  let stderr = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  const closed = once(child, 'close');
  const find = `select count(*) from pg_stat_activity where query = '${sql}' and state = 'active'`;
  await until('the statement runs', async () => (await psql(find)).stdout === '1\n');
  const sinceMs = performance.now();
  child.kill('SIGINT');
  await closed;
  return { stderr, tookMs: performance.now() - sinceMs };
}

test('Ctrl-C in psql ends its statement within a second, on any worker', async () => {
  expect(program.children('worker')).toHaveLength(2);
  // The kernel picks the worker of each connection: that all twelve requests reach their session's own is one in 4,096.
  const rounds = Array.from({ length: 12 }, (_, round) => round);
  for (const round of rounds) {
    const { stderr, tookMs } = await interruptPsql(round);
    expect(stderr).toContain('canceling statement due to user request');
    expect(tookMs).toBeLessThan(1_000);
  }
});

test('pgbench fills tables and runs without losing anything', async () => {
  const seconds = process.env['PGBENCH_SECONDS'] ?? '10';
  const env = { PGPASSWORD: password };
  const init = await run('pgbench', ['-i', '-q', '-s', '2', conninfo()], { env });
  expect(init.code, init.stderr).toBe(0);
  const bench = await run('pgbench', ['-c', '4', '-T', seconds, conninfo()], { env, timeoutMs: 120_000 });
  expect(bench.code, bench.stderr).toBe(0);
  expect(bench.stdout).toMatch(/number of failed transactions: 0 /);
  const done = Number(/actually processed: (\d+)/.exec(bench.stdout)?.[1]);
  expect(done).toBeGreaterThan(0);
  // Every transaction it counted left one row, and the balances agree.
  const check =
    'select (select count(*) from pgbench_history), (select sum(abalance) from pgbench_accounts) = (select sum(delta) from pgbench_history)';
  expect((await psql(check)).stdout).toBe(`${done}|t\n`);
});

test('psql without TLS, or to an unknown pod, shows what to do', async () => {
  const plain = await run('psql', [conninfo().replace('verify-full', 'disable'), '-c', 'select 1'], {
    env: { PGPASSWORD: password },
  });
  expect(plain.stderr).toContain('FATAL');
  expect(plain.stderr).toContain('sslmode=require');
  const nobody = await run('psql', [conninfo().replace(HOST, 'nobody.pods.localhost'), '-c', 'select 1'], {
    env: { PGPASSWORD: password },
  });
  expect(nobody.stderr).toContain('No pod has the host name nobody.pods.localhost');
  expect(nobody.stderr).toContain('HINT');
});

test('a stopped Postgres pod explains itself to psql and pg_isready, and keeps its data until the next start', async () => {
  await psql('create table kept (n int); insert into kept values (7)');
  await program.get('/v3/pods/mypg/stop');
  await program.podStatus('mypg', 'STOPPED');
  const refused = await until('it says so', async () => {
    const { stderr } = await psql('select 1');
    return stderr.includes('STOPPED') ? stderr : null;
  });
  expect(refused).toContain('HINT:  Start it: GET');
  const ready = await run('pg_isready', ['-d', conninfo()]);
  expect(ready.code).toBe(1);
  expect(ready.stdout).toContain('rejecting connections');
  expect((await program.get('/v3/pods/mypg/start?wait=routable')).status).toBe(200);
  expect((await psql('select n from kept')).stdout).toBe('7\n');
});

test('npx podgate psql runs SQL with the credentials of the pod', async () => {
  const env = {
    PODGATE_DATA_DIR: program.dataDir,
    PODGATE_CONTROL_PORT: String(program.controlPort),
    PODGATE_HTTPS_PORT: String(program.httpsPort),
  };
  const answer = await run('npx', ['podgate', 'psql', 'mypg', '-XAtq', '-c', 'select 40 + 2'], { env });
  expect(answer.stdout).toBe('42\n');
  expect(answer.code).toBe(0);
});
