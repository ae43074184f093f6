import { afterEach, beforeEach, expect, test } from 'vitest';

import { podKey } from '../../../core/ids.ts';
import { createTestAuthority } from '../../support/test-authority.ts';
import { ApiStand } from './api-stand.ts';

let stand: ApiStand;
beforeEach(async () => {
  stand = await ApiStand.start();
});
afterEach(async () => {
  await stand.close();
});

const ENVELOPE = { version: '1.2.3', metadata: {} };
const claim = () => stand.database.queue.claim(1000, AbortSignal.timeout(200));

test('create returns every field of the seed and stores one record with credentials and a due queue key', async () => {
  const answer = await stand.call('alice', 'POST', '/v3/pods', { pod_id: 'mypg', pod_template: 'postgres' });
  expect(answer.status).toBe(200);
  expect(answer.body).toEqual({
    ...ENVELOPE,
    message: 'Pod created successfully.',
    status: 'success',
    result: {
      pod_id: 'mypg',
      pod_template: 'postgres',
      template: 'template/postgres',
      image: '',
      description: '',
      command: null,
      arguments: null,
      environment_variables: {},
      data_requests: [],
      roles_required: [],
      status_requested: 'ON',
      volume_mounts: {},
      time_to_stop_default: 43_200,
      time_to_stop_instance: null,
      networking: {
        default: { protocol: 'postgres', port: 5432, url: 'mypg.pods.localhost', public_port: 8443, ip_allow_list: [] },
      },
      routing_port: null,
      persistent_volume: false,
      resources: { cpu_request: 250, cpu_limit: 2000, mem_request: 256, mem_limit: 3072, gpus: 0 },
      time_to_stop_ts: null,
      cloned_from: '',
      sleep: null,
      asleep_since: null,
      last_used_ts: null,
      awake_because: null,
      status: 'REQUESTED',
      status_container: {},
      data_attached: [],
      roles_inherited: [],
      creation_ts: '2026-11-23T10:20:30.000Z',
      update_ts: '2026-11-23T10:20:30.000Z',
      start_instance_ts: null,
      secret_map: {},
      template_overrides: null,
      compute_queue: 'default',
      action_logs: ["26/11/23 10:20: Pod object created by 'alice'"],
    },
  });
  expect(answer.headers.get('etag')).toBe('"1"');
  expect(await stand.record('mypg')).toMatchObject({
    run: 1,
    wish: 'ON',
    createdBy: 'alice',
    permissions: { alice: 'ADMIN' },
  });
  expect((await claim())?.key).toBe('pod/default/mypg');
  const stored = await stand.database.store.get('credential', podKey('default', 'mypg'));
  const credentials = await stand.call('alice', 'GET', '/v3/pods/mypg/credentials');
  const { user_username: username, user_password: password } = credentials.body.result as Record<string, string>;
  expect(username).toBe('mypg');
  expect(password).toMatch(/^[A-Za-z0-9]{30}$/);
  expect(JSON.stringify(stored)).not.toContain(password);
  expect(stand.logLines.join('\n')).not.toContain(password);
});

test('a pod created OFF is STOPPED and is not queued', async () => {
  expect(await stand.create('alice', 'quiet', { status_requested: 'OFF' })).toMatchObject({
    status: 'STOPPED',
    status_requested: 'OFF',
  });
  expect(await claim()).toBeNull();
  expect((await stand.call('alice', 'GET', '/v3/pods/quiet/credentials')).status).toBe(404);
});

test('an ID stays taken until its pod is purged, also while the pod is being deleted', async () => {
  await stand.create('alice', 'mypod');
  const again = await stand.call('bob', 'POST', '/v3/pods', { pod_id: 'mypod', pod_template: 'podgate/hello' });
  expect([again.status, again.body.status]).toEqual([409, 'error']);
  expect((await stand.call('alice', 'DELETE', '/v3/pods/mypod')).body).toEqual({
    ...ENVELOPE,
    message: 'Pod successfully deleted.',
    result: '',
    status: 'success',
  });
  expect((await stand.record('mypod')).deleting).toEqual({ keepVolume: false });
  for (const [method, path] of [
    ['GET', '/v3/pods/mypod'],
    ['GET', '/v3/pods/mypod/start'],
    ['GET', '/v3/pods/mypod/logs'],
    ['DELETE', '/v3/pods/mypod'],
  ] as const) {
    expect((await stand.call('alice', method, path)).status).toBe(404);
  }
  expect((await stand.call('alice', 'GET', '/v3/pods')).body.result).toEqual([]);
  const meanwhile = await stand.call('alice', 'POST', '/v3/pods', { pod_id: 'mypod', pod_template: 'podgate/hello' });
  expect(meanwhile.status).toBe(409);
  expect(meanwhile.body.message).toContain('still being deleted');
});

test('keep_volume is stored, and rejected unless it is true or false', async () => {
  await stand.create('alice', 'mypod');
  expect((await stand.call('alice', 'DELETE', '/v3/pods/mypod?keep_volume=maybe')).status).toBe(400);
  expect((await stand.call('alice', 'DELETE', '/v3/pods/mypod?keep_volume=true')).status).toBe(200);
  expect((await stand.record('mypod')).deleting).toEqual({ keepVolume: true });
});

test('paths work with and without /v3, with doubled slashes and with a trailing slash', async () => {
  await stand.create('alice', 'mypod');
  for (const path of ['/pods/mypod', '/v3/pods/mypod', '//v3//pods///mypod', '/v3/pods/mypod/', '/v3/pods/%6Dypod']) {
    expect([path, (await stand.call('alice', 'GET', path)).status]).toEqual([path, 200]);
  }
  for (const path of [
    '/v3/nothing',
    '/',
    '/v3',
    '/v4/pods',
    '/v3/pods/a%2Fb',
    '/v3/Pods',
    '/v3/pods/catalog',
    '/v3/pods/volumes/a/b/c/d',
  ]) {
    expect([path, (await stand.call('alice', 'GET', path)).status]).toEqual([path, 404]);
  }
  expect((await stand.call('alice', 'GET', '/v3/pods/%ff')).status).toBe(400);
});

test('HEAD returns the headers of GET without a body; other methods return 405 with the allowed ones', async () => {
  await stand.create('alice', 'mypod');
  const head = await stand.call('alice', 'HEAD', '/v3/pods');
  expect([head.status, head.headers.get('content-type')]).toEqual([200, 'application/json']);
  const refused = await stand.call('alice', 'PATCH', '/v3/pods/mypod', {});
  expect(refused.status).toBe(405);
  expect(refused.headers.get('allow')?.split(', ').sort()).toEqual(['DELETE', 'GET', 'HEAD', 'PUT']);
  expect(refused.body).toMatchObject({ status: 'error', result: null, version: '1.2.3' });
  expect((await stand.call('alice', 'DELETE', '/v3/pods')).status).toBe(405);
});

test('start, stop and restart accept GET and POST, and change the record as planned', async () => {
  await stand.create('alice', 'mypod');
  for (const method of ['GET', 'POST']) {
    const stopped = await stand.call('alice', method, '/v3/pods/mypod/stop');
    expect(stopped.body.message).toBe("Updated pod's status_requested to OFF.");
    expect(stopped.body.result).toMatchObject({ status_requested: 'OFF', status: 'REQUESTED' });
    await stand.overwrite('mypod', { status: 'STOPPED' });
    const started = await stand.call('alice', method, '/v3/pods/mypod/start');
    expect(started.body.message).toBe("Updated pod's status_requested to ON and requested pod.");
    expect(started.body.result).toMatchObject({ status_requested: 'ON', status: 'REQUESTED' });
    await stand.overwrite('mypod', { status: 'RUNNING' });
    const restarted = await stand.call('alice', method, '/v3/pods/mypod/restart');
    expect(restarted.body.message).toBe("Updated pod's status_requested to RESTART.");
    expect(restarted.body.result).toMatchObject({ status_requested: 'RESTART', status: 'RUNNING' });
    await stand.overwrite('mypod', { status: 'REQUESTED', wish: 'ON' });
  }
  expect((await stand.record('mypod')).run).toBe(3);
  const { action_logs: actions } = (await stand.call('alice', 'GET', '/v3/pods/mypod/logs')).body.result as {
    action_logs: string[];
  };
  expect(actions.slice(0, 4).map((line) => line.slice('YY/MM/DD HH:MM: '.length))).toEqual([
    "Pod object created by 'alice'",
    "'alice' ran stop_pod, set to OFF",
    "'alice' ran start_pod, set to ON and REQUESTED",
    "'alice' ran restart_pod, set to RESTART",
  ]);
});

test.each([
  ['ERROR', 'ON', 'RESTART'],
  ['ERROR', 'OFF', 'RESTART'],
  ['COMPLETE', 'ON', 'RESTART'],
  ['SHUTTING_DOWN', 'OFF', 'ON'],
  ['SHUTTING_DOWN', 'RESTART', 'RESTART'],
  ['RUNNING', 'OFF', 'ON'],
  ['RUNNING', 'RESTART', 'RESTART'],
  ['RUNNING', 'ON', 'ON'],
  ['CREATING_CONTAINER', 'ON', 'ON'],
] as const)(
  'start of a pod that is %s with desired state %s sets the desired state %s and begins no run by itself',
  async (status, wish, wished) => {
    await stand.create('alice', 'mypod');
    await stand.overwrite('mypod', { status, wish });
    expect((await stand.call('alice', 'GET', '/v3/pods/mypod/start')).status).toBe(200);
    expect(await stand.record('mypod')).toMatchObject({ status, wish: wished, run: 1 });
  },
);

test('restart of a STOPPED pod begins a run at once', async () => {
  await stand.create('alice', 'mypod', { status_requested: 'OFF' });
  const answer = await stand.call('alice', 'POST', '/v3/pods/mypod/restart');
  expect(answer.body.result).toMatchObject({ status_requested: 'ON', status: 'REQUESTED' });
  expect((await claim())?.key).toBe('pod/default/mypod');
});

test('an update changes the given fields, says which take effect when, and changes the ETag', async () => {
  await stand.create('alice', 'mypod', { pod_template: 'podgate/process', command: ['node', 'a.js'] });
  await stand.overwrite('mypod', { status: 'RUNNING' });
  const answer = await stand.call('alice', 'PUT', '/v3/pods/mypod', {
    description: 'better',
    environment_variables: { SECRET: 'do-not-tell' },
    time_to_stop_instance: 600,
    networking: { default: { protocol: 'HTTP', port: 5000, ip_allow_list: ['10.0.0.0/8', '::1'] } },
  });
  expect(answer.status).toBe(200);
  expect(answer.body.message).toBe('Pod updated successfully.');
  expect(answer.headers.get('etag')).toBe('"2"');
  expect(answer.body.result).toMatchObject({
    description: 'better',
    command: ['node', 'a.js'],
    environment_variables: { SECRET: 'do-not-tell' },
    time_to_stop_instance: 600,
    networking: { default: { protocol: 'http', port: 5000, ip_allow_list: ['10.0.0.0/8', '::1'] } },
  });
  expect(answer.body.metadata['note']).toEqual([
    'In effect at once: description, networking (ip_allow_list), time_to_stop_instance.',
    'In effect at the next start: environment_variables; restart the pod to apply them.',
  ]);
  const logs = JSON.stringify((await stand.call('alice', 'GET', '/v3/pods/mypod/logs')).body.result);
  expect(logs).toContain("'alice' updated pod, updated_fields: description");
  expect(logs + stand.logLines.join('\n')).not.toContain('do-not-tell');
});

test('changed fields of a stanza take effect at once, are returned as written, and can be reset', async () => {
  await stand.create('alice', 'mypod', { pod_template: 'podgate/process', command: ['node', 'a.js'] });
  const { ca, certificate } = await createTestAuthority(['client.example.org']);
  const written = { protocol: 'http', port: 5000, ip_allow_list: [] };
  const options = { backend_protocol: 'h2c', proxy_protocol: 'v1', client_ca: ca };
  const update = (stanza: object) =>
    stand.call('alice', 'PUT', '/v3/pods/mypod', { networking: { default: { ...written, ...stanza } } });
  const changed = await update(options);
  expect(changed.body.result).toMatchObject({ networking: { default: { ...written, ...options } } });
  expect(changed.body.metadata['note']).toEqual([
    'In effect at once: networking (backend_protocol, proxy_protocol, client_ca).',
  ]);
  expect((await update(options)).body.status).toBe('error');
  const leaf = await update({ client_ca: certificate });
  expect(leaf.status).toBe(400);
  expect(leaf.body.message).toEqual([
    expect.stringContaining('networking.default.client_ca: certificate 1 is not that of an authority'),
  ]);
  const back = await update({});
  const { networking } = back.body.result as { readonly networking: object };
  expect(JSON.stringify(networking)).not.toMatch(/proxy_protocol|client_ca|backend_protocol/);
});

test('an update that changes nothing returns 200 with that message and the same ETag', async () => {
  await stand.create('alice', 'mypod', { description: 'as it is' });
  const { commits } = await stand.database.store.identity();
  for (const body of [{}, { description: 'as it is' }, { status_requested: 'ON', resources: { cpu_limit: 2000 } }]) {
    const answer = await stand.call('alice', 'PUT', '/v3/pods/mypod', body);
    expect([answer.status, answer.body.status, answer.headers.get('etag')]).toEqual([200, 'error', '"1"']);
    expect(answer.body.message).toBe('Incoming data made no changes to pod. Is incoming data equal to current data?');
    expect(answer.body.result).toMatchObject({ pod_id: 'mypod' });
  }
  expect(await stand.database.store.identity()).toMatchObject({ commits });
});

test('If-Match passes with the current ETag, returns 412 for an old or weak one, and 400 for nonsense', async () => {
  await stand.create('alice', 'mypod');
  const put = (ifMatch: string, description: string) =>
    stand.call('alice', 'PUT', '/v3/pods/mypod', { description }, { 'If-Match': ifMatch });
  expect((await put('"1"', 'one')).status).toBe(200);
  expect((await put('"1"', 'two')).status).toBe(412);
  expect((await put('W/"2"', 'two')).status).toBe(412);
  expect((await put('two', 'two')).status).toBe(400);
  expect((await put('"7", "2"', 'two')).status).toBe(200);
  expect((await put('*', 'three')).status).toBe(200);
  // A health update is none of the user's business: the tag stays.
  await stand.overwrite('mypod', { status: 'RUNNING', attempts: 3 });
  expect((await put('"4"', 'four')).status).toBe(200);
  const stale = await stand.call('alice', 'DELETE', '/v3/pods/mypod', undefined, { 'If-Match': '"4"' });
  expect(stale.status).toBe(412);
  expect((await stand.record('mypod')).deleting).toBeNull();
});

test('a sleeping pod is shown as asleep, woken by start, and stopped by stop', async () => {
  await stand.create('alice', 'mypod', { sleep: { after_seconds: 900 } });
  const get = async () => (await stand.call('alice', 'GET', '/v3/pods/mypod')).body.result;
  expect(await get()).toMatchObject({
    sleep: { after_seconds: 900, hold_seconds: 60, probe_paths: [] },
    asleep_since: null,
    awake_because: ['it starts'],
  });
  const asleep = {
    status: 'ASLEEP',
    sleep: { stage: 'decided', sinceMs: Date.parse('2026-11-23T11:00:00Z') },
  } as const;
  await stand.overwrite('mypod', asleep);
  expect(await get()).toMatchObject({
    ...{ status: 'ASLEEP', status_requested: 'ON', asleep_since: '2026-11-23T11:00:00.000Z', awake_because: null },
  });
  const { run } = await stand.record('mypod');
  expect((await stand.call('alice', 'POST', '/v3/pods/mypod/start')).status).toBe(200);
  expect(await stand.record('mypod')).toMatchObject({ status: 'REQUESTED', run: run + 1, sleep: null });
  // Going to sleep, it is not to be started a second time.
  await stand.overwrite('mypod', { ...asleep, status: 'SHUTTING_DOWN' });
  await stand.call('alice', 'POST', '/v3/pods/mypod/start');
  expect(await stand.record('mypod')).toMatchObject({ wish: 'ON', status: 'SHUTTING_DOWN', run: run + 1, sleep: null });
  await stand.overwrite('mypod', asleep);
  await stand.call('alice', 'POST', '/v3/pods/mypod/stop');
  expect(await stand.record('mypod')).toMatchObject({ wish: 'OFF', sleep: null });
});

test('an update sets and clears the stop time, which counts from the start of the instance', async () => {
  await stand.create('alice', 'mypod', { time_to_stop_instance: 600 });
  const startInstanceMs = Date.parse('2026-11-23T11:00:00Z');
  await stand.overwrite('mypod', { status: 'RUNNING', startInstanceMs });
  const get = async () => (await stand.call('alice', 'GET', '/v3/pods/mypod')).body.result;
  expect(await get()).toMatchObject({
    start_instance_ts: '2026-11-23T11:00:00.000Z',
    time_to_stop_ts: '2026-11-23T11:10:00.000Z',
  });
  await stand.call('alice', 'PUT', '/v3/pods/mypod', { time_to_stop_instance: -1 });
  expect(await get()).toMatchObject({ time_to_stop_instance: -1, time_to_stop_ts: null });
  await stand.call('alice', 'PUT', '/v3/pods/mypod', { time_to_stop_instance: null });
  expect(await get()).toMatchObject({ time_to_stop_instance: null, time_to_stop_ts: '2026-11-23T23:00:00.000Z' });
});

test('wait=routable returns 200 once routable, else 202 with the workers that lag behind or the reason', async () => {
  const asked: unknown[] = [];
  stand.routable = async (...question) => {
    asked.push(question);
    await stand.overwrite('mypod', { status: 'RUNNING' });
    return { kind: 'routable' };
  };
  const body = { pod_id: 'mypod', pod_template: 'podgate/hello' };
  expect((await stand.call('alice', 'POST', '/v3/pods?wait=forever', body)).status).toBe(400);
  const created = await stand.call('alice', 'POST', '/v3/pods?wait=routable', body);
  expect([created.status, created.body.metadata]).toEqual([200, { routable: true }]);
  expect(created.body.result).toMatchObject({ status: 'RUNNING' });
  const { uid } = await stand.record('mypod');
  const question = { tenant: 'default', podId: 'mypod', uid, run: 1 };
  expect(asked[0]).toMatchObject([question, expect.closeTo(60_000, -3), expect.any(AbortSignal)]);

  stand.routable = async () => ({ kind: 'timeout', laggards: ['worker 2'] });
  const late = await stand.call('alice', 'GET', '/v3/pods/mypod/start?wait=routable');
  expect([late.status, late.body.metadata]).toEqual([202, { routable: false, laggards: ['worker 2'] }]);
  expect(late.body.message).toContain('worker 2');

  stand.routable = async () => {
    await stand.overwrite('mypod', { status: 'ERROR' });
    return { kind: 'ended' };
  };
  const ended = await stand.call('alice', 'GET', '/v3/pods/mypod/start?wait=routable');
  expect([ended.status, ended.body.status]).toEqual([202, 'success']);
  expect(ended.body.message).toContain('its status is ERROR');
});

test('wait=routable ignores a feed that reports the time before the restart', async () => {
  await stand.create('alice', 'mypod');
  await stand.overwrite('mypod', { status: 'RUNNING' });
  let questions = 0;
  stand.routable = async () => {
    questions += 1;
    // First the feed lags behind the store, then the pod comes up.
    if (questions === 3) await stand.overwrite('mypod', { status: 'RUNNING' });
    return { kind: 'routable' };
  };
  const answer = stand.call('alice', 'GET', '/v3/pods/mypod/restart?wait=routable');
  await expect.poll(async () => (await stand.record('mypod')).wish).toBe('RESTART');
  expect(questions).toBe(0);
  await stand.overwrite('mypod', { status: 'REQUESTED', wish: 'ON', run: 2 });
  expect((await answer).status).toBe(200);
  expect(questions).toBe(3);
});

test('logs are those of the workload, else the stored ones, with a note when the orchestrator does not respond', async () => {
  await stand.create('alice', 'mypod');
  const { uid } = await stand.record('mypod');
  await stand.database.logs.saveOutput(uid, 1, 'kept äöü');
  const logs = async (query = '') => (await stand.call('alice', 'GET', `/v3/pods/mypod/logs${query}`)).body;
  stand.workloadLogs = async () => 'live';
  expect((await logs()).result).toMatchObject({ logs: 'live' });
  stand.workloadLogs = async () => {
    throw new Error('away');
  };
  expect(await logs()).toMatchObject({
    result: { logs: 'kept äöü' },
    metadata: { note: expect.any(String) as string },
  });
  // A new run that has printed nothing: what is shown is not its own.
  stand.workloadLogs = async () => '';
  expect(await logs()).toMatchObject({
    result: { logs: 'kept äöü' },
    metadata: { note: 'Nothing was printed yet; these are the stored logs of an earlier run.' },
  });
  await stand.overwrite('mypod', { status: 'STOPPED' });
  expect(await logs()).toMatchObject({ result: { logs: 'kept äöü' }, metadata: {} });
  // Never half a character.
  expect((await logs('?tail_bytes=3')).result).toMatchObject({ logs: 'ü' });
  expect((await stand.call('alice', 'GET', '/v3/pods/mypod/logs?tail_bytes=x')).status).toBe(400);
});

test('logs?previous=true returns the output from before the restart of the program, else of the previous run', async () => {
  await stand.create('alice', 'mypod');
  const { uid } = await stand.record('mypod');
  await stand.overwrite('mypod', { status: 'RUNNING', run: 2 });
  await stand.database.logs.saveOutput(uid, 1, 'of run 1');
  await stand.database.logs.saveOutput(uid, 2, 'of run 2', 'a mark');
  const logs = async (query: string) => (await stand.call('alice', 'GET', `/v3/pods/mypod/logs${query}`)).body.result;
  stand.workloadLogs = async () => '';
  expect(await logs('?previous=true')).toMatchObject({ logs: 'of run 1' });
  expect(await logs('?previous=false')).toMatchObject({ logs: 'of run 2' });
  stand.workloadLogs = async () => 'killed';
  expect(await logs('?previous=true')).toMatchObject({ logs: 'killed' });
  expect((await stand.call('alice', 'GET', '/v3/pods/mypod/logs?previous=yes')).status).toBe(400);
});

test('an image on the allow list is returned as it was written', async () => {
  const other = await ApiStand.start({ allowsImages: true, imageAllowList: ['nginx'] });
  try {
    const body = { pod_id: 'web', pod_template: undefined, image: 'nginx:1.27', routing_port: 80 };
    expect(await other.create('alice', 'web', body)).toMatchObject({
      pod_template: 'nginx:1.27',
      template: '',
      image: 'nginx:1.27',
      routing_port: 80,
      networking: { default: { protocol: 'http', port: 80 } },
    });
  } finally {
    await other.close();
  }
});
