import { cpSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { podgateCommand } from '../support/podgate-command.ts';
import { Program } from '../support/program.ts';
import { RedisServer } from '../support/redis-server.ts';
import { run } from '../support/run.ts';
import { until } from '../support/until.ts';

/** Answers with a number of its own: whoever reads it twice knows whether the workload was touched. */
const SERVER =
  "const id = require('crypto').randomInt(2 ** 40); require('http').createServer((q, s) => s.end(String(id))).listen(process.env.PORT, '127.0.0.1')";

let server: RedisServer;
let program: Program;
beforeEach(async () => {
  server = await RedisServer.start();
  program = await Program.start({ env: { PODGATE_REDIS_URL: server.url } });
});
afterEach(async () => {
  await program.dispose();
  await server.dispose();
});

const podgate = (...args: readonly string[]) => podgateCommand(program, args);

async function createServer(podId: string): Promise<void> {
  await program.createPod({
    pod_id: podId,
    pod_template: 'podgate/process',
    command: [process.execPath, '-e', SERVER],
    networking: { default: { protocol: 'http', port: 5000 } },
  });
  await until('it answers through the gateway', async () => /^\d+$/.test(await idOf(podId)));
}

async function idOf(podId: string): Promise<string> {
  const host = `${podId}.pods.localhost`;
  const resolve = ['--resolve', `${host}:${program.httpsPort}:127.0.0.1`];
  const url = `https://${host}:${program.httpsPort}/`;
  return (await run('curl', ['-sS', '--max-time', '10', '--cacert', program.caPath, ...resolve, url])).stdout;
}

async function cli(...args: readonly string[]): Promise<string> {
  const { code, stdout, stderr } = await run('redis-cli', ['-p', String(server.port), ...args]);
  if (code !== 0) throw new Error(stderr);
  return stdout.trim();
}

/** As docs/operations.md says it. */
async function restore(copy: string): Promise<void> {
  await server.kill();
  rmSync(join(server.folder, 'appendonlydir'), { recursive: true });
  cpSync(copy, join(server.folder, 'dump.rdb'));
  await server.start(['appendonly no']);
  await cli('CONFIG', 'SET', 'appendonly', 'yes');
  await until('the append-only file is written', async () =>
    (await cli('INFO', 'persistence')).includes('aof_rewrite_in_progress:0') ? true : null,
  );
  await cli('SHUTDOWN').catch(() => undefined);
  await until('it has ended', async () => (await cli('PING').catch(() => 'gone')) !== 'PONG');
  await server.start();
}

async function untilSuspect(): Promise<string> {
  return until('the store is suspect', async () => {
    const { stdout } = await podgate('recover');
    return stdout.includes('is suspect') ? stdout : null;
  });
}

test('an older copy of Redis: records, credentials and sessions come back, deleted pods do not, nothing is touched', async () => {
  await createServer('first');
  await createServer('deleted');
  const copy = join(server.folder, 'backup.rdb');
  expect((await run('redis-cli', ['-p', String(server.port), '--rdb', copy])).code).toBe(0);
  // After the copy was made: one is new, one is deleted, one is started again.
  await program.createPod({ pod_id: 'database', pod_template: 'postgres' });
  const credentials = (await program.get('/v3/pods/database/credentials')).body.result;
  expect((await program.api('DELETE', '/v3/pods/deleted')).status).toBe(200);
  // The API says so at once; its workload may take a moment, and would be left alone once the store is suspect.
  await until('it is gone, with its workload', async () => {
    const text = await (await fetch(`http://127.0.0.1:${program.controlPort}/metrics`)).text();
    return ['"RUNNING"} 2', '"SHUTTING_DOWN"} 0'].every((line) => text.includes(`podgate_pods{status=${line}\n`));
  });
  const id = await idOf('first');

  await restore(copy);
  const plan = await untilSuspect();
  expect(plan).toMatch(/records to rebuild from their workloads:\n {2}dev\/database\n/);
  expect(plan).toMatch(/pods to set to OFF.*:\n {2}dev\/deleted\n/);
  expect(plan).toContain('podgate recover --yes');
  expect(await idOf('first')).toBe(id);
  expect((await program.get('/v3/pods/database')).status).toBe(404);
  const refused = await program.api('POST', '/v3/pods', { pod_id: 'meanwhile', pod_template: 'podgate/hello' });
  expect([refused.status, refused.body.message]).toEqual([503, expect.stringContaining('The store is suspect')]);
  expect((await program.get('/v3/pods/first')).status).toBe(200);

  const done = await podgate('recover', '--yes');
  expect(done).toMatchObject({ code: 0, stderr: '' });
  expect(done.stdout).toContain('Recovered: the store is trusted again.');
  await program.podStatus('database', 'RUNNING');
  await program.podStatus('first', 'RUNNING');
  await program.podStatus('deleted', 'STOPPED');
  expect((await program.get('/v3/pods/database/credentials')).body.result).toEqual(credentials);
  expect(await idOf('first')).toBe(id);
  const { action_logs: lines } = (await program.get('/v3/pods/deleted/logs')).body.result as {
    action_logs: readonly string[];
  };
  expect(lines.join('\n')).toContain('recover: set to OFF: nothing of it runs');
  expect((await podgate('recover', '--yes')).stdout).toContain('healthy');
  await createServer('later');
});

test('an empty Redis: every running pod gets its record back, and continues', async () => {
  await createServer('first');
  await createServer('second');
  const ids = [await idOf('first'), await idOf('second')];
  await server.kill();
  rmSync(join(server.folder, 'appendonlydir'), { recursive: true });
  await server.start();
  expect(await untilSuspect()).toMatch(/2 records to rebuild/);
  expect([await idOf('first'), await idOf('second')]).toEqual(ids);
  expect((await podgate('recover', '--yes')).code).toBe(0);
  for (const podId of ['first', 'second']) await program.podStatus(podId, 'RUNNING');
  expect([await idOf('first'), await idOf('second')]).toEqual(ids);
  expect((await program.get('/readyz')).status).toBe(200);
  expect((await program.api('DELETE', '/v3/pods/second')).status).toBe(200);
  await until('it is gone', async () => (await program.get('/v3/pods/second')).status === 404);
  expect(await idOf('first')).toBe(ids[0]);
});
