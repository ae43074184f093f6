import { chmodSync, chownSync, existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { databasePod } from '../../kill/database-pods.ts';
import { Chance } from '../../sim/scheduler.ts';
import { IGNORED_FS_GROUP } from '../../../spawner/orchestrator/ignored-fs-group.ts';
import { postgresImage, postgresProblem } from '../../support/kubernetes/kubelet/postgres-image.ts';
import { createRecipePod, type RecipePod } from '../../support/kubernetes/recipe-pod.ts';
import { until } from '../../support/until.ts';

const problem = postgresProblem();
const image = postgresImage();
const TIMEOUT_MS = 300_000;
/** 30 and more by `node test/kill/first-start-trial.ts`. */
const KILLS = 5;

/** Stand-ins for the official image's scripts, with the command and the probes that Podgate gives the container. */
describe.skipIf(problem !== null)(
  `the start of a Postgres in a cluster${problem === null ? '' : ` (${problem})`}`,
  () => {
    let pod: RecipePod;
    const workload = databasePod('postgres');
    const { username = '', password = '' } = workload.credentials ?? {};
    beforeEach(() => {
      pod = createRecipePod(workload, image);
    });
    afterEach(() => pod.remove());

    async function query(text: string, change: pg.ClientConfig = {}): Promise<readonly unknown[]> {
      const client = new pg.Client({ host: pod.address, user: username, password, database: username, ...change });
      await client.connect();
      try {
        return (await client.query<Record<string, unknown>>(text)).rows;
      } finally {
        await client.end();
      }
    }
    const data = () => join(pod.data, '18', 'docker');

    it(
      'that is killed at any moment is followed by one that succeeds',
      async () => {
        const seed = Date.now() % 1_000_000;
        const chance = new Chance(seed);
        console.log(`seed ${seed}`);
        const begunMs = performance.now();
        const first = await pod.start();
        await first.becomesReady();
        const wholeMs = performance.now() - begunMs;
        for (let kill = 0; kill < KILLS; kill += 1) {
          await pod.remove();
          pod = createRecipePod(workload, image);
          const killed = await pod.start();
          await sleep(chance.next() * wholeMs);
          killed.signal('SIGKILL');
          await killed.ended;
          const next = await pod.start();
          await next.becomesReady();
          expect(await query('SELECT current_database()::text AS name')).toEqual([{ name: username }]);
          expect(readdirSync(join(pod.data, '18'))).toEqual(['docker']);
        }
      },
      TIMEOUT_MS,
    );

    it.each(['SIGTERM', 'SIGINT'] as const)(
      'ends within moments of %s, during the setup and after it, however early',
      async (signal) => {
        for (const until_ of [
          'creating subdirectories',
          'performing post-bootstrap',
          'server started',
          'init process',
        ]) {
          const run = await pod.start();
          const phase = until_ === 'init process' ? 'Skipping initialization' : until_;
          await until(phase, () => run.output().includes(phase), { timeoutMs: 60_000, everyMs: 5 });
          const begunMs = performance.now();
          run.signal(signal);
          await run.ended;
          // The grace is 60 s, and a machine may be busy.
          expect(performance.now() - begunMs).toBeLessThan(10_000);
          if (phase !== 'Skipping initialization') expect(existsSync(data())).toBe(false);
        }
        const last = await pod.start();
        await last.becomesReady();
        last.signal(signal);
        expect(await last.ended).toMatchObject({ exitCode: 0 });
        expect(last.output()).toContain('database system is shut down');
      },
      TIMEOUT_MS,
    );

    it('reports the cause when the volume is not accessible to its group', async () => {
      chownSync(pod.data, 0, 0);
      chmodSync(pod.data, 0o755);
      const run = await pod.start();
      expect(await run.ended).toMatchObject({ exitCode: 1 });
      expect(run.output()).toBe(`${IGNORED_FS_GROUP}\n`);
    });

    it(
      'waits while an earlier container runs on its volume, and continues where that one ended',
      async () => {
        const first = await pod.start();
        await first.becomesReady();
        await query('CREATE TABLE kept AS SELECT 42 AS n');
        const waits = async () => {
          const run = await pod.start();
          await until('it waits', () => run.output().includes('still uses the volume'), { timeoutMs: 60_000 });
          return run;
        };
        const stopped = await waits();
        stopped.signal('SIGTERM');
        expect(await stopped.ended).toMatchObject({ exitCode: 143 });
        const second = await waits();
        expect(second.output()).not.toContain('starting PostgreSQL');
        await query('INSERT INTO kept VALUES (43)');
        first.signal('SIGKILL');
        await until('it starts', () => second.output().includes('ready to accept connections'), { timeoutMs: 60_000 });
        await second.becomesReady();
        expect(await query('SELECT n FROM kept ORDER BY n')).toEqual([{ n: 42 }, { n: 43 }]);
      },
      TIMEOUT_MS,
    );

    it(
      'continues with a volume of an earlier release, and with its data',
      async () => {
        const before = await pod.start({ asBefore: true });
        await before.becomesReady();
        // Earlier releases made no mark.
        rmSync(join(data(), 'podgate-login'));
        await query('CREATE TABLE kept AS SELECT 42 AS n');
        before.signal('SIGKILL');
        await before.ended;
        const now = await pod.start();
        await now.becomesReady();
        expect(await query('SELECT n FROM kept')).toEqual([{ n: 42 }]);
        expect(readdirSync(join(pod.data, '18'))).toEqual(['docker']);
      },
      TIMEOUT_MS,
    );

    it.each(['creating configuration files', 'performing post-bootstrap', 'syncing data', 'database system is ready'])(
      'sets aside what a first start of an earlier release that was killed at "%s" left behind',
      async (phase) => {
        const before = await pod.start({ asBefore: true });
        await until(phase, () => before.output().includes(phase), { timeoutMs: 60_000, everyMs: 1 });
        before.signal('SIGKILL');
        await before.ended;
        const now = await pod.start();
        await now.becomesReady();
        expect(await query('SELECT 1 AS one')).toEqual([{ one: 1 }]);
        const left = readdirSync(join(pod.data, '18')).filter((name) => name.startsWith('docker.unfinished-'));
        if (phase !== 'database system is ready') expect(left).toHaveLength(1);
        if (left.length > 0) expect(now.output()).toContain('what there was is in');
      },
      TIMEOUT_MS,
    );

    it(
      'never sets aside a database that a user has logged in to, or that has more than initdb creates',
      async () => {
        const first = await pod.start();
        await first.becomesReady();
        await query('CREATE DATABASE other');
        await query(`DROP DATABASE ${username}`, { database: 'other' });
        await query('CREATE TABLE kept ()', { database: 'other' });
        first.signal('SIGTERM');
        await first.ended;
        for (const isMarked of [true, false]) {
          if (!isMarked) rmSync(join(data(), 'podgate-login'));
          const next = await pod.start();
          await until('it serves', () => next.output().includes('ready to accept connections'), { timeoutMs: 60_000 });
          await query('SELECT * FROM kept', { database: 'other' });
          // Its user has dropped the pod's own database: ready when it is known that there once was one.
          expect(await next.probe('startup')).toBe(isMarked ? 0 : 1);
          next.signal('SIGTERM');
          await next.ended;
        }
      },
      TIMEOUT_MS,
    );

    it(
      'stays ready when its user changes the password, and tries the old one only once',
      async () => {
        const run = await pod.start();
        await run.becomesReady();
        await query(`ALTER ROLE ${username} PASSWORD 'another'`);
        for (let times = 0; times < 4; times += 1) expect(await run.probe('readiness')).toBe(0);
        expect(run.output().match(/password authentication failed/g)).toHaveLength(1);
        run.signal('SIGTERM');
        await run.ended;
        const next = await pod.start();
        await next.becomesReady();
        expect(await query('SELECT 1 AS one', { password: 'another' })).toEqual([{ one: 1 }]);
      },
      TIMEOUT_MS,
    );

    it(
      'is not ready while nobody could log in: no line in pg_hba.conf, a stopped server',
      async () => {
        const first = await pod.start();
        await first.becomesReady();
        first.signal('SIGTERM');
        await first.ended;
        const file = join(data(), 'pg_hba.conf');
        const lines = readFileSync(file, 'utf8');
        writeFileSync(file, lines.replaceAll(/^host .*$/gm, ''));
        rmSync(join(data(), 'podgate-login'));
        const shut = await pod.start();
        await until('it serves', () => shut.output().includes('ready to accept connections'), { timeoutMs: 60_000 });
        expect(await shut.probe('startup')).toBe(1);
        expect(await shut.probe('readiness')).toBe(1);
      },
      TIMEOUT_MS,
    );
  },
);
