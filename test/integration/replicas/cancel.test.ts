import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer, type AddressInfo, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import createPostgres from 'postgres';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createCancelRelay } from '../../../control/workers/cancel-relay.ts';
import { serveFeed } from '../../../control/workers/feed-server.ts';
import { ServedCertificates } from '../../../control/workers/served-certificates.ts';
import { ControlRouteFeed } from '../../../control/routes/route-feed.ts';
import { openRedisDatabase, type RedisDatabase } from '../../../control/store/redis/redis-database.ts';
import { CANCEL_ANSWER_MS } from '../../../core/cancel-answer.ts';
import { podKey } from '../../../core/ids.ts';
import { podPut } from '../../../core/pod-put.ts';
import { createGateway } from '../../../proxy/gateway.ts';
import { DEFAULT_GATEWAY_LIMITS, type Gateway } from '../../../proxy/gateway-options.ts';
import { DEFAULT_HTTP_LIMITS } from '../../../proxy/protocols/http/http-protocol.ts';
import { cancelRequest } from '../../../proxy/protocols/postgres/cancel/cancel-request.ts';
import { preparedPgjdbc } from '../../../scripts/setup/cache.mjs';
import { run } from '../../support/run.ts';
import { podRecord, podSpec, workloadOf } from '../../support/pod-records.ts';
import { RedisServer } from '../../support/redis-server.ts';
import { until } from '../../support/until.ts';
import { cancelByLibpq } from '../proxy/support/cancel-by-libpq.ts';
import { raceCancels } from '../proxy/support/cancel-race.ts';
import { makeCertificate } from '../proxy/support/certificate.ts';
import { systemClock } from '../proxy/support/gateway-fixture.ts';
import { startPostgres, type PostgresServer } from '../proxy/support/postgres-server.ts';

const HOST = 'mypg.pods.localhost';
const CANCELLED = 'canceling statement due to user request';
const certificate = makeCertificate(['localhost', '*.pods.localhost']);
const networking = { default: { protocol: 'postgres', port: 5432, ipAllowList: [] } } as const;
const record = podRecord({ podId: 'mypg', spec: podSpec({ networking }) });

interface Replica {
  readonly database: RedisDatabase;
  readonly gateway: Gateway;
  readonly port: number;
}

let dir: string;
let redis: RedisServer;
let postgres: PostgresServer;
let one: Replica;
let two: Replica;
let three: Replica;
/** Straight to the server, past the gateways. */
let watcher: pg.Client;
const logged: string[] = [];
const note = (fields: object, message: string): void => void logged.push(JSON.stringify({ ...fields, message }));
const log = { debug: note, info: note, warn: note, error: note, child: () => log };
const stop = new AbortController();
const running: Promise<unknown>[] = [];
const relays: Server[] = [];

/** Three replicas with one worker each, on one Redis. */
beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'podgate-cancel-'));
  writeFileSync(join(dir, 'ca.pem'), certificate.certificatePem);
  [redis, postgres] = await Promise.all([RedisServer.start(), startPostgres()]);
  const credentials = { user: postgres.user, password: postgres.password, database: 'postgres' };
  // It takes connections before it is done with starting.
  watcher = await until('Postgres answers', async () => {
    const client = new pg.Client({ host: '127.0.0.1', port: postgres.port, ...credentials });
    await client.connect();
    return client;
  });
  one = await start('one');
  await one.database.store.commit({ puts: [podPut(record, 'absent')] });
  two = await start('two');
  three = await start('three');
  for (const { database, gateway } of [one, two, three]) {
    await until('it knows the others', () => database.replicas.live().length === 3);
    await until('it routes', () => (gateway.table.get(HOST)?.backend ?? null) !== null);
  }
});

afterAll(async () => {
  stop.abort();
  for (const relay of relays) relay.close();
  await watcher.end();
  await Promise.all(running);
  for (const { database } of [one, two, three]) database.close();
  await postgres.stop();
  await redis.dispose();
  rmSync(dir, { recursive: true });
});

async function start(replicaId: string): Promise<Replica> {
  const database = await openRedisDatabase({ url: redis.url, site: 'test', replicaId, log });
  const { store, replicas } = database;
  const feed = new ControlRouteFeed({ store, log, baseHostOf: () => 'localhost' });
  const certificates = new ServedCertificates(['files']);
  certificates.replace('files', [{ ...certificate, id: 'test', notAfterMs: Infinity }]);
  const feedSocketPath = join(dir, `${replicaId}.sock`);
  const cancels = createCancelRelay({ replicas, clock: systemClock });
  running.push(
    feed.run(stop.signal),
    replicas.run(stop.signal),
    serveFeed(
      { feed, certificates, path: feedSocketPath, epoch: replicaId, baseHosts: ['localhost'], log, cancels },
      stop.signal,
    ),
  );
  const addresses = { default: { address: '127.0.0.1', port: postgres.port, service: null } };
  feed.observed(podKey(record.tenant, record.podId), record.uid, workloadOf(record, { addresses }));
  feed.observationsComplete();
  const gateway = createGateway({
    worker: 1,
    feedSocketPath,
    apiSocketPath: join(dir, 'api.sock'),
    apiUrl: 'https://localhost:8443',
    publicHttpsPort: 8443,
    limits: { ...DEFAULT_GATEWAY_LIMITS, http: DEFAULT_HTTP_LIMITS },
    drainMs: 0,
    clock: systemClock,
    log,
  });
  running.push(gateway.run(stop.signal));
  await gateway.synchronized;
  const { port } = await gateway.listen('https', { host: '127.0.0.1', port: 0 });
  return { database, gateway, port };
}

/** A port whose first connection goes to one replica and every later one to another, as a load balancer may do it. */
async function balancer(first: Replica, later: Replica): Promise<number> {
  let count = 0;
  const listening = createServer({ allowHalfOpen: true }, (client) => {
    const { port } = count++ === 0 ? first : later;
    const upstream = connect({ host: '127.0.0.1', port, allowHalfOpen: true });
    client.pipe(upstream).pipe(client);
    client.on('error', () => upstream.destroy());
    upstream.on('error', () => client.destroy());
  });
  relays.push(listening);
  listening.listen(0, '127.0.0.1');
  await once(listening, 'listening');
  return (listening.address() as AddressInfo).port;
}

const conninfo = (port: number, more = ''): string =>
  `host=${HOST} hostaddr=127.0.0.1 port=${port} user=${postgres.user} dbname=postgres connect_timeout=10 ` +
  `sslmode=verify-full sslrootcert=${join(dir, 'ca.pem')} ${more}`;
const clientOptions = (port: number) => ({
  host: '127.0.0.1',
  port,
  user: postgres.user,
  password: postgres.password,
  database: 'postgres',
  ssl: { ca: certificate.certificatePem, servername: HOST },
});

async function runs(sql: string): Promise<boolean> {
  const text = `select 1 from pg_stat_activity where query = $1 and state = 'active'`;
  return (await watcher.query(text, [sql])).rowCount === 1;
}

test('Ctrl-C in psql works when the load balancer sends its cancel to another replica', async () => {
  const port = await balancer(one, two);
  const sql = 'select pg_sleep(30), 1';
  const child = spawn('psql', ['-X', '-At', conninfo(port), '-c', sql], {
    env: { PATH: process.env['PATH'] ?? '', PGPASSWORD: postgres.password, HOME: dir },
    stdio: ['ignore', 'ignore', 'pipe'],
    timeout: 20_000,
  });
  let stderr = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  const closed = once(child, 'close');
  await until(`the statement runs ${stderr}`, () => child.exitCode !== null || runs(sql));
  const sinceMs = performance.now();
  child.kill('SIGINT');
  await closed;
  expect(stderr).toContain(CANCELLED);
  expect(performance.now() - sinceMs).toBeLessThan(5_000);
  expect([one.gateway.counters.cancels.delivered, two.gateway.counters.cancels.delivered]).toEqual([1, 0]);
});

test.each([
  ['encrypted', '3.0'],
  ['encrypted', '3.2'],
  ['plain', '3.0'],
  ['plain', '3.2'],
] as const)('it also works for libpq 18, %s, with protocol %s', async (way, version) => {
  const port = await balancer(one, two);
  const sql = `select pg_sleep(30), '${way} ${version}'`;
  const before = [one.gateway.counters.cancels.delivered, two.gateway.counters.cancels.unknown];
  const said = await cancelByLibpq({
    libraries: postgres.libraries,
    conninfo: conninfo(port, `max_protocol_version=${version}`),
    password: postgres.password,
    sql,
    way,
    isRunning: () => runs(sql),
  });
  expect(said).toBe(`ERROR:  ${CANCELLED}\n`);
  const after = [one.gateway.counters.cancels.delivered, two.gateway.counters.cancels.unknown];
  expect(after).toEqual(before.map((count) => count + 1));
});

test.each(['encrypted', 'plain'] as const)(
  'the end of a cancel, %s, comes after its signal: no later statement is hit',
  async (way) => {
    const delivered = one.gateway.counters.cancels.delivered;
    const tries = 100;
    const { own, later } = await raceCancels({
      libraries: postgres.libraries,
      conninfo: conninfo(await balancer(one, three)),
      password: postgres.password,
      tries,
      way,
    });
    expect(later).toBe(0);
    // Otherwise they came too late, or not at all, and prove nothing.
    expect(own).toBeGreaterThan(0);
    expect(one.gateway.counters.cancels.delivered).toBe(delivered + tries);
  },
);

test('a cancel that nobody accepts does not wait long', async () => {
  const sinceMs = performance.now();
  const socket = connect(two.port, '127.0.0.1');
  socket.resume();
  socket.write(cancelRequest(Buffer.from('another key of nobody')));
  await once(socket, 'close');
  expect(performance.now() - sinceMs).toBeLessThan(CANCEL_ANSWER_MS);
});

test.each(['/usr/share/java/postgresql.jar', preparedPgjdbc()])(
  'cancel() and the timeout of pgjdbc work, %s',
  async (jar) => {
    const parameters = { user: postgres.user, password: postgres.password, sslmode: 'verify-full' };
    const query = new URLSearchParams({ ...parameters, sslrootcert: join(dir, 'ca.pem') }).toString();
    const url = `jdbc:postgresql://${HOST}:${await balancer(one, two)}/postgres?${query.replaceAll('+', '%20')}`;
    const program = fileURLToPath(new URL('../proxy/postgres/jdbc/Behaviours.java', import.meta.url));
    const asked = two.gateway.counters.cancels.unknown;
    const { stdout, stderr } = await run('java', ['-cp', jar, program, url, 'cancel', 'query timeout']);
    expect(stdout, stderr).toBe('cancel: 57014 in time\nquery timeout: 57014\n');
    expect(two.gateway.counters.cancels.unknown).toBe(asked + 2);
  },
);

test('cancels of npm pg and npm postgres work', async () => {
  const asked = two.gateway.counters.cancels.unknown;
  const client = new pg.Client(clientOptions(await balancer(one, two)));
  await client.connect();
  const query = new pg.Query('select pg_sleep(30), 3');
  const failed = once(query, 'error') as Promise<[Error]>;
  client.query(query);
  await until('the statement runs', () => runs('select pg_sleep(30), 3'));
  const canceller = new pg.Client({ host: '127.0.0.1', port: two.port }) as unknown as {
    cancel(client: pg.Client, query: pg.Query): void;
  };
  canceller.cancel(client, query);
  expect((await failed)[0].message).toBe(CANCELLED);
  await client.end();

  const sql = createPostgres({ ...clientOptions(await balancer(one, two)), max: 1 });
  const sleep = sql`select pg_sleep(30), 4`.simple();
  const ended = sleep.then(
    () => 'to its end',
    (error: unknown) => String(error),
  );
  await until('the statement runs', () => runs('select pg_sleep(30), 4'));
  sleep.cancel();
  expect(await ended).toContain(CANCELLED);
  await sql.end();
  expect(two.gateway.counters.cancels.unknown).toBe(asked + 2);
});

test('an unknown key is asked for once on each replica, cancels nothing, and is in no log', async () => {
  const client = new pg.Client(clientOptions(one.port));
  await client.connect();
  const sql = 'select pg_sleep(1), 2';
  const ended = client.query(sql).then(
    () => 'to its end',
    (error: unknown) => String(error),
  );
  await until('the statement runs', () => runs(sql));
  const key = Buffer.from('a key of nobody');
  const delivered = one.gateway.counters.cancels.delivered;
  const socket = connect(two.port, '127.0.0.1');
  socket.resume();
  socket.end(cancelRequest(key));
  await once(socket, 'close');
  expect(await ended).toBe('to its end');
  expect(one.gateway.counters.cancels.delivered).toBe(delivered);
  await client.end();
  for (const text of [key.toString(), key.toString('base64'), key.toString('hex')]) {
    expect(logged.join('\n')).not.toContain(text);
  }
});
