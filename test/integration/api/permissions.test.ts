import { request } from 'node:http';
import { afterEach, beforeEach, expect, test } from 'vitest';

import type { PermissionLevel } from '../../../core/pod.ts';
import { ApiStand } from './api-stand.ts';

let stand: ApiStand;
beforeEach(async () => {
  stand = await ApiStand.start();
  await stand.create('alice', 'mypod', { pod_template: 'postgres' });
});
afterEach(async () => {
  await stand.close();
});

const give = (by: string, user: string, level: string) =>
  stand.call(by, 'POST', '/v3/pods/mypod/permissions', { user, level });

/** What each operation needs; the order leaves the pod as later ones want it. */
const OPERATIONS = [
  ['READ', 'GET', ''],
  ['READ', 'GET', '/logs'],
  ['READ', 'GET', '/metrics'],
  ['USER', 'PUT', '', { description: 'x' }],
  ['USER', 'GET', '/credentials'],
  ['USER', 'GET', '/permissions'],
  ['USER', 'GET', '/connections'],
  ['USER', 'GET', '/explain'],
  ['USER', 'GET', '/explain?request_id=abc'],
  ['ADMIN', 'PUT', '', { status_requested: 'OFF' }],
  ['ADMIN', 'POST', '/permissions', { user: 'zoe', level: 'READ' }],
  ['ADMIN', 'DELETE', '/permissions/zoe'],
  ['ADMIN', 'GET', '/start'],
  ['ADMIN', 'POST', '/stop'],
  ['ADMIN', 'GET', '/restart'],
  ['ADMIN', 'DELETE', ''],
] as const;
const LEVELS = ['none', 'READ', 'USER', 'ADMIN'] as const;

test.each(LEVELS)(
  'a user with %s may do what that level allows, and gets 403 with the reason otherwise',
  async (level) => {
    if (level !== 'none') expect((await give('alice', 'bob', level)).status).toBe(200);
    for (const [needed, method, path, body] of OPERATIONS) {
      const answer = await stand.call('bob', method, `/v3/pods/mypod${path}`, body);
      const isAllowed = LEVELS.indexOf(level) >= LEVELS.indexOf(needed);
      expect([method, path, answer.status]).toEqual([method, path, isAllowed ? 200 : 403]);
      if (!isAllowed)
        expect(answer.body.message).toMatch(
          /needs (USER|ADMIN|READ) on pod mypod; you have (no permission|READ|USER)\./,
        );
    }
    const list = (await stand.call('bob', 'GET', '/v3/pods')).body.result as unknown[];
    // The ADMIN has deleted it by now.
    expect(list).toHaveLength(level === 'none' || level === 'ADMIN' ? 0 : 1);
  },
);

test('an administrator, by role or by configuration, passes every check, but lists no more than others', async () => {
  const byRole = { 'X-Tapis-Token': await stand.token('eve', 'default', ['pods_admin']) };
  expect((await stand.call(null, 'GET', '/v3/pods/mypod/permissions', undefined, byRole)).status).toBe(200);
  expect((await stand.call('root', 'GET', '/v3/pods/mypod/stop')).status).toBe(200);
  expect((await stand.call('root', 'GET', '/v3/pods')).body.result).toEqual([]);
  const otherRole = { 'X-Tapis-Token': await stand.token('eve', 'default', ['pods_admins', 'admin']) };
  expect((await stand.call(null, 'GET', '/v3/pods/mypod', undefined, otherRole)).status).toBe(403);
});

test('granted, replaced and revoked permissions take effect in lists at once', async () => {
  const seen = async () => ((await stand.call('bob', 'GET', '/v3/pods')).body.result as unknown[]).length;
  expect(await seen()).toBe(0);
  expect((await give('alice', 'bob', 'READ')).body).toMatchObject({
    message: 'Pod permissions updated successfully.',
    result: { permissions: ['alice:ADMIN', 'bob:READ'] },
  });
  expect(await seen()).toBe(1);
  expect((await give('alice', 'bob', 'USER')).body.result).toEqual({ permissions: ['alice:ADMIN', 'bob:USER'] });
  expect((await stand.call('bob', 'GET', '/v3/pods/mypod/permissions')).body).toMatchObject({
    message: 'Pod permissions retrieved successfully.',
    result: { permissions: ['alice:ADMIN', 'bob:USER'] },
  });
  expect((await stand.call('alice', 'DELETE', '/v3/pods/mypod/permissions/bob')).body).toMatchObject({
    message: 'Pod permission deleted successfully.',
    result: { permissions: ['alice:ADMIN'] },
  });
  expect(await seen()).toBe(0);
  expect((await stand.call('alice', 'DELETE', '/v3/pods/mypod/permissions/bob')).status).toBe(404);
  const { action_logs: actions } = (await stand.call('alice', 'GET', '/v3/pods/mypod/logs')).body.result as {
    action_logs: string[];
  };
  expect(actions.join('\n')).toContain("'alice' set permission for 'bob' to READ");
});

test('the last ADMIN cannot be removed in any way', async () => {
  for (const answer of [
    await stand.call('alice', 'DELETE', '/v3/pods/mypod/permissions/alice'),
    await give('alice', 'alice', 'USER'),
  ]) {
    expect(answer.status).toBe(400);
    expect(answer.body.message).toEqual(['level: at least one user must stay ADMIN of the pod']);
  }
  await give('alice', 'bob', 'ADMIN');
  const both = await Promise.all([
    stand.call('alice', 'DELETE', '/v3/pods/mypod/permissions/alice'),
    stand.call('bob', 'DELETE', '/v3/pods/mypod/permissions/bob'),
  ]);
  expect(both.map(({ status }) => status).sort()).toEqual([200, 400]);
});

test.each([
  [{}, ['user: is required', 'level: must be one of READ, USER, ADMIN']],
  [{ user: 'bob', level: 'OWNER' }, ['level: must be one of READ, USER, ADMIN']],
  [{ user: 'bob', level: 'read' }, ['level: must be one of READ, USER, ADMIN']],
  [{ user: 'bob', level: null }, ['level: must be one of READ, USER, ADMIN']],
  [{ user: 7, level: 'READ' }, ['user: must be a string']],
  [{ user: '', level: 'READ' }, ['user: must not be empty']],
  [{ user: 'a:b', level: 'READ' }, ['user: must not contain whitespace, control characters, ":" or "/"']],
  [{ user: 'a b', level: 'READ' }, ['user: must not contain whitespace, control characters, ":" or "/"']],
  [{ user: 'a\u200b', level: 'READ' }, ['user: must not contain whitespace, control characters, ":" or "/"']],
  [{ user: '__proto__', level: 'READ' }, ['user: is reserved']],
  [{ user: 'constructor', level: 'ADMIN' }, ['user: is reserved']],
  [{ user: 'a'.repeat(129), level: 'READ' }, ['user: must have at most 128 characters']],
  [{ user: 'bob', level: 'READ', extra: 1 }, ['extra: unknown field']],
  [[], ['body: must be a JSON object']],
])('the permission %j is rejected', async (body, problems) => {
  const answer = await stand.call('alice', 'POST', '/v3/pods/mypod/permissions', body);
  expect([answer.status, answer.body.message]).toEqual([400, problems]);
  expect((await stand.record('mypod')).permissions).toEqual({ alice: 'ADMIN' });
});

test('a user named like a property of Object has no permission', async () => {
  for (const name of ['toString', 'hasOwnProperty', 'valueOf']) {
    expect((await stand.call(name, 'GET', '/v3/pods/mypod')).status).toBe(403);
    expect((await stand.call('alice', 'DELETE', `/v3/pods/mypod/permissions/${name}`)).status).toBe(404);
  }
});

test('names with @ and dots work, also in the path', async () => {
  expect((await give('alice', 'bob.b@example.org', 'READ')).status).toBe(200);
  const path = `/v3/pods/mypod/permissions/${encodeURIComponent('bob.b@example.org')}`;
  expect((await stand.call('alice', 'DELETE', path)).status).toBe(200);
});

test('a pod with the same ID in another tenant is a different pod', async () => {
  const other = { 'X-Tapis-Token': await stand.token('alice', 'other') };
  // Over the plain port, the host tells the tenant: fetch sets it by itself, so this one is raw.
  const status = await rawStatus('other.example.org', other['X-Tapis-Token']);
  expect(status).toBe(404);
  expect((await stand.call(null, 'GET', '/v3/pods/mypod', undefined, other)).status).toBe(401);
});

async function rawStatus(host: string, token: string): Promise<number> {
  return await new Promise((resolve, reject) => {
    request(
      { host: '127.0.0.1', port: stand.port, path: '/v3/pods/mypod', headers: { host, 'x-tapis-token': token } },
      (answer) => {
        answer.resume();
        resolve(answer.statusCode ?? 0);
      },
    )
      .on('error', reject)
      .end();
  });
}

test.each(['*', 'tenant.default'])('%s gives READ to every user of the tenant, and nothing more', async (grantee) => {
  await stand.create('carol', 'another');
  expect((await give('alice', grantee, 'READ')).body.result).toEqual({
    permissions: ['alice:ADMIN', `${grantee}:READ`],
  });
  await give('alice', 'bob', 'USER');
  const listed = async (user: string) =>
    ((await stand.call(user, 'GET', '/v3/pods')).body.result as { pod_id: string }[]).map(({ pod_id: id }) => id);
  // Each once, in order, whether it was shared by name, with all, or both.
  expect(await listed('zoe')).toEqual(['mypod']);
  expect(await listed('bob')).toEqual(['mypod']);
  expect(await listed('carol')).toEqual(['another', 'mypod']);
  expect((await stand.call('zoe', 'GET', '/v3/pods/mypod')).status).toBe(200);
  expect((await stand.call('bob', 'GET', '/v3/pods/mypod/credentials')).status).toBe(200);
  const refused = await stand.call('zoe', 'GET', '/v3/pods/mypod/credentials');
  expect([refused.status, refused.body.message]).toEqual([403, expect.stringContaining('you have READ')]);
  const path = `/v3/pods/mypod/permissions/${encodeURIComponent(grantee)}`;
  expect((await stand.call('alice', 'DELETE', path)).status).toBe(200);
  expect(await listed('zoe')).toEqual([]);
  expect((await stand.call('zoe', 'GET', '/v3/pods/mypod')).status).toBe(403);
});

test.each([
  ['*', 'USER', ['level: must be READ for all users of a tenant']],
  ['tenant.default', 'ADMIN', ['level: must be READ for all users of a tenant']],
  ['tenant.other', 'READ', ['user: a pod can be shared within its own tenant only, by * or tenant.default']],
  ['tenant.', 'READ', ['user: a pod can be shared within its own tenant only, by * or tenant.default']],
  ['**', 'ADMIN', ['user: is reserved']],
])('giving %s the level %s is rejected where it would grant too much', async (user, level, problems) => {
  const answer = await give('alice', user, level);
  expect([answer.status, answer.body.message]).toEqual([400, problems]);
});

test('nobody can log in under a name that stands for all users', async () => {
  await expect(stand.token('*')).rejects.toThrow('is reserved');
  await expect(stand.token('tenant.default')).rejects.toThrow('is reserved');
});

test('a list of several pages has each pod once and in order, whether it is shared with all, by name or both', async () => {
  const ids = Array.from({ length: 45 }, (_, index) => `pod${String(index).padStart(2, '0')}`);
  for (const [index, id] of ids.entries()) {
    await stand.create(`owner${index % 3}`, id, { status_requested: 'OFF' });
    const permissions: Record<string, PermissionLevel> = { dora: 'ADMIN' };
    if (index % 2 === 0) permissions['*'] = 'READ';
    if (index % 3 === 0) permissions['zoe'] = 'USER';
    await stand.overwrite(id, { permissions });
  }
  const listed = (await stand.call('zoe', 'GET', '/v3/pods')).body.result as { pod_id: string }[];
  expect(listed.map(({ pod_id: id }) => id)).toEqual(ids.filter((_, index) => index % 2 === 0 || index % 3 === 0));
});

test('returns metrics of at most 100 pods that the caller may read, and the reason for missing figures', async () => {
  await stand.create('bob', 'bobspod', { pod_template: 'postgres' });
  const read = (pods: string) => stand.call('alice', 'GET', `/v3/pods/metrics?pod_ids=${pods}`);
  const asked: (readonly string[])[] = [];
  const counts = { sessionsNow: 1, requestsNow: 0, sessions: 3, requests: 0, refusals: 2, bytesIn: 10, bytesOut: 20 };
  stand.traffic = async (uids) => {
    asked.push(uids);
    return { traffic: new Map(uids.map((uid) => [uid, counts])), missing: [] };
  };
  const { status, body } = await read('mypod,bobspod,nopod,mypod');
  expect(status).toBe(200);
  expect(body.result).toEqual([
    {
      ...{ pod_id: 'mypod', memory_bytes: null, cpu_millis: null, window_seconds: null, measured_ts: null },
      traffic: {
        ...{ sessions_now: 1, requests_now: 0, sessions_total: 3, requests_total: 0, refusals_total: 2 },
        ...{ bytes_in: 10, bytes_out: 20 },
      },
    },
  ]);
  // One question about the pods that the caller may read.
  expect(asked.map(({ length }) => length)).toEqual([1]);
  stand.traffic = async () => ({ traffic: new Map(), missing: ['worker 1 of replica a'] });
  expect((await read('mypod')).body.result).toMatchObject([{ pod_id: 'mypod', traffic: null }]);
  expect(body.metadata).toMatchObject({ note: 'The orchestrator of this installation does not tell what pods use.' });
  // One user cannot keep the workers busy: 30 at once, then 120 a minute.
  asked.length = 0;
  stand.traffic = async (uids) => {
    if (uids.length > 0) asked.push(uids);
    return { traffic: new Map(), missing: [] };
  };
  for (let call = 0; call < 40; call += 1) expect((await read('mypod')).status).toBe(200);
  expect(asked.length).toBeGreaterThan(20);
  expect(asked.length).toBeLessThan(36);
  const many = Array.from({ length: 101 }, (_, index) => `pod${index}`);
  expect(await read(many.join())).toMatchObject({
    status: 400,
    body: { message: ['pod_ids: at most 100; you sent 101'] },
  });
  expect((await read(many.slice(1).join())).body.result).toEqual([]);
  expect((await read('')).body.result).toEqual([]);
  expect(await read('x'.repeat(6_401))).toMatchObject({ status: 400 });
});
