import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { preparedTapipy } from '../../scripts/setup/cache.mjs';
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

/** Each starts a program of its own, whose statuses have the names that these clients know. */
describe('clients of the newer API', () => {
  let renamed: Program;
  beforeAll(async () => {
    const file = join(directory, 'tapis.yaml');
    writeFileSync(file, 'status_names: tapis\n');
    renamed = await Program.start({ workers: 1, env: { PODGATE_CONFIG: file } });
  });
  afterAll(() => renamed.dispose());
  const linesOf = (stdout: string): unknown[] =>
    stdout
      .trim()
      .split('\n')
      .map((line): unknown => JSON.parse(line));

  test('the generated client of API 1.8.4 works unchanged', async () => {
    const client = join(import.meta.dirname, 'clients/tapis-client-1.8.ts');
    const { stdout, stderr } = await run(process.execPath, [client, `https://localhost:${renamed.httpsPort}`], {
      env: { NODE_EXTRA_CA_CERTS: renamed.caPath, PODS_TOKEN: renamed.token },
    });
    expect(stderr).toBe('');
    const names = ['healthcheck', 'create', 'list', 'derived', 'update', 'logs'];
    const rest = ['setPermission', 'getPermissions', 'deletePermission', 'stop', 'start', 'restart', 'delete'];
    expect(linesOf(stdout)).toEqual([
      ...names.map((name) => [name, 'success']),
      // A template without any.
      ['credentials', 404],
      ...rest.map((name) => [name, 'success']),
      ['gone', 404],
    ]);
  });

  test('tapipy works with only the base URL and a token', async () => {
    const client = join(import.meta.dirname, 'clients/tapis-client.py');
    const { stdout, stderr } = await run(
      'python3',
      [client, `https://localhost:${renamed.httpsPort}`, renamed.caPath],
      {
        env: { PYTHONPATH: preparedTapipy(), PYTHONDONTWRITEBYTECODE: '1', PODS_TOKEN: renamed.token },
        timeoutMs: 120_000,
      },
    );
    const [tenant, ...calls] = linesOf(stdout);
    expect(tenant, stderr).toEqual(['tenant', 'dev']);
    const ofPod = ['get_pod', 'get_derived_pod', 'get_pod_logs', 'get_pod_permissions', 'update_pod'];
    const acts = ['set_pod_permission', 'delete_pod_permission', 'stop_pod', 'start_pod', 'restart_pod'];
    expect(calls).toEqual([
      ['create_pod', 'TapisResult'],
      ['list_pods', 'list'],
      ...[...ofPod, ...acts].map((name) => [name, 'TapisResult']),
      ['get_pod_credentials', 'NotFoundError', expect.stringContaining('has no credentials')],
      ['delete_pod', expect.any(String)],
      ['get_pod', 'NotFoundError', expect.stringContaining('There is no pod')],
    ]);
  });
});

test('a stop time stops its pod, and -1 removes it', async () => {
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
