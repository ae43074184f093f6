import { afterAll, beforeAll, expect, test } from 'vitest';

import { resolveMounts } from '../../../core/resolve-mounts.ts';
import { ApiStand } from './api-stand.ts';

let stand: ApiStand;
beforeAll(async () => {
  stand = await ApiStand.start();
  await stand.call('alice', 'POST', '/v3/pods/volumes', { volume_id: 'shared', size_limit: 5 });
  await stand.call('alice', 'POST', '/v3/pods/volumes/shared/permissions', { user: 'bob', level: 'READ' });
});
afterAll(() => stand.close());

const pod = (user: string, podId: string, volumeMounts: object) =>
  stand.call(user, 'POST', '/v3/pods', {
    pod_id: podId,
    pod_template: 'podgate/hello',
    status_requested: 'OFF',
    volume_mounts: volumeMounts,
  });
const resolved = async (podId: string) =>
  resolveMounts(stand.database.store, 'default', (await stand.record(podId)).spec);

test('a volume is mounted in both forms of the API, and returned in the same form', async () => {
  const byName = await pod('alice', 'byname', { shared: { type: 'tapisvolume', mount_path: '/data', sub_path: 'a' } });
  expect([byName.status, (byName.body.result as { volume_mounts: object }).volume_mounts]).toEqual([
    200,
    { shared: { type: 'tapisvolume', mount_path: '/data', sub_path: 'a', mounted_by: 'alice' } },
  ]);
  // As the newer clients send it, with every field.
  const entry = { type: 'tapisvolume', source_id: 'shared', sub_path: '', read_only: null, mounted_by: 'eve' };
  const config = {
    config_content: null,
    config_permissions: '0644',
    config_filename: null,
    config_update_mode: 'always',
  };
  const byPath = await pod('alice', 'bypath', { '/data': { ...entry, ...config } });
  expect([byPath.status, (byPath.body.result as { volume_mounts: object }).volume_mounts]).toEqual([
    200,
    { '/data': { ...entry, read_only: false, mounted_by: 'alice' } },
  ]);
  const { uid } = (await stand.database.store.get('volume', 'default/shared'))?.value ?? {};
  expect(await resolved('byname')).toEqual({
    kind: 'resolved',
    mounts: [
      {
        ref: { kind: 'volume', uid, tenant: 'default', id: 'shared' },
        ...{ name: 'shared', mountPath: '/data', subPath: 'a', isReadOnly: false, sizeLimitMiB: 5 },
      },
    ],
  });
  const refused = await pod('alice', 'config', { '/data': { ...entry, config_content: 'x' } });
  expect([refused.status, refused.body.message]).toEqual([
    400,
    [expect.stringContaining('config_content: writing configuration files') as string],
  ]);
});

test('READ mounts read-only, USER writable, and a volume without permission cannot be mounted', async () => {
  const entry = { type: 'tapisvolume', source_id: 'shared' };
  const refused = 'volume_mounts./data: there is no volume shared on which';
  const asEve = await pod('eve', 'ofeve', { '/data': { ...entry, read_only: true } });
  expect([asEve.status, asEve.body.message]).toEqual([400, [`${refused} eve has READ.`]]);
  // The role of an administrator is in no token at later starts.
  expect((await pod('root', 'ofroot', { '/data': entry })).status).toBe(400);
  const written = await pod('bob', 'ofbob', { '/data': entry });
  expect([written.status, written.body.message]).toEqual([
    400,
    [`${refused} bob has USER; with READ, set read_only to true.`],
  ]);
  expect((await pod('bob', 'ofbob', { '/data': { ...entry, read_only: true } })).status).toBe(200);
  const there = await pod('alice', 'nowhere', { '/data': { ...entry, source_id: 'nothere' } });
  expect(there.body.message).toEqual([expect.stringContaining('there is no volume nothere')]);

  await stand.call('alice', 'DELETE', '/v3/pods/volumes/shared/permissions/bob');
  expect(await resolved('ofbob')).toEqual({
    kind: 'failed',
    reason: 'volume_mounts: there is no volume shared on which bob has READ.',
  });
});

test('a mount keeps its owner; others with ADMIN can only remove it', async () => {
  await stand.call('alice', 'POST', '/v3/pods/bypath/permissions', { user: 'carol', level: 'USER' });
  const put = (user: string, body: object) => stand.call(user, 'PUT', '/v3/pods/bypath', body);
  const entry = { type: 'tapisvolume', source_id: 'shared' };
  const same = await put('carol', { description: 'new', volume_mounts: { '/data': entry } });
  expect([same.status, (await stand.record('bypath')).spec.volumeMounts]).toEqual([
    200,
    [expect.objectContaining({ mountedBy: 'alice' })],
  ]);
  expect((await put('carol', { volume_mounts: { '/data': { ...entry, sub_path: 'x' } } })).status).toBe(400);
  expect((await put('carol', { volume_mounts: {} })).status).toBe(403);
  expect((await put('alice', { volume_mounts: { '/data': { ...entry, read_only: true } } })).status).toBe(200);
});

test('a mounted volume cannot be deleted', async () => {
  const refused = await stand.call('alice', 'DELETE', '/v3/pods/volumes/shared');
  expect([refused.status, refused.body.message]).toEqual([
    409,
    'The volume shared is mounted by pods byname, bypath, ofbob: remove it from volume_mounts first.',
  ]);
  expect((await stand.call('alice', 'GET', '/v3/pods/volumes/shared')).status).toBe(200);
  for (const podId of ['byname', 'bypath']) {
    expect((await stand.call('alice', 'PUT', `/v3/pods/${podId}`, { volume_mounts: {} })).status).toBe(200);
  }
  await stand.call('bob', 'PUT', '/v3/pods/ofbob', { volume_mounts: {} });
  expect((await stand.call('alice', 'DELETE', '/v3/pods/volumes/shared')).status).toBe(200);
});

test('says so where pods cannot mount volumes', async () => {
  const other = await ApiStand.start({ mountProblem: 'no mounts here' });
  await other.call('alice', 'POST', '/v3/pods/volumes', { volume_id: 'shared' });
  const refused = await other.call('alice', 'POST', '/v3/pods', {
    ...{ pod_id: 'mine', pod_template: 'podgate/hello' },
    volume_mounts: { shared: { type: 'tapisvolume' } },
  });
  expect([refused.status, refused.body.message]).toEqual([400, ['volume_mounts: no mounts here']]);
  await other.close();
});
