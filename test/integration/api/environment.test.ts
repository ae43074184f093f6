import { afterEach, beforeEach, expect, test } from 'vitest';

import { ApiStand } from './api-stand.ts';

let stand: ApiStand;
beforeEach(async () => {
  stand = await ApiStand.start();
});
afterEach(() => stand.close());

const SECRET = 'correct horse battery staple';
const PROCESS = { pod_template: 'podgate/process', command: ['x'], status_requested: 'OFF' };
const VALUES = { PASSWORD: SECRET, OTHER: '2' };
const HIDDEN = { PASSWORD: '********', OTHER: '********' };
const variablesOf = (result: unknown) => (result as { environment_variables: unknown }).environment_variables;

test('no record contains the values of environment variables, and users with USER and above can read them', async () => {
  expect(variablesOf(await stand.create('alice', 'mypod', { ...PROCESS, environment_variables: VALUES }))).toEqual(
    VALUES,
  );
  await stand.call('alice', 'POST', '/v3/pods/mypod/permissions', { user: 'bob', level: 'USER' });
  await stand.call('alice', 'POST', '/v3/pods/mypod/permissions', { user: 'carol', level: 'READ' });
  for (const [user, seen] of [
    ['alice', VALUES],
    ['bob', VALUES],
    ['root', VALUES],
    ['carol', HIDDEN],
  ] as const) {
    expect(variablesOf((await stand.call(user, 'GET', '/v3/pods/mypod')).body.result), user).toEqual(seen);
  }
  for (const [user, seen] of [
    ['bob', VALUES],
    ['carol', HIDDEN],
  ] as const) {
    const [only] = (await stand.call(user, 'GET', '/v3/pods')).body.result as readonly unknown[];
    expect(variablesOf(only), user).toEqual(seen);
  }
  expect(JSON.stringify(await stand.record('mypod'))).not.toContain(SECRET);
  expect(stand.logLines.join('\n')).not.toContain(SECRET);
});

test('an update with the same values changes nothing, and one with other values changes the pod', async () => {
  await stand.create('alice', 'mypod', { ...PROCESS, environment_variables: VALUES });
  const same = await stand.call('alice', 'PUT', '/v3/pods/mypod', { environment_variables: VALUES });
  expect(same.body).toMatchObject({ status: 'error' });
  expect((await stand.record('mypod')).generation).toBe(1);
  const other = await stand.call('alice', 'PUT', '/v3/pods/mypod', { environment_variables: { PASSWORD: 'new' } });
  expect(other.body.metadata['note']).toEqual([expect.stringContaining('environment_variables')]);
  expect(variablesOf(other.body.result)).toEqual({ PASSWORD: 'new' });
  const description = await stand.call('bob', 'PUT', '/v3/pods/mypod', { description: 'x' });
  expect(description.status).toBe(403);
});

test('values that no key can decrypt are hidden, and the pod is still shown', async () => {
  await stand.create('alice', 'mypod', { ...PROCESS, environment_variables: VALUES });
  const { spec } = await stand.record('mypod');
  const foreign = { PASSWORD: { sealed: 'v1.unknown.AAAA' }, OTHER: '2' };
  await stand.overwrite('mypod', { spec: { ...spec, environmentVariables: foreign } });
  const answer = await stand.call('alice', 'GET', '/v3/pods/mypod');
  expect(answer.status).toBe(200);
  expect(variablesOf(answer.body.result)).toEqual(HIDDEN);
  const repaired = await stand.call('alice', 'PUT', '/v3/pods/mypod', { environment_variables: VALUES });
  expect(variablesOf(repaired.body.result)).toEqual(VALUES);
});
