import { afterEach, beforeEach, expect, test } from 'vitest';

import { ApiStand } from './api-stand.ts';

let stand: ApiStand;
beforeEach(async () => {
  stand = await ApiStand.start();
});
afterEach(() => stand.close());

const VALUE = 'correct horse battery staple';
const SECRETS = '/v3/pods/secrets';
const secret = async (user: string, id: string, change: object = {}) =>
  await stand.call(user, 'POST', SECRETS, { secret_id: id, secret_value: VALUE, ...change });
const share = async (id: string, user: string, level: string) =>
  await stand.call('alice', 'POST', `${SECRETS}/${id}/permissions`, { user, level });
const pod = async (user: string, podId: string, change: object) =>
  await stand.call(user, 'POST', '/v3/pods', {
    ...{ pod_id: podId, pod_template: 'podgate/process', command: ['x'], status_requested: 'OFF' },
    ...change,
  });

test('a secret is created, listed, read, changed and deleted; its value is in only one response', async () => {
  const created = await secret('alice', 'db-pass', { description: 'of the database' });
  expect(created.status).toBe(200);
  expect(created.body).toMatchObject({
    message: 'Secret created successfully.',
    result: {
      ...{ secret_id: 'db-pass', scope: 'user', pod_id: null, readable: true, writable: true, added_by: 'alice' },
      ...{ description: 'of the database', sk_secret_name: 'pods_default_user_alice_db-pass' },
    },
  });
  expect((await secret('bob', 'db-pass')).status).toBe(409);
  const listed = await stand.call('alice', 'GET', SECRETS);
  expect(listed.body.result).toEqual([created.body.result]);
  expect((await stand.call('bob', 'GET', SECRETS)).body.result).toEqual([]);
  expect((await stand.call('alice', 'GET', `${SECRETS}/db-pass/value`)).body.result).toEqual({
    ...{ secret_id: 'db-pass', secret_value: VALUE },
  });
  const same = await stand.call('alice', 'PUT', `${SECRETS}/db-pass`, { secret_value: VALUE });
  expect(same.body.status).toBe('error');
  const changed = await stand.call('alice', 'PUT', `${SECRETS}/db-pass`, { secret_value: `${VALUE} 2` });
  expect(changed.body.message).toBe('Secret updated successfully.');
  expect(changed.headers.get('etag')).toBe('"2"');
  const stored = await stand.database.store.get('secret', 'default/db-pass');
  for (const text of [created, listed, same, changed].map(({ body }) => JSON.stringify(body))) {
    expect(text).not.toContain(VALUE);
  }
  expect(JSON.stringify(stored)).not.toContain(VALUE);
  expect((await stand.call('alice', 'DELETE', `${SECRETS}/db-pass`)).body.message).toBe('Secret successfully deleted.');
  expect((await stand.call('alice', 'GET', `${SECRETS}/db-pass`)).status).toBe(404);
  expect(stand.logLines.join('\n')).not.toContain(VALUE);
  expect(stand.logLines.join('\n')).toContain('updated_fields: secret_value');
});

test('text that has no UTF-8 form is refused wherever it is sent, and nothing is stored', async () => {
  const refusal = (field: string) => ({
    status: 400,
    body: { message: [expect.stringMatching(`^${field}: .*half of a UTF-16 surrogate pair`)] },
  });
  const half = 'pass\ud83dword';
  expect(await secret('alice', 'halved', { secret_value: half })).toMatchObject(refusal('secret_value'));
  expect((await stand.call('alice', 'GET', `${SECRETS}/halved`)).status).toBe(404);
  await secret('alice', 'whole');
  expect(await stand.call('alice', 'PUT', `${SECRETS}/whole`, { secret_value: half })).toMatchObject(
    refusal('secret_value'),
  );
  expect(await pod('alice', 'halved', { environment_variables: { PASSWORD: half } })).toMatchObject(
    refusal('environment_variables.PASSWORD'),
  );
  expect(await pod('alice', 'halved', { command: ['sh', half] })).toMatchObject(refusal('command.1'));
  expect((await stand.call('alice', 'GET', '/v3/pods/halved')).status).toBe(404);
  const whole = 'pass\ud83d\ude00word';
  await stand.call('alice', 'PUT', `${SECRETS}/whole`, { secret_value: whole });
  expect((await stand.call('alice', 'GET', `${SECRETS}/whole/value`)).body.result).toMatchObject({
    secret_value: whole,
  });
  const list = await stand.call('alice', 'GET', '/v3/pods/volumes/nothing/list?path=caf%e9');
  expect([list.status, list.body.message]).toEqual([400, 'The query is not valid UTF-8.']);
});

test('READ shows that a secret exists, USER its value; ADMIN may delete and share it', async () => {
  await secret('alice', 'shared');
  expect((await stand.call('bob', 'GET', `${SECRETS}/shared`)).status).toBe(403);
  await share('shared', 'bob', 'READ');
  expect((await stand.call('bob', 'GET', `${SECRETS}/shared`)).status).toBe(200);
  expect((await stand.call('bob', 'GET', `${SECRETS}/shared/value`)).status).toBe(403);
  expect((await stand.call('bob', 'PUT', `${SECRETS}/shared`, { description: 'x' })).status).toBe(403);
  await share('shared', 'bob', 'USER');
  expect((await stand.call('bob', 'GET', `${SECRETS}/shared/value`)).status).toBe(200);
  expect((await stand.call('bob', 'GET', SECRETS)).body.result).toHaveLength(1);
  expect((await stand.call('bob', 'DELETE', `${SECRETS}/shared`)).status).toBe(403);
  expect((await stand.call('bob', 'GET', `${SECRETS}/shared/permissions`)).body.result).toEqual({
    permissions: ['alice:ADMIN', 'bob:USER'],
  });
});

test('a secret that is not readable or not writable can only be used by pods', async () => {
  await secret('alice', 'locked', { readable: false, writable: false });
  expect((await stand.call('alice', 'GET', `${SECRETS}/locked/value`)).status).toBe(403);
  const refused = await stand.call('alice', 'PUT', `${SECRETS}/locked`, { secret_value: 'other' });
  expect([refused.status, refused.body.message]).toEqual([403, expect.stringContaining('not writable')]);
  expect((await stand.call('alice', 'PUT', `${SECRETS}/locked`, { description: 'x' })).status).toBe(200);
});

test('a rejected new secret is explained by field', async () => {
  const answer = await stand.call('alice', 'POST', SECRETS, {
    secret_id: 'no space',
    secret_value: 'a\0b',
    scope: 'x',
  });
  expect(answer.status).toBe(400);
  expect(answer.body.message).toEqual([
    expect.stringContaining('secret_id: must contain only'),
    expect.stringContaining('secret_value: must not contain NUL'),
    expect.stringContaining('scope: must be one of user, pod'),
  ]);
  expect((await secret('alice', 'mine', { scope: 'pod' })).body.message).toEqual([
    'pod_id: is required with scope pod',
  ]);
});

test('a pod refers to secrets that its writer may use; records, lists and updates have only references', async () => {
  await secret('alice', 'mine');
  const map = { PASS: '${secret:mine}', WORD: '${pods:random:16}' };
  const environment = {
    URL: 'postgres://u:${pods:secrets:PASS}@${pods:url}/db',
    W: '${pods:secrets:WORD}',
    HOME: '${HOME}',
  };
  const created = await pod('alice', 'mypod', { secret_map: map, environment_variables: environment });
  expect(created.body).toMatchObject({
    status: 'success',
    result: { secret_map: map, environment_variables: environment },
  });
  expect(JSON.stringify(await stand.record('mypod'))).not.toContain(VALUE);
  const plain = await stand.call('alice', 'GET', '/v3/pods/mypod/derived');
  expect(plain.body.result).toMatchObject({ environment_variables: environment });
  const derived = await stand.call('alice', 'GET', '/v3/pods/mypod/derived?resolve_secrets=true');
  const { environment_variables: resolved } = derived.body.result as { environment_variables: Record<string, string> };
  expect(resolved).toEqual({
    URL: `postgres://u:${VALUE}@mypod.pods.localhost/db`,
    W: expect.stringMatching(/^[A-Za-z0-9]{16}$/) as unknown,
    HOME: '${HOME}',
  });
  const same = await stand.call('alice', 'PUT', '/v3/pods/mypod', { secret_map: map });
  expect(same.body.status).toBe('error');
  await stand.call('alice', 'PUT', '/v3/pods/mypod', { secret_map: { ...map, MORE: '${pods:default:x}' } });
  const { action_logs: actions } = (await stand.call('alice', 'GET', '/v3/pods/mypod')).body.result as {
    action_logs: string[];
  };
  expect(actions.at(-1)).toMatch(/updated_fields: secret_map$/);
  const again = await stand.call('alice', 'GET', '/v3/pods/mypod/derived?resolve_secrets=true');
  expect((again.body.result as { environment_variables: object }).environment_variables).toEqual(resolved);

  await stand.call('alice', 'POST', '/v3/pods/mypod/permissions', { user: 'bob', level: 'USER' });
  expect((await stand.call('bob', 'GET', '/v3/pods/mypod/derived?resolve_secrets=true')).status).toBe(403);
});

test('secrets of other users, of other pods and unknown ones are rejected with the same message', async () => {
  await secret('alice', 'mine');
  await secret('bob', 'only', { scope: 'pod', pod_id: 'bobspod' });
  const refused = async (reference: string, podId = 'mypod') =>
    (await pod('bob', podId, { secret_map: { A: reference } })).body.message;
  expect(await refused('${secret:mine}')).toEqual(['secret_map.A: there is no secret mine on which bob has USER.']);
  expect(await refused('${secret:none}')).toEqual(['secret_map.A: there is no secret none on which bob has USER.']);
  expect(await refused('${secret:only}')).toEqual(['secret_map.A: secret only is for another pod.']);
  expect(await refused('${secret:only}', 'bobspod')).toBe('Pod created successfully.');
  await share('mine', 'bob', 'USER');
  expect(await refused('${secret:bob:mine}')).toEqual([expect.stringContaining('there is no secret bob:mine')]);
  expect(await refused('${secret:alice:mine}')).toBe('Pod created successfully.');
  // A permission that is taken away ends the use.
  await stand.call('alice', 'DELETE', `${SECRETS}/mine/permissions/bob`);
  const derived = await stand.call('bob', 'GET', '/v3/pods/mypod/derived?resolve_secrets=true');
  expect([derived.status, derived.body.message]).toEqual([409, expect.stringContaining('no secret alice:mine')]);
  // Administrators pass every check of objects, and not this one: the start knows nothing of roles.
  expect((await pod('root', 'rootpod', { secret_map: { A: '${secret:mine}' } })).status).toBe(400);
});

test('placeholders that do not resolve are rejected with the name of their field', async () => {
  const answer = await pod('alice', 'mypod', {
    secret_map: { A: '${:?the password}', B: 'in the clear' },
    environment_variables: { X: '${pods:secrets:C}' },
  });
  expect(answer.body.message).toEqual([expect.stringContaining('secret_map.B: must be ${secret:name}')]);
  const further = await pod('alice', 'mypod', {
    secret_map: { A: '${:?the password}' },
    environment_variables: { X: '${pods:secrets:C}' },
    command: ['sh', '-c', 'echo ${pods:nothing} ${HOME}'],
    arguments: ['${pods:networking:other:url}'],
  });
  expect(further.body.message).toEqual([
    'secret_map.A: needs a value: the password',
    'environment_variables.X: secret_map has no C',
    expect.stringContaining('command: "${pods:nothing}" is no placeholder'),
    'arguments: networking has no other',
  ]);
});

test('a pod lists the missing secrets of its secret_map, unless asked not to', async () => {
  await stand.call('alice', 'POST', '/v3/pods/secrets', { secret_id: 'mysecret', secret_value: 'x' });
  await stand.create('alice', 'mypod', {
    ...{ pod_template: 'podgate/process', command: ['true'] },
    secret_map: { KEY: '${secret:mysecret}', OTHER: '${pods:default:x}' },
  });
  const metadata = async (query = '') => (await stand.call('alice', 'GET', `/v3/pods/mypod${query}`)).body.metadata;
  expect(await metadata()).toEqual({});
  await stand.call('alice', 'DELETE', '/v3/pods/secrets/mysecret');
  expect(await metadata()).toEqual({ unresolved: ['secret_map.KEY: there is no secret mysecret any more.'] });
  expect(await metadata('?check_unresolved=false')).toEqual({});
  expect((await stand.call('alice', 'GET', '/v3/pods/mypod?check_unresolved=maybe')).status).toBe(400);
});
