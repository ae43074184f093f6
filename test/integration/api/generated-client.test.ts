import { Configuration, CredentialsApi, LogsApi, MiscApi, PermissionsApi, PodsApi } from '@tapis/tapis-typescript-pods';
import { afterEach, beforeEach, expect, test } from 'vitest';

import { ApiStand } from './api-stand.ts';

/** The client generated from the OpenAPI document of Tapis Pods 1.6.0, as it is on npm. */
let stand: ApiStand;
let configuration: Configuration;
beforeEach(async () => {
  stand = await ApiStand.start();
  configuration = new Configuration({
    basePath: stand.url,
    headers: { 'X-Tapis-Token': await stand.token('alice') },
  });
});
afterEach(async () => {
  await stand.close();
});

test('the generated client can do everything with a pod', async () => {
  const pods = new PodsApi(configuration);
  const created = await pods.createPod({
    newPod: {
      pod_id: 'mypg',
      pod_template: 'template/postgres',
      description: 'made by the generated client',
      time_to_stop_default: 3600,
      networking: { default: { protocol: 'postgres', port: 5432 } },
      resources: { cpu_request: 300, mem_limit: 1024 },
      environment_variables: {},
      volume_mounts: {},
    },
  });
  expect(created).toMatchObject({ message: 'Pod created successfully.', status: 'success', version: '1.2.3' });
  expect(created.result).toMatchObject({
    pod_id: 'mypg',
    pod_template: 'template/postgres',
    status: 'REQUESTED',
    status_requested: 'ON',
    networking: { default: { protocol: 'postgres', port: 5432, url: 'mypg.pods.localhost' } },
    resources: { cpu_request: 300, cpu_limit: 2000, mem_request: 256, mem_limit: 1024, gpus: 0 },
    action_logs: ["26/11/23 10:20: Pod object created by 'alice'"],
  });
  // Read with its zone: a local reading would be off by it.
  expect(created.result.creation_ts?.getTime()).toBe(stand.now);

  expect((await pods.getPods()).result.map((pod) => pod.pod_id)).toEqual(['mypg']);
  expect((await pods.getPod({ podId: 'mypg' })).result.description).toBe('made by the generated client');
  const updated = await pods.updatePod({
    podId: 'mypg',
    updatePod: { description: 'changed', time_to_stop_instance: -1 },
  });
  expect(updated.result).toMatchObject({ description: 'changed', time_to_stop_instance: -1 });
  const again = await pods.updatePod({ podId: 'mypg', updatePod: { description: 'changed' } });
  expect(again.status).toBe('error');

  expect((await pods.stopPod({ podId: 'mypg' })).result.status_requested).toBe('OFF');
  await stand.overwrite('mypg', { status: 'STOPPED' });
  expect((await pods.startPod({ podId: 'mypg' })).result).toMatchObject({
    status_requested: 'ON',
    status: 'REQUESTED',
  });
  await stand.overwrite('mypg', { status: 'RUNNING', startInstanceMs: stand.now });
  expect((await pods.restartPod({ podId: 'mypg' })).result.status_requested).toBe('RESTART');
  expect((await pods.getPod({ podId: 'mypg' })).result.start_instance_ts?.getTime()).toBe(stand.now);

  const { result: credentials } = await new CredentialsApi(configuration).getPodCredentials({ podId: 'mypg' });
  expect(credentials).toMatchObject({ user_username: 'mypg', user_password: expect.any(String) as string });
  stand.workloadLogs = async () => 'database system is ready';
  const { result: logs } = await new LogsApi(configuration).getPodLogs({ podId: 'mypg' });
  expect(logs.logs).toBe('database system is ready');
  expect(logs.action_logs?.length).toBeGreaterThan(4);

  expect(await pods.deletePod({ podId: 'mypg' })).toMatchObject({ result: '', message: 'Pod successfully deleted.' });
  expect((await pods.getPods()).result).toEqual([]);
});

test('the generated client can do everything with permissions', async () => {
  await stand.create('alice', 'mypod');
  const permissions = new PermissionsApi(configuration);
  const set = await permissions.setPodPermission({
    podId: 'mypod',
    setPermission: { user: 'bob@x.org', level: 'READ' },
  });
  expect(set.result.permissions).toEqual(['alice:ADMIN', 'bob@x.org:READ']);
  expect((await permissions.getPodPermissions({ podId: 'mypod' })).result.permissions).toHaveLength(2);
  const deleted = await permissions.deletePodPermission({ podId: 'mypod', user: 'bob@x.org' });
  expect(deleted.result.permissions).toEqual(['alice:ADMIN']);
});

test('the generated client can read errors and the health of the service', async () => {
  const refused: unknown = await new PodsApi(configuration)
    .createPod({ newPod: { pod_id: 'B', pod_template: 'x', description: 'ü' } })
    .catch((thrown: unknown) => thrown);
  if (!(refused instanceof Response)) throw new Error('it was not refused');
  expect([refused.status, await refused.json()]).toMatchObject([
    400,
    { status: 'error', message: expect.any(Array) as [] },
  ]);
  const unknown: unknown = await new PodsApi(configuration)
    .getPod({ podId: 'nobody' })
    .catch((thrown: unknown) => thrown);
  expect((unknown as Response).status).toBe(404);
  // The document gives this one no schema: the client hands out its text.
  expect(await new MiscApi(configuration).healthcheck()).toContain('"message":"I promise I\'m healthy."');
});
