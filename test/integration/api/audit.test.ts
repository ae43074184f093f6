import { afterEach, beforeEach, expect, test } from 'vitest';

import { ApiStand } from './api-stand.ts';

let stand: ApiStand;
beforeEach(async () => {
  stand = await ApiStand.start();
});
afterEach(() => stand.close());

interface Entry {
  readonly id: string;
  readonly time: string;
  readonly operation: string;
  readonly user: string;
  readonly request_id: string;
  readonly address: string;
  readonly object_kind: string;
  readonly object_id: string;
  readonly changes: readonly { readonly field: string; readonly before: unknown; readonly after: unknown }[];
}

async function entries(user: string, path: string, headers: Record<string, string> = {}): Promise<readonly Entry[]> {
  const { status, body } = await stand.call(user, 'GET', `/v3${path}`, undefined, headers);
  expect(status, JSON.stringify(body)).toBe(200);
  return body.result as readonly Entry[];
}
const ADMIN = { 'X-Pods-Admin': 'true' };
const operations = (of: readonly Entry[]) => of.map(({ operation }) => operation);

test('records every change of a pod: who, when, from where, the old and the new value', async () => {
  await stand.create('alice', 'mypod', { pod_template: 'podgate/process', command: ['true'] });
  await stand.call('alice', 'POST', '/v3/pods/mypod/permissions', { user: 'bob', level: 'USER' });
  stand.now += 60_000;
  const headers = { 'X-Request-Id': 'request-of-bob' };
  await stand.call('bob', 'PUT', '/v3/pods/mypod', { description: 'by bob', resources: { mem_limit: 1024 } }, headers);
  await stand.call('alice', 'GET', '/v3/pods/mypod/stop');
  await stand.call('alice', 'DELETE', '/v3/pods/mypod/permissions/bob');

  const all = await entries('alice', '/pods/mypod/audit');
  expect(operations(all)).toEqual([
    'delete_pod_permission',
    'stop_pod',
    'update_pod',
    'set_pod_permission',
    'create_pod',
  ]);
  expect(all[2]).toMatchObject({
    user: 'bob',
    time: '2026-11-23T10:21:30.000Z',
    request_id: 'request-of-bob',
    address: '127.0.0.1',
    object_kind: 'pod',
    object_id: 'mypod',
    changes: [
      { field: 'description', before: null, after: 'by bob' },
      { field: 'resources.mem_limit', before: 3072, after: 1024 },
    ],
  });
  expect(all[0]?.changes).toEqual([{ field: 'permissions.bob', before: 'USER', after: null }]);
  expect(all[1]?.changes).toEqual([{ field: 'status_requested', before: 'ON', after: 'OFF' }]);
  expect(all[4]?.changes).toContainEqual({ field: 'command', before: null, after: ['true'] });
  // By the names that its users know.
  expect(all[4]?.changes).toContainEqual(
    expect.objectContaining({
      field: 'networking.default',
      after: expect.objectContaining({ ip_allow_list: [] }) as object,
    }),
  );
});

test('adds no entry for a change without effect, a refused change, or a change by Podgate itself', async () => {
  await stand.create('alice', 'mypod');
  await stand.call('alice', 'PUT', '/v3/pods/mypod', { description: '' });
  await stand.call('alice', 'PUT', '/v3/pods/mypod', { description: 'x' }, { 'If-Match': '"7"' });
  await stand.call('bob', 'DELETE', '/v3/pods/mypod');
  await stand.overwrite('mypod', { status: 'RUNNING' });
  expect(operations(await entries('alice', '/pods/mypod/audit'))).toEqual(['create_pod']);
});

test('records no secret: only which variable and that its value was replaced', async () => {
  const variables = { PASSWORD: 'swordfish1', OTHER: 'swordfish2' };
  await stand.create('alice', 'mypod', {
    pod_template: 'podgate/process',
    command: ['true'],
    environment_variables: variables,
  });
  const change = { environment_variables: { ...variables, PASSWORD: 'swordfish3' } };
  await stand.call('alice', 'PUT', '/v3/pods/mypod', change);
  await stand.call('alice', 'POST', '/v3/pods/secrets', { secret_id: 'mysecret', secret_value: 'swordfish4' });
  await stand.call('alice', 'PUT', '/v3/pods/secrets/mysecret', { secret_value: 'swordfish5' });
  const [changed] = await entries('alice', '/pods/mypod/audit');
  expect(changed?.changes).toEqual([
    { field: 'environment_variables.PASSWORD', before: '(hidden)', after: '(hidden)' },
  ]);
  const [replaced] = await entries('alice', '/pods/secrets/mysecret/audit');
  expect(replaced?.changes).toEqual([{ field: 'secret_value', before: '(hidden)', after: '(hidden)' }]);
  const stored = await stand.database.store.list('audit', { tenant: 'default', limit: 100 });
  expect(JSON.stringify([stored.map(({ value }) => value), await entries('alice', '/audit')])).not.toMatch(/swordfish/);
});

test('covers every kind of object, and administrators can read that of the whole tenant', async () => {
  await stand.create('alice', 'mypod');
  await stand.call('alice', 'POST', '/v3/pods/volumes', { volume_id: 'myvolume' });
  await stand.call('alice', 'PUT', '/v3/pods/volumes/myvolume', { description: 'x' });
  const snapshot = { snapshot_id: 'mysnapshot', source_volume_id: 'myvolume', source_volume_path: '/' };
  await stand.call('alice', 'POST', '/v3/pods/snapshots', snapshot);
  await stand.call('alice', 'POST', '/v3/pods/secrets', { secret_id: 'mysecret', secret_value: 'x' });
  await stand.call('alice', 'POST', '/v3/pods/templates', { template_id: 'mytemplate' });
  const tag = { tag: 'one', commit_message: 'x', pod_definition: { template: 'podgate/hello' } };
  await stand.call('alice', 'POST', '/v3/pods/templates/mytemplate/tags', tag);
  await stand.call('root', 'POST', '/v3/pods/images', { image: 'example/x' });
  await stand.call('root', 'PUT', '/v3/pods/images/example%2Fx', { description: 'x' });
  await stand.call('root', 'DELETE', '/v3/pods/images/example%2Fx');

  expect(operations(await entries('alice', '/pods/volumes/myvolume/audit'))).toEqual([
    'update_volume',
    'create_volume',
  ]);
  expect(operations(await entries('alice', '/pods/snapshots/mysnapshot/audit'))).toEqual(['create_snapshot']);
  expect((await entries('alice', '/pods/templates/mytemplate/audit'))[0]?.changes).toEqual([
    { field: 'tags', before: null, after: 'one@2026-11-23-10:20:30' },
  ]);
  const ofAlice = await entries('alice', '/audit');
  expect(operations(ofAlice).toSorted()).toEqual(
    [
      ...['add_template', 'add_template_tag', 'create_pod', 'create_secret', 'create_snapshot', 'create_volume'],
      'update_volume',
    ].toSorted(),
  );
  const ofAll = await entries('root', '/audit', ADMIN);
  expect(ofAll).toHaveLength(ofAlice.length + 3);
  expect(ofAll.map(({ id }) => id)).toEqual(
    ofAll
      .map(({ id }) => id)
      .toSorted()
      .toReversed(),
  );
  expect(operations(await entries('root', '/audit?object_kind=image&order=asc', ADMIN))).toEqual([
    'add_image',
    'update_image',
    'delete_image',
  ]);
  expect(await entries('root', '/audit?user=alice&operation=create_pod&limit=5', ADMIN)).toHaveLength(1);
});

test('only a user with ADMIN can read it, and no longer once ADMIN is revoked', async () => {
  await stand.create('alice', 'mypod');
  expect((await stand.call('bob', 'GET', '/v3/pods/mypod/audit')).status).toBe(403);
  await stand.call('alice', 'POST', '/v3/pods/mypod/permissions', { user: 'bob', level: 'USER' });
  expect((await stand.call('bob', 'GET', '/v3/pods/mypod/audit')).status).toBe(403);
  expect(await entries('bob', '/audit')).toEqual([]);
  await stand.call('alice', 'POST', '/v3/pods/mypod/permissions', { user: 'bob', level: 'ADMIN' });
  expect(await entries('bob', '/audit')).toHaveLength(3);
  await stand.call('bob', 'DELETE', '/v3/pods/mypod/permissions/alice');
  expect([(await entries('alice', '/audit')).length, (await entries('bob', '/audit')).length]).toEqual([0, 4]);
  expect((await stand.call('alice', 'GET', '/v3/audit', undefined, ADMIN)).status).toBe(403);
  expect((await stand.call('alice', 'GET', '/v3/pods/nopod/audit')).status).toBe(404);
});

test('the creator of a deleted object can read its audit log; a new object with the same ID starts an empty one', async () => {
  await stand.call('alice', 'POST', '/v3/pods/volumes', { volume_id: 'myvolume' });
  await stand.call('root', 'DELETE', '/v3/pods/volumes/myvolume');
  await stand.call('alice', 'POST', '/v3/pods/volumes', { volume_id: 'myvolume' });
  expect(operations(await entries('alice', '/pods/volumes/myvolume/audit'))).toEqual(['create_volume']);
  const all = await entries('alice', '/audit?order=asc');
  expect(all.map(({ operation, user }) => [operation, user]).toSorted()).toEqual([
    ['create_volume', 'alice'],
    ['create_volume', 'alice'],
    ['delete_volume', 'root'],
  ]);
  await stand.create('alice', 'mypod');
  await stand.call('alice', 'DELETE', '/v3/pods/mypod');
  await stand.call('alice', 'POST', '/v3/pods/secrets', { secret_id: 'mysecret', secret_value: 'x' });
  await stand.call('alice', 'DELETE', '/v3/pods/secrets/mysecret');
  const deleted = (await entries('alice', '/audit')).filter(({ operation }) => operation.startsWith('delete_'));
  expect(operations(deleted).toSorted()).toEqual(['delete_pod', 'delete_secret', 'delete_volume']);
});

test('keeps the last 50 changes of an object, 200 of deleted objects, for 90 days', async () => {
  await stand.create('alice', 'mypod');
  for (let at = 0; at < 60; at += 1) {
    stand.now += 1;
    await stand.call('alice', 'PUT', '/v3/pods/mypod', { description: `the ${at}th` });
  }
  const kept = await entries('alice', '/pods/mypod/audit');
  expect([kept.length, kept[0]?.changes[0]?.after, kept.at(-1)?.changes[0]?.after]).toEqual([
    50,
    'the 59th',
    'the 10th',
  ]);
  for (let at = 0; at < 70; at += 1) {
    await stand.call('alice', 'POST', '/v3/pods/volumes', { volume_id: `vol${at}`, description: 'x'.repeat(255) });
    await stand.call('alice', 'PUT', `/v3/pods/volumes/vol${at}`, { description: 'y'.repeat(255) });
    await stand.call('alice', 'DELETE', `/v3/pods/volumes/vol${at}`);
  }
  for (const { value } of await stand.database.store.list('audit', { tenant: 'default', limit: 100 })) {
    expect(JSON.stringify(value).length).toBeLessThan(65 * 1024);
    expect(value.entries.length).toBeLessThanOrEqual(200);
  }
  expect(await stand.database.store.list('audit', { tenant: 'default', limit: 100 })).toHaveLength(2);
  stand.now += 91 * 24 * 60 * 60 * 1000;
  expect(await entries('root', '/pods/mypod/audit')).toEqual([]);
  expect(await entries('root', '/audit', ADMIN)).toEqual([]);
});

test('concurrent changes each add an entry', async () => {
  await stand.create('alice', 'mypod');
  const statuses = await Promise.all(
    Array.from({ length: 20 }, async (_, at) => {
      const body = { user: `user${at}`, level: 'READ' };
      return (await stand.call('alice', 'POST', '/v3/pods/mypod/permissions', body)).status;
    }),
  );
  expect(new Set(statuses)).toEqual(new Set([200]));
  expect(await entries('alice', '/pods/mypod/audit')).toHaveLength(21);
  for (let at = 0; at < 10; at += 1) await stand.call('alice', 'POST', '/v3/pods/volumes', { volume_id: `vol${at}` });
  const deletions = await Promise.all(
    Array.from(
      { length: 10 },
      async (_, at) => (await stand.call('alice', 'DELETE', `/v3/pods/volumes/vol${at}`)).status,
    ),
  );
  expect(deletions).toEqual(Array.from({ length: 10 }, () => 200));
  const deleted = await entries('alice', '/audit?operation=delete_volume');
  expect(deleted).toHaveLength(10);
});
