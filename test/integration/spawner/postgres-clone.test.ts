import { existsSync, readdirSync, renameSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { FilesRef } from '../../../core/volume.ts';
import type { WorkloadSpec } from '../../../core/workloads.ts';
import { createDirectoryFiles } from '../../../spawner/orchestrator/process/volumes/directory-files.ts';
import { postgresTemplate } from '../../../spawner/templates/postgres.ts';
import { becomes, becomesAbsent, ensured, never, workloadSpec } from '../../contract/orchestrator-harness.ts';
import { until } from '../../support/until.ts';
import {
  asRoot,
  portTo,
  processOptions,
  type RunningOrchestrator,
  runProcessOrchestrator,
  temporaryRoot,
} from './process-harness.ts';

/** On a machine that is overloaded. */
const TEST_MS = 240_000;
const ACCOUNTS = 50;
const TOTAL = ACCOUNTS * 100;

describe.skipIf(process.platform !== 'linux')('clones of Postgres pods that run as processes', () => {
  const { root, remove: removeRoot } = temporaryRoot();
  /** Snapshots. */
  const kept = createDirectoryFiles({ root: join(root, 'pods', 'files'), asRoot });
  let running: RunningOrchestrator;
  let source: WorkloadSpec;
  let sourcePort: number;
  beforeAll(async () => {
    running = runProcessOrchestrator(processOptions(root, { volumes: kept.mounts }));
    source = postgresPod('bank', 'bank', 'source-password');
    sourcePort = await started(source);
    await query(sourcePort, 'source-password', [
      'create table accounts as select id, 100 as amount from generate_series(1, $1::int) id',
      [ACCOUNTS],
    ]);
    await query(sourcePort, 'source-password', ['create table transfers (id serial primary key, amount int)', []]);
  });
  afterAll(async () => {
    await running.close();
    removeRoot();
  });

  function postgresPod(podId: string, username: string, password: string, change: Partial<WorkloadSpec> = {}) {
    const networking = postgresTemplate.networking ?? {};
    const spec = { template: postgresTemplate.name, writtenTemplate: 'postgres', networking };
    return workloadSpec(spec, { podId, credentials: { username, password }, ...change });
  }
  function cloneOf(pod: WorkloadSpec, podId: string, refusal: string | null = null): WorkloadSpec {
    const { tenant, podId: sourceId, uid } = pod;
    const origin = { pod: { tenant, podId: sourceId, uid }, refusal };
    return postgresPod(podId, 'bank', `password-of-${podId}`, { origin });
  }
  async function started(pod: WorkloadSpec, orchestrator = running.orchestrator): Promise<number> {
    await ensured(orchestrator, pod);
    return portTo((await becomes(orchestrator, pod, 'ready')).addresses['default']);
  }
  async function stopped(pod: WorkloadSpec, data: 'keep' | 'delete' = 'keep'): Promise<void> {
    await running.orchestrator.remove(pod, { data, run: pod.run }, never());
    await becomesAbsent(running.orchestrator, pod);
  }
  async function connected(port: number, password: string): Promise<pg.Client> {
    const client = new pg.Client({ host: '127.0.0.1', port, user: 'bank', database: 'bank', password });
    client.on('error', () => undefined);
    await client.connect();
    return client;
  }
  async function query(port: number, password: string, [sql, values]: [string, unknown[]]): Promise<unknown[]> {
    const client = await connected(port, password);
    try {
      return (await client.query<Record<string, unknown>>(sql, values)).rows;
    } finally {
      await client.end();
    }
  }
  /** Transfers without end, each of them two updates and a line in one transaction. */
  async function transfer(signal: AbortSignal): Promise<void> {
    const client = await connected(sourcePort, 'source-password');
    while (!signal.aborted) {
      const [from, to] = [1, 2].map(() => 1 + Math.floor(Math.random() * ACCOUNTS)).sort((a, b) => a - b);
      await client.query('begin');
      await client.query('update accounts set amount = amount - 1 where id = $1', [from]);
      await client.query('insert into transfers (amount) values (1)');
      await client.query('update accounts set amount = amount + 1 where id = $1', [to]);
      await client.query('commit');
    }
    await client.end();
  }
  const files = (...path: string[]): readonly string[] => readdirSync(join(root, 'pods', ...path));
  const reasonOf = (pod: WorkloadSpec) =>
    until('it says why it does not start', async () => {
      const observed = await running.orchestrator.observe(pod, never());
      return observed.kind === 'workload' && observed.message.includes('could not be started') && observed.message;
    });

  it(
    'has every transaction of a running original completely or not at all, under load, and only its own password',
    async () => {
      const over = new AbortController();
      const load = Promise.all([1, 2, 3, 4].map(() => transfer(over.signal)));
      const clone = cloneOf(source, 'bankcopy');
      let port: number;
      let before: unknown;
      try {
        [before] = await query(sourcePort, 'source-password', ['select count(*)::int as n from transfers', []]);
        port = await started(clone);
      } finally {
        over.abort();
        await load;
      }
      const totals = 'select sum(amount)::int as total, (select count(*)::int from transfers) as n from accounts';
      const [copy] = (await query(port, 'password-of-bankcopy', [totals, []])) as { total: number; n: number }[];
      const [original] = (await query(sourcePort, 'source-password', [totals, []])) as { total: number; n: number }[];
      expect(copy?.total).toBe(TOTAL);
      expect(copy?.n).toBeGreaterThanOrEqual((before as { n: number }).n);
      expect(copy?.n).toBeLessThan(original?.n ?? 0);
      await expect(connected(port, 'source-password')).rejects.toMatchObject({ code: '28P01' });
      await query(sourcePort, 'source-password', ['select 1', []]);

      await query(port, 'password-of-bankcopy', ['delete from transfers', []]);
      expect(await query(sourcePort, 'source-password', ['select count(*) > 0 as has from transfers', []])).toEqual([
        { has: true },
      ]);
      // What the backup used is gone, and the clone is a server like others.
      const slots = 'select count(*)::int as n from pg_replication_slots';
      expect(await query(sourcePort, 'source-password', [slots, []])).toEqual([{ n: 0 }]);
      await stopped(clone);
      const again = await started({ ...clone, run: 2 });
      expect(await query(again, 'password-of-bankcopy', ['show max_logical_replication_workers', []])).toEqual([
        { max_logical_replication_workers: '4' },
      ]);
      expect(files('staging')).toEqual([]);
      await stopped({ ...clone, run: 2 }, 'delete');
    },
    TEST_MS,
  );

  it(
    'is a copy of a stopped original, even if its user has changed password, role and pg_hba.conf',
    async () => {
      const own = postgresPod('changed', 'bank', 'first');
      const port = await started(own);
      await query(port, 'first', ['create table kept as select 42 as answer', []]);
      await query(port, 'first', ["alter role bank password 'another' valid until '2020-01-01'", []]).catch(
        () => undefined,
      );
      await stopped(own);
      const clone = cloneOf(own, 'changedcopy');
      expect(await query(await started(clone), 'password-of-changedcopy', ['select * from kept', []])).toEqual([
        { answer: 42 },
      ]);
      // A clone of a clone.
      const second = cloneOf(clone, 'secondcopy');
      expect(await query(await started(second), 'password-of-secondcopy', ['select * from kept', []])).toEqual([
        { answer: 42 },
      ]);
      for (const pod of [second, clone, own]) await stopped(pod, 'delete');
    },
    TEST_MS,
  );

  const snapshotRef = (id: string): FilesRef => ({ kind: 'snapshot', uid: `uid-of-${id}`, tenant: 'dev', id });
  async function take(
    pod: WorkloadSpec,
    id: string,
    { sizeLimitMiB = 1024, signal = never() }: { sizeLimitMiB?: number; signal?: AbortSignal } = {},
  ): Promise<void> {
    const { tenant, podId, uid } = pod;
    const request = { template: postgresTemplate.name, username: 'bank', to: snapshotRef(id), sizeLimitMiB };
    await running.orchestrator.snapshots?.take({ pod: { tenant, podId, uid }, ...request }, signal);
  }
  function cloneOfSnapshot(id: string, podId: string): WorkloadSpec {
    const origin = { snapshot: snapshotRef(id), refusal: null };
    return postgresPod(podId, 'bank', `password-of-${podId}`, { origin });
  }

  it(
    'begins with a snapshot that was taken while the original was in use, whatever has become of that',
    async () => {
      const own = postgresPod('kept', 'bank', 'first');
      const port = await started(own);
      await query(port, 'first', ['create table kept as select 1 as version', []]);
      await take(own, 'one');
      await query(port, 'first', ['update kept set version = 2', []]);
      const slots = 'select count(*)::int as n from pg_replication_slots';
      expect(await query(port, 'first', [slots, []])).toEqual([{ n: 0 }]);
      await stopped(own, 'delete');
      const clone = cloneOfSnapshot('one', 'fromone');
      expect(await query(await started(clone), 'password-of-fromone', ['select * from kept', []])).toEqual([
        { version: 1 },
      ]);
      await stopped(clone, 'delete');
      // Taken again, as after an interruption: of a stopped pod.
      await stopped(source);
      await take(source, 'one');
      sourcePort = await started({ ...source, run: 2 });
      source = { ...source, run: 2 };
      const again = cloneOfSnapshot('one', 'again');
      expect(
        await query(await started(again), 'password-of-again', ['select sum(amount)::int from accounts', []]),
      ).toEqual([{ sum: TOTAL }]);
      await stopped(again, 'delete');
      expect(files('staging')).toEqual([]);
    },
    TEST_MS,
  );

  it(
    'begins with no snapshot that is deleted, and a snapshot that is interrupted or too large is none',
    async () => {
      await take(source, 'gone');
      await kept.remove(snapshotRef('gone'));
      const clone = cloneOfSnapshot('gone', 'ofgone');
      await ensured(running.orchestrator, clone);
      expect(await reasonOf(clone)).toContain('Snapshot gone was deleted.');
      await stopped(clone, 'delete');

      await expect(take(source, 'small', { sizeLimitMiB: 2 })).rejects.toMatchObject({
        code: 'api.too-large',
        publicMessages: [
          'The data of pod bank could not be copied.',
          'The data has more than the 2 MiB of size_limit; nothing was copied.',
        ],
      });
      expect(files('files', 'uid-of-small', 'data')).toEqual([]);

      const over = new AbortController();
      const copies = join(root, 'pods', 'files', 'uid-of-small', 'copy', 'pgdata', 'base');
      const taking = take(source, 'small', { signal: over.signal });
      const failure = expect(taking).rejects.toThrow();
      await until('the copy is under way', () => existsSync(copies));
      over.abort();
      await failure;
      expect(files('files', 'uid-of-small', 'data')).toEqual([]);
      await take(source, 'small');
      expect(files('files', 'uid-of-small')).not.toContain('copy');
      expect(files('files', 'uid-of-small', 'data', 'pgdata')).toContain('PG_VERSION');

      const unknown = { ...source, uid: 'no-such-uid' };
      await expect(take(unknown, 'none')).rejects.toMatchObject({ code: 'api.conflict' });
    },
    TEST_MS,
  );

  it(
    'reports why it does not start, and leaves no partial copy',
    async () => {
      const refused = cloneOf(source, 'refused', 'There is no pod bank any more that bob may clone: USER is needed.');
      await ensured(running.orchestrator, refused);
      expect(await reasonOf(refused)).toContain('that bob may clone');
      await stopped(refused, 'delete');

      const empty = cloneOf({ ...source, uid: 'no-such-uid' }, 'empty');
      await ensured(running.orchestrator, empty);
      expect(await reasonOf(empty)).toContain('Pod bank has no data yet');
      await stopped(empty, 'delete');

      const spaced = cloneOf(source, 'spaced');
      await query(sourcePort, 'source-password', ["copy (select 1) to program 'mkdir -p ../elsewhere'", []]);
      const location = join(root, 'pods', 'volumes', source.uid, 'elsewhere');
      await query(sourcePort, 'source-password', [`create tablespace elsewhere location '${location}'`, []]);
      await ensured(running.orchestrator, spaced);
      expect(await reasonOf(spaced)).toContain('It has tablespaces outside its data directory');
      await query(sourcePort, 'source-password', ['drop tablespace elsewhere', []]);
      await becomes(running.orchestrator, spaced, 'ready');
      await stopped(spaced, 'delete');
      expect(files('staging')).toEqual([]);
    },
    TEST_MS,
  );

  it(
    'is not redirected to the server of another pod by a link in place of the socket',
    async () => {
      const data = join(root, 'pods', 'volumes', source.uid, 'pgdata');
      const socket = files('volumes', source.uid, 'pgdata').find((name) => /^\.s\.PGSQL\.\d+$/.test(name)) ?? '';
      renameSync(join(data, socket), join(data, 'moved'));
      symlinkSync('moved', join(data, socket));
      const clone = cloneOf(source, 'linked');
      await ensured(running.orchestrator, clone);
      expect(await reasonOf(clone)).toContain('The data of pod bank could not be copied.');
      renameSync(join(data, 'moved'), join(data, socket));
      // It goes on by itself once that can be.
      await becomes(running.orchestrator, clone, 'ready');
      await stopped(clone, 'delete');
    },
    TEST_MS,
  );
});
