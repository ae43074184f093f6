import { setTimeout as delay } from 'node:timers/promises';
import pg from 'pg';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { until } from '../../../support/until.ts';
import { type PoolName, POOLS, PostgresPool } from '../../../e2e/clients/postgres-pools.ts';
import { type PostgresStage, startPostgresStage } from '../support/postgres-stage.ts';
import { asleep, awake, wakes } from './sleepers.ts';

const HOST = 'napping.pods.localhost';
const CONNECTIONS = 10;
/** HikariCP hands out unchecked what was used in the last half second: its property com.zaxxer.hikari.aliveBypassWindowMs. */
const IDLE_MS = 600;
const sleeping = asleep(HOST, { protocol: 'postgres', sleep: { holdMs: 60_000, probePaths: [] } });
const pools = new Map<PoolName, PostgresPool>();
let stage: PostgresStage;
let admin: pg.Client;

const sessions = async (): Promise<number> =>
  Number(
    (await admin.query<{ count: string }>(`select count(*) from pg_stat_activity where datname = 'pooled'`)).rows[0]
      ?.count,
  );

beforeAll(async () => {
  stage = await startPostgresStage(({ port }) => [awake(sleeping, port)]);
  const { server, fixture, caPath } = stage;
  const { user, password } = server;
  admin = new pg.Client({ host: '127.0.0.1', port: server.port, user, password, database: 'postgres' });
  await admin.connect();
  await admin.query('create database pooled');
  const env = {
    ...{ PGHOST: HOST, PGPORT: String(fixture.httpsPort), PGUSER: user, PGPASSWORD: password, PGDATABASE: 'pooled' },
    ...{ PGSSLMODE: 'verify-full', PGSSLROOTCERT: caPath },
  };
  const opened = await Promise.all(POOLS.map((name) => PostgresPool.open(name, env, `select 'here'::text`)));
  for (const [index, name] of POOLS.entries()) pools.set(name, opened[index] as PostgresPool);
}, 120_000);
afterAll(async () => {
  await Promise.all([...pools.values()].map((pool) => pool.close()));
  await admin.end();
  await stage.stop();
});

it('pools with ten idle connections continue after the sleep of their pod, which their next query ends', async () => {
  const { fixture, server } = stage;
  expect(await sessions()).toBe(CONNECTIONS * POOLS.length);
  await delay(IDLE_MS);
  fixture.feed.change([sleeping]);
  // As the shutdown of a Postgres ends its sessions: FATAL 57P01.
  await admin.query(`select pg_terminate_backend(pid) from pg_stat_activity where datname = 'pooled'`);
  await until('all of them have ended', async () => (await sessions()) === 0);
  const asked = POOLS.map(async (name) => [name, await pools.get(name)?.ask('pool')] as const);
  await until('all of them wait', () => fixture.gateway.counters.heldNow >= POOLS.length, { timeoutMs: 60_000 });
  expect(wakes(fixture)).toContain(HOST);
  fixture.feed.change([awake(sleeping, server.port)]);
  const { asyncpg, ...answers } = Object.fromEntries(await Promise.all(asked));
  const good = { word: 'here', failures: [] };
  // It hands out connections unchecked, unless its user gives it `check`: each of the ten fails once.
  const unchecked = { word: 'here', failures: Array<string>(CONNECTIONS).fill('57P01') };
  expect(answers).toEqual({ HikariCP: good, pgxpool: good, psycopg_pool: unchecked });
  // Where it begins a query before it has read that its connection ended, it has names of its own for that: it got an
  // answer out of turn (InternalClientError), or could not write (08003, ConnectionDoesNotExistError).
  expect(asyncpg?.word).toBe('here');
  const ownNames = ['InternalClientError', '08003'];
  expect(asyncpg?.failures.filter((failure) => !ownNames.includes(failure))).toEqual([]);
}, 120_000);

it('the drivers themselves wait for a pod that wakes up, and get their result at the first attempt', async () => {
  const { fixture, server } = stage;
  fixture.feed.change([sleeping]);
  const asked = POOLS.map(async (name) => [name, await pools.get(name)?.ask('connect')] as const);
  await until('all of them wait', () => fixture.gateway.counters.heldNow >= POOLS.length, { timeoutMs: 60_000 });
  fixture.feed.change([awake(sleeping, server.port)]);
  for (const [name, answer] of await Promise.all(asked)) expect(answer, name).toEqual({ word: 'here', failures: [] });
}, 120_000);
