import { closeSync, openSync, readdirSync, readlinkSync } from 'node:fs';
import { connect } from 'node:net';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { NetworkAddress } from '../../../core/pod-network.ts';
import type { WorkloadSpec } from '../../../core/workloads.ts';
import { probePostgresLogin } from '../../../spawner/orchestrator/process/postgres-login.ts';
import { postgresTemplate } from '../../../spawner/templates/postgres.ts';
import { becomes, becomesAbsent, ensured, never, workloadSpec } from '../../contract/orchestrator-harness.ts';
import { ALLOW_PREPARED, checkUse, expectUseInside } from '../../support/postgres-use.ts';
import { processTable } from '../../support/process-table.ts';
import { until } from '../../support/until.ts';
import {
  portTo,
  processOptions,
  type RunningOrchestrator,
  runProcessOrchestrator,
  temporaryRoot,
} from './process-harness.ts';

const PASSWORD = "it's a $ecret \\ password";

describe('a Postgres pod run as a process', () => {
  const { root, remove: removeRoot } = temporaryRoot();
  let running: RunningOrchestrator;
  beforeAll(() => {
    running = runProcessOrchestrator(processOptions(root));
  });
  afterAll(async () => {
    await running.close();
    removeRoot();
  });

  function postgresPod(podId: string, change: Partial<WorkloadSpec> = {}): WorkloadSpec {
    const networking = postgresTemplate.networking ?? {};
    const spec = { template: postgresTemplate.name, writtenTemplate: 'postgres', networking };
    return workloadSpec(spec, { podId, credentials: { username: podId, password: PASSWORD }, ...change });
  }
  async function started(pod: WorkloadSpec): Promise<number> {
    await ensured(running.orchestrator, pod);
    return portTo((await becomes(running.orchestrator, pod, 'ready')).addresses['default']);
  }
  async function stopped(pod: WorkloadSpec, data: 'keep' | 'delete') {
    await running.orchestrator.remove(pod, { data, run: pod.run }, never());
    return becomesAbsent(running.orchestrator, pod);
  }
  async function query(port: number, user: string, sql: string, password = PASSWORD): Promise<unknown[]> {
    const client = new pg.Client({ host: '127.0.0.1', port, user, database: user, password });
    await client.connect();
    try {
      return (await client.query<Record<string, unknown>>(sql)).rows;
    } finally {
      await client.end();
    }
  }
  const postmasterOf = (pod: WorkloadSpec) =>
    processTable().find(
      (each) => each.commandLine[0]?.endsWith('/bin/postgres') === true && each.commandLine.join(' ').includes(pod.uid),
    );

  it('runs SQL as soon as it is ready, for its user in its database, only with its password', async () => {
    const pod = postgresPod('mypg');
    const port = await started(pod);
    expect(await query(port, 'mypg', 'select current_user::text, current_database()::text')).toEqual([
      { current_user: 'mypg', current_database: 'mypg' },
    ]);
    expect(await query(port, 'mypg', 'select rolsuper from pg_roles where rolname = current_user')).toEqual([
      { rolsuper: true },
    ]);
    expect(await query(port, 'mypg', 'show listen_addresses')).toEqual([{ listen_addresses: '127.0.0.1' }]);
    // Podgate's own way in, in a directory that is closed to all but the pod's user.
    const directory = process.platform === 'linux' ? '.' : '';
    expect(await query(port, 'mypg', 'show unix_socket_directories')).toEqual([{ unix_socket_directories: directory }]);
    expect(await query(port, 'mypg', 'show password_encryption')).toEqual([{ password_encryption: 'scram-sha-256' }]);
    await expect(query(port, 'mypg', 'select 1', 'wrong')).rejects.toMatchObject({ code: '28P01' });
    for (const user of ['podgate_admin', 'podgate_owner', 'postgres']) {
      await expect(query(port, user, 'select 1', '')).rejects.toThrow();
    }
    await stopped(pod, 'delete');
  });

  it('keeps its data after a stop, and after a kill of the server', async () => {
    const pod = postgresPod('keeper');
    let port = await started(pod);
    await query(port, 'keeper', 'create table kept as select 42 as answer');
    expect(await stopped(pod, 'keep')).toEqual({ kind: 'absent', data: true });
    port = await started({ ...pod, run: 2 });
    expect(await query(port, 'keeper', 'select * from kept')).toEqual([{ answer: 42 }]);

    process.kill(postmasterOf(pod)?.pid ?? 0, 'SIGKILL');
    await becomes(running.orchestrator, pod, 'starting');
    const again = await becomes(running.orchestrator, pod, 'ready');
    expect(again.restarts).toBeLessThanOrEqual(2);
    expect(await query(await portTo(again.addresses['default']), 'keeper', 'select * from kept')).toEqual([
      { answer: 42 },
    ]);
    expect(await stopped({ ...pod, run: 2 }, 'delete')).toEqual({ kind: 'absent', data: false });
  });

  it('starts again when its user has put a pipe in place of its lock file', async () => {
    const pod = postgresPod('piper');
    const port = await started(pod);
    await query(port, 'piper', "copy (select 1) to program 'rm -f postmaster.pid; mkfifo postmaster.pid'");
    process.kill(postmasterOf(pod)?.pid ?? 0, 'SIGKILL');
    await becomes(running.orchestrator, pod, 'starting');
    const again = await becomes(running.orchestrator, pod, 'ready');
    expect(await query(await portTo(again.addresses['default']), 'piper', 'select 1 as one')).toEqual([{ one: 1 }]);
    await stopped(pod, 'delete');
  });

  it('checks by a login whether it admits its user, rejects a changed password, or is not running', async () => {
    const pod = postgresPod('logins');
    const probed = {
      connect: ({ address, port: at }: NetworkAddress) => connect(at, address),
      place: { address: '127.0.0.1', port: await started(pod) },
    };
    const login = (password: string, signal = never()) =>
      probePostgresLogin(probed, { username: 'logins', password }, signal);
    expect(await login(PASSWORD)).toBe('result');
    expect(await login('wrong')).toBe('refused');
    expect(await login(PASSWORD, AbortSignal.abort())).toBe('unavailable');
    // A changed password keeps it ready over a restart of the server, which asks again.
    await query(probed.place.port, 'logins', "alter role logins password 'another'");
    process.kill(postmasterOf(pod)?.pid ?? 0, 'SIGKILL');
    await becomes(running.orchestrator, pod, 'starting');
    await becomes(running.orchestrator, pod, 'ready');
    await stopped(pod, 'delete');
    expect(await login(PASSWORD)).toBe('unavailable');
  });

  it('that is stopped at any moment of its first start ends within moments', async () => {
    const place = temporaryRoot();
    // Nothing is installed yet: the first start takes initdb, too.
    const fresh = runProcessOrchestrator(processOptions(place.root));
    try {
      for (const delayMs of [0, 20, 100, 400, 800]) {
        const pod = postgresPod('early');
        await ensured(fresh.orchestrator, pod);
        await new Promise((resolve) => setTimeout(resolve, delayMs));
        const begunMs = performance.now();
        await fresh.orchestrator.remove(pod, { data: 'delete', run: 1 }, never());
        expect(await becomesAbsent(fresh.orchestrator, pod)).toEqual({ kind: 'absent', data: false });
        // Its grace is 5 s; on a busy machine a look at all processes takes time.
        expect(performance.now() - begunMs).toBeLessThan(8_000);
      }
    } finally {
      await fresh.close();
      place.remove();
    }
  }, 120_000);

  it('may have the name of a database that every Postgres has', async () => {
    const pod = postgresPod('postgres');
    const port = await started(pod);
    expect(await query(port, 'postgres', 'select current_database()::text as name')).toEqual([{ name: 'postgres' }]);
    await stopped(pod, 'delete');
  });

  it('is rejected with an explanation when Postgres allows no user of that name', async () => {
    const result = await running.orchestrator.ensure(postgresPod('public'), never());
    expect(result).toMatchObject({ kind: 'failed', retryable: false });
  });

  it('shuts down cleanly, with or without sessions', async () => {
    const pod = postgresPod('orderly');
    const port = await started(pod);
    const idle = new pg.Client({ host: '127.0.0.1', port, user: 'orderly', database: 'orderly', password: PASSWORD });
    // Told twice: by the server's last message, then by the closed connection.
    const cut = new Promise((resolve) => idle.on('error', resolve));
    await idle.connect();
    const begunMs = performance.now();
    await stopped(pod, 'keep');
    expect(performance.now() - begunMs).toBeLessThan(4_000);
    expect(await cut).toMatchObject({ code: '57P01' });
    await started({ ...pod, run: 2 });
    // Nothing to recover.
    expect(await running.orchestrator.logs(pod, { tailBytes: 10_000 }, never())).not.toContain(
      'not properly shut down',
    );
    await stopped({ ...pod, run: 2 }, 'delete');
  });

  it('has its password in no argument and no log', async () => {
    const pod = postgresPod('discreet', { credentials: { username: 'discreet', password: 'verysecretword' } });
    await ensured(running.orchestrator, pod);
    const seen: string[] = [];
    await until('it is ready', async () => {
      seen.push(...processTable().map((each) => each.commandLine.join(' ')));
      const now = await running.orchestrator.observe(pod, never());
      return now.kind === 'workload' && now.phase === 'ready';
    });
    expect(seen.some((line) => line.includes(pod.uid))).toBe(true);
    expect(seen.filter((line) => line.includes('verysecretword'))).toEqual([]);
    const logs = await running.orchestrator.logs(pod, { tailBytes: 100_000 }, never());
    expect(logs).not.toContain('verysecretword');
    expect(logs).not.toContain('SCRAM');
    await stopped(pod, 'delete');
  });

  it.runIf(process.platform === 'linux')(
    'reports its use outside the gateway, by name',
    async () => {
      const pod = postgresPod('busy');
      await query(await started(pod), 'busy', ALLOW_PREPARED);
      await stopped(pod, 'keep');
      const port = await started({ ...pod, run: 2 });
      const data = openSync(readlinkSync(`/proc/${postmasterOf(pod)?.pid}/cwd`), 'r');
      const config = { user: 'busy', database: 'busy', password: PASSWORD };
      const check = () => checkUse(running.orchestrator, pod);
      await expectUseInside({
        ...{ user: 'busy', config: { ...config, host: '127.0.0.1', port }, check },
        inside: async (sql) => {
          const socket = readdirSync(`/proc/self/fd/${data}`).find((name) => /^\.s\.PGSQL\.\d+$/.test(name));
          const client = new pg.Client({ ...config, host: `/proc/self/fd/${data}`, port: Number(socket?.slice(9)) });
          await client.connect();
          await client.query(sql);
          await client.end();
        },
      });
      closeSync(data);
      await stopped({ ...pod, run: 2 }, 'delete');
      expect(await check()).toEqual({ kind: 'unknown', why: 'its workload is gone' });
    },
    120_000,
  );

  it('can be created several times at once', async () => {
    const pods = ['first', 'second', 'third'].map((podId) => postgresPod(podId));
    const ports = await Promise.all(pods.map(started));
    for (const [index, pod] of pods.entries()) {
      expect(await query(ports[index] ?? 0, pod.podId, 'select 1 as one')).toEqual([{ one: 1 }]);
    }
    await Promise.all(pods.map((pod) => stopped(pod, 'delete')));
  });
});
