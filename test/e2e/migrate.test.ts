import { afterEach, beforeEach, expect, test } from 'vitest';
import { podgateCommand } from '../support/podgate-command.ts';
import { Program } from '../support/program.ts';
import { RedisServer } from '../support/redis-server.ts';
import { run } from '../support/run.ts';
import { until } from '../support/until.ts';

let server: RedisServer;
let program: Program;
beforeEach(async () => {
  server = await RedisServer.start();
  program = await Program.start();
});
afterEach(async () => {
  await program.dispose();
  await server.dispose();
});

const redis = () => ({ PODGATE_REDIS_URL: server.url });
const migrate = (...args: readonly string[]) => podgateCommand(program, ['migrate', ...args], redis());

async function cli(...args: readonly string[]): Promise<string> {
  return (await run('redis-cli', ['-p', String(server.port), ...args])).stdout.trim();
}

async function result(path: string): Promise<unknown> {
  return (await program.get(path)).body.result;
}

async function actionsOf(podId: string): Promise<readonly string[]> {
  return ((await result(`/v3/pods/${podId}/logs`)) as { action_logs: readonly string[] }).action_logs;
}

/** What of a pod no restart changes. */
async function pods(): Promise<unknown> {
  const all = (await result('/v3/pods')) as readonly Record<string, unknown>[];
  return all.map((pod) =>
    ['pod_id', 'description', 'status_requested', 'creation_ts', 'networking'].map((k) => pod[k]),
  );
}

test('an installation moves from SQLite to Redis with its pods, credentials and logs, and keeps working', async () => {
  await program.createPod({ pod_id: 'database', pod_template: 'postgres', description: 'mine' });
  await program.createPod({ pod_id: 'asleep', pod_template: 'podgate/hello' });
  expect((await program.get('/v3/pods/asleep/stop')).status).toBe(200);
  await program.podStatus('asleep', 'STOPPED');
  await program.createPod({ pod_id: 'deleted', pod_template: 'podgate/hello' });
  expect((await program.api('DELETE', '/v3/pods/deleted')).status).toBe(200);
  await until('it is gone', async () => (await program.get('/v3/pods/deleted')).status === 404);
  const before = await pods();
  const credentials = await result('/v3/pods/database/credentials');
  const logs = await actionsOf('database');
  expect(logs.length).toBeGreaterThan(0);
  const insert = "CREATE TABLE t (a text); INSERT INTO t VALUES ('still here')";
  expect(await podgateCommand(program, ['psql', 'database', '-c', insert])).toMatchObject({ code: 0 });

  const running = await migrate();
  expect([running.code, running.stderr]).toEqual([1, expect.stringContaining('stop it first')]);
  await program.stop();

  const plan = await migrate('--dry-run');
  expect(plan).toMatchObject({ code: 0, stderr: '' });
  // Of the deleted pod's audit log, and of the pod itself if that has been purged by now.
  expect(plan.stdout).toMatch(/^\d+ records, [12] tombstones.* would be migrated\. Nothing was changed\.\n$/);
  expect(await cli('KEYS', '*:records')).toBe('');
  const done = await migrate();
  expect(done).toMatchObject({ code: 0, stderr: '' });
  expect(done.stdout).toMatch(/[12] tombstones/);
  expect((await migrate()).stdout).toContain('already in that Redis; there is nothing to migrate');

  const { dataDir, httpsPort, httpPort, controlPort } = program;
  program = await Program.start({ dataDir, ports: [httpsPort, httpPort, controlPort], env: redis() });
  await program.podStatus('database', 'RUNNING');
  await program.podStatus('asleep', 'STOPPED');
  expect(await pods()).toEqual(before);
  expect((await program.get('/v3/pods/deleted')).status).toBe(404);
  expect(await result('/v3/pods/database/credentials')).toEqual(credentials);
  expect((await actionsOf('database')).slice(0, logs.length)).toEqual(logs);
  // Judged by the first pass, which may come after the first calls.
  await until('the store is judged', async () =>
    ((await result('/readyz')) as { store: string }).store === 'not yet checked' ? null : true,
  );
  expect(await result('/readyz')).toMatchObject({ store: 'healthy' });
  const { stdout } = await podgateCommand(program, ['psql', 'database', '-Atc', 'SELECT a FROM t'], redis());
  expect(stdout).toBe('still here\n');
  await program.createPod({ pod_id: 'later', pod_template: 'podgate/hello' });
});
