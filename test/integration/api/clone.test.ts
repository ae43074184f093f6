import { afterAll, beforeAll, expect, test } from 'vitest';

import { resolveOrigin } from '../../../core/data-origin.ts';
import { podPut } from '../../../core/pod-put.ts';
import { noOutput, noShell } from '../../support/no-shell.ts';
import { ApiStand } from './api-stand.ts';

const CLONES = new Set(['template/postgres']);
let stand: ApiStand;
beforeAll(async () => {
  stand = await ApiStand.start({
    orchestrator: { logs: () => Promise.resolve(''), shell: noShell, output: noOutput, clones: CLONES },
  });
  await stand.call('alice', 'POST', '/v3/pods', {
    ...{ pod_id: 'bank', pod_template: 'postgres', description: 'Accounts.' },
    environment_variables: { TZ: 'Europe/Berlin' },
    networking: { default: { protocol: 'postgres', port: 5432, ip_allow_list: ['192.0.2.0/24'] } },
  });
  await stand.call('alice', 'POST', '/v3/pods/bank/permissions', { user: 'bob', level: 'USER' });
  await stand.call('alice', 'POST', '/v3/pods/bank/permissions', { user: 'carol', level: 'READ' });
});
afterAll(() => stand.close());

const clone = (user: string, body: object, of = 'bank') => stand.call(user, 'POST', `/v3/pods/${of}/clone`, body);
const credentials = async (user: string, podId: string) =>
  (await stand.call(user, 'GET', `/v3/pods/${podId}/credentials`)).body.result as Record<string, string>;

test('a clone belongs to the user who makes it, and has the same user name and its own password', async () => {
  const made = await clone('bob', { pod_id: 'bankcopy' });
  expect([made.status, made.body.message]).toEqual([200, 'Pod cloned successfully.']);
  const shown = {
    cloned_from: 'bank',
    pod_template: 'postgres',
    template: 'template/postgres',
    description: 'Accounts.',
    status: 'REQUESTED',
  };
  expect(made.body.result).toMatchObject({
    ...{ ...shown, environment_variables: { TZ: 'Europe/Berlin' } },
    networking: { default: { ip_allow_list: ['192.0.2.0/24'] } },
  });
  const record = await stand.record('bankcopy');
  expect(record).toMatchObject({ createdBy: 'bob', permissions: { bob: 'ADMIN' } });
  const [of, its] = [await credentials('alice', 'bank'), await credentials('bob', 'bankcopy')];
  expect(its['user_username']).toBe('bank');
  expect(its['user_password']).not.toBe(of['user_password']);

  const lines = async (podId: string) =>
    JSON.stringify((await stand.call('alice', 'GET', `/v3/pods/${podId}/logs`)).body.result);
  expect(await lines('bank')).toContain("'bob' cloned pod to bankcopy");
  const { body } = await stand.call('bob', 'GET', '/v3/pods/bankcopy/audit');
  expect(JSON.stringify(body.result)).toContain('"cloned_from"');
});

test('READ is not enough, and neither is the role of administrator alone, because the copy runs without a token', async () => {
  const refused = await clone('carol', { pod_id: 'carolcopy' });
  expect([refused.status, refused.body.message]).toEqual([403, 'Cloning needs USER on pod bank; you have READ.']);
  expect((await clone('eve', { pod_id: 'evecopy' })).status).toBe(403);
  const role = await clone('root', { pod_id: 'rootcopy' });
  expect([role.status, role.body.message]).toEqual([
    403,
    'Cloning needs USER on pod bank by a permission of your own: the data is copied later, without your token.',
  ]);
});

test('checks the permission and the identity of the pod when the data is copied', async () => {
  const { store } = stand.database;
  await clone('bob', { pod_id: 'latecopy' });
  const record = await stand.record('latecopy');
  expect(await resolveOrigin(store, record)).toMatchObject({ pod: { podId: 'bank' }, refusal: null });
  await stand.call('alice', 'DELETE', '/v3/pods/bank/permissions/bob');
  const refusal = 'There is no pod bank any more that bob may clone: USER is needed.';
  expect(await resolveOrigin(store, record)).toMatchObject({ refusal });
  await stand.call('alice', 'POST', '/v3/pods/bank/permissions', { user: 'bob', level: 'USER' });

  // Deleted, and another one of its name.
  const stored = await store.get('pod', 'default/bank');
  if (stored === null) throw new Error('the pod is gone');
  const other = await store.commit({ puts: [podPut({ ...stored.value, uid: 'another' }, stored.revision)] });
  if (other.kind !== 'committed') throw new Error('the pod was changed meanwhile');
  expect(await resolveOrigin(store, record)).toMatchObject({ refusal });
  await store.commit({ puts: [podPut(stored.value, other.commit)] });
});

test('rejects a pod that cannot be cloned, and says which can', async () => {
  await stand.create('alice', 'hello', { pod_template: 'podgate/hello' });
  const unable = await clone('alice', { pod_id: 'hellocopy' }, 'hello');
  expect([unable.status, unable.body.message]).toEqual([
    501,
    'This installation cannot clone pods of podgate/hello, only of template/postgres.',
  ]);
  await stand.create('alice', 'fresh', { pod_template: 'postgres', status_requested: 'OFF' });
  const empty = await clone('alice', { pod_id: 'freshcopy' }, 'fresh');
  expect([empty.status, empty.body.message]).toEqual([409, 'Pod fresh has no data yet: start it first.']);
  const then = await clone('alice', { pod_id: 'thencopy', at: '2026-11-01T00:00:00Z' });
  expect([then.status, then.body.message]).toEqual([
    409,
    'at: there is no complete snapshot of the data of pod bank on which you have USER: podgate snapshots create NAME --pod bank',
  ]);
  expect((await clone('alice', { pod_id: 'bad', at: 'yesterday' })).status).toBe(400);
  expect((await clone('alice', { pod_id: 'fresh' })).status).toBe(409);
  expect((await clone('alice', {})).status).toBe(400);
});
