import { afterEach, beforeEach, expect, test } from 'vitest';

import { podPut } from '../../../core/pod-put.ts';
import { ApiStand } from './api-stand.ts';

let stand: ApiStand;
beforeEach(async () => {
  stand = await ApiStand.start();
});
afterEach(async () => {
  await stand.close();
});

test('a quota counts the pods that a user has created, not those shared by others', async () => {
  for (let index = 0; index < 20; index += 1) await stand.create('alice', `pod${index}x`, { status_requested: 'OFF' });
  const more = { pod_id: 'onemore', pod_template: 'podgate/hello' };
  expect((await stand.call('alice', 'POST', '/v3/pods', more)).status).toBe(403);
  await stand.call('alice', 'POST', '/v3/pods/pod0x/permissions', { user: 'bob', level: 'ADMIN' });
  expect((await stand.call('bob', 'POST', '/v3/pods', more)).status).toBe(200);
  await stand.call('alice', 'DELETE', '/v3/pods/pod1x');
  expect((await stand.call('alice', 'POST', '/v3/pods', { ...more, pod_id: 'again' })).status).toBe(200);
});

test('a list reports the usage and the quota of its caller', async () => {
  const quotaOf = async (user: string) => (await stand.call(user, 'GET', '/v3/pods')).body.metadata['quota'];
  expect(await quotaOf('alice')).toMatchObject({ pods: { used: 0, limit: 20 }, volumes: { used: 0, limit: null } });
  await stand.create('alice', 'one');
  await stand.create('alice', 'two', { status_requested: 'OFF' });
  expect(await quotaOf('alice')).toEqual({
    pods: { used: 2, limit: 20 },
    cpu_millicores: { used: 2_000, limit: null },
    memory_mib: { used: 3_072, limit: null },
    volumes: { used: 0, limit: null },
    volume_mib: { used: 0, limit: null },
    record_bytes: { used: expect.any(Number) as unknown, limit: null },
  });
  await stand.call('alice', 'POST', '/v3/pods/one/permissions', { user: 'bob', level: 'ADMIN' });
  expect(await quotaOf('bob')).toMatchObject({ pods: { used: 0, limit: 20 } });
});

test('concurrent creates never get the same ID or exceed the quota', async () => {
  const same = await Promise.all(
    Array.from({ length: 10 }, (_, index) =>
      stand.call(`user${index}`, 'POST', '/v3/pods', { pod_id: 'wanted', pod_template: 'postgres' }),
    ),
  );
  expect(same.map(({ status }) => status).sort()).toEqual([200, ...Array.from({ length: 9 }, () => 409)]);
  const many = await Promise.all(
    Array.from({ length: 30 }, (_, index) =>
      stand.call('alice', 'POST', '/v3/pods', { pod_id: `many${index}x`, pod_template: 'podgate/hello' }),
    ),
  );
  expect(many.filter(({ status }) => status === 200)).toHaveLength(20);
});

test('100 concurrent updates, permissions and health updates lose nothing', async () => {
  await stand.create('alice', 'mypod', { pod_template: 'podgate/process', command: ['x'] });
  const users = Array.from({ length: 100 }, (_, index) => `user${index}`);
  const over = new AbortController();
  const health = (async () => {
    for (let attempts = 0; !over.signal.aborted; attempts += 1) {
      await stand.overwrite('mypod', { attempts }).catch(() => undefined);
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
  })();
  const answers = await Promise.all([
    ...users.map((user) => stand.call('alice', 'POST', '/v3/pods/mypod/permissions', { user, level: 'READ' })),
    ...users.map((user) => stand.call('alice', 'PUT', '/v3/pods/mypod', { description: user })),
  ]);
  over.abort();
  await health;
  expect(answers.map(({ status }) => status).filter((status) => status !== 200)).toEqual([]);
  const record = await stand.record('mypod');
  expect(Object.keys(record.permissions).sort()).toEqual(['alice', ...users].sort());
  expect(record.generation).toBe(101);
});

test('a list has every pod that the user may see, in order, beyond one page', async () => {
  await stand.create('alice', 'seed');
  const { store } = stand.database;
  const template = await stand.record('seed');
  for (let index = 0; index < 450; index += 1) {
    const podId = `bulk${String(index).padStart(3, '0')}`;
    const record = {
      ...template,
      podId,
      uid: podId,
      permissions: { [index % 2 === 0 ? 'carol' : 'dave']: 'READ' as const },
    };
    await store.commit({ puts: [podPut(record, 'absent')] });
  }
  const list = (await stand.call('carol', 'GET', '/v3/pods')).body;
  expect(list.message).toBe('Pods retrieved successfully.');
  const ids = (list.result as { pod_id: string }[]).map(({ pod_id: podId }) => podId);
  expect(ids).toHaveLength(225);
  expect(ids).toEqual([...ids].sort());
});
