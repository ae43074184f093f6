import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Program } from '../support/program.ts';
import { run } from '../support/run.ts';

let program: Program;
let directory: string;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'podgate-config-'));
  const file = join(directory, 'podgate.yaml');
  writeFileSync(file, 'minTimeToStopSeconds: 1\n');
  program = await Program.start({ env: { PODGATE_CONFIG: file } });
});
afterAll(async () => {
  await program.dispose();
  rmSync(directory, { recursive: true, force: true });
});

test('the generated client of the Tapis Pods API 1.6.0 works unchanged through the gateway', async () => {
  const client = join(import.meta.dirname, 'clients/tapis-client.ts');
  const { stdout, stderr } = await run(process.execPath, [client, `https://localhost:${program.httpsPort}`], {
    env: { NODE_EXTRA_CA_CERTS: program.caPath, PODS_TOKEN: program.token },
  });
  expect(stderr).toBe('');
  const said = stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as { operation: string; status: unknown; result?: unknown; message: string });
  expect(said.map(({ operation, status, message }) => [operation, status, message])).toEqual([
    ['healthcheck', 'success', "I promise I'm healthy."],
    ['create', 'success', 'Pod created successfully.'],
    ['list', 'success', 'Pods retrieved successfully.'],
    ['update', 'success', 'Pod updated successfully.'],
    ['credentials', expect.anything(), expect.any(String)],
    ['logs', 'success', 'Pod logs retrieved successfully.'],
    ['setPermission', 'success', 'Pod permissions updated successfully.'],
    ['getPermissions', 'success', 'Pod permissions retrieved successfully.'],
    ['deletePermission', 'success', 'Pod permission deleted successfully.'],
    ['stop', 'success', "Updated pod's status_requested to OFF."],
    ['start', 'success', "Updated pod's status_requested to ON and requested pod."],
    ['restart', 'success', "Updated pod's status_requested to RESTART."],
    ['delete', 'success', 'Pod successfully deleted.'],
    ['gone', 404, expect.stringContaining('viaclient')],
  ]);
  expect(said.find(({ operation }) => operation === 'getPermissions')?.result).toEqual({
    permissions: ['admin:ADMIN', 'bob:READ'],
  });
});

test('a stop time stops its pod, and -1 takes it back', async () => {
  const pod = { pod_template: 'podgate/hello', time_to_stop_instance: 4 };
  await program.createPod({ ...pod, pod_id: 'brief' });
  await program.createPod({ ...pod, pod_id: 'spared' });
  await program.api('PUT', '/v3/pods/spared', { time_to_stop_instance: -1 });
  const stopped = await program.podStatus('brief', 'STOPPED', 15_000);
  expect(stopped).toMatchObject({ status_requested: 'OFF', time_to_stop_instance: null });
  expect((await program.get('/v3/pods/brief/logs')).body.result).toMatchObject({
    action_logs: expect.arrayContaining([expect.stringContaining('time_to_stop trigger')]) as unknown,
  });
  expect((await program.get('/v3/pods/spared')).body.result).toMatchObject({
    status: 'RUNNING',
    time_to_stop_ts: null,
  });
});
