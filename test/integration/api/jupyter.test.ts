import { afterEach, beforeEach, expect, test } from 'vitest';

import { ApiStand } from './api-stand.ts';

let stand: ApiStand;
beforeEach(async () => {
  stand = await ApiStand.start();
});
afterEach(() => stand.close());

const TEMPLATE = '/v3/pods/templates/jupyterlab';
const publish = async (readers: readonly string[]): Promise<void> => {
  await stand.call('operator', 'POST', '/v3/pods/templates', { template_id: 'jupyterlab' });
  const added = await stand.call('operator', 'POST', `${TEMPLATE}/tags`, {
    ...{ pod_definition: { template: 'podgate/process', command: ['jupyter-lab'] }, commit_message: '' },
  });
  expect([added.status, added.body.message]).toEqual([200, 'Template tag added successfully.']);
  for (const user of readers) await stand.call('operator', 'POST', `${TEMPLATE}/permissions`, { user, level: 'READ' });
};
const ensure = async (user = 'alice') => {
  const { status, body } = await stand.call(user, 'GET', '/v3/pods/jupyter/ensure');
  return { status, message: body.message, result: body.result as Readonly<Record<string, unknown>> | null };
};
const upload = async (podId: string, path: string, user = 'alice') => {
  const form = new FormData();
  form.append('path', path);
  form.append('file', new Blob(['x']), 'note.txt');
  const response = await fetch(`${stand.url}/v3/pods/jupyter/${podId}/upload`, {
    ...{ method: 'POST', headers: { 'X-Tapis-Token': await stand.token(user) }, body: form },
  });
  return [response.status, ((await response.json()) as { message: unknown }).message];
};

test('a pod is created from the template once, found while it is ON, and started if it is stopped', async () => {
  await publish(['alice']);
  const created = await ensure();
  expect([created.status, created.message]).toEqual([200, 'Created new Jupyter pod successfully.']);
  expect(created.result).toMatchObject({
    ...{ pod_id: 'alicejupyter', status: 'REQUESTED', url: 'https://alicejupyter.pods.localhost:8443' },
    networking: { default: { url: 'alicejupyter.pods.localhost' } },
  });
  expect((await stand.record('alicejupyter')).spec.fromTemplate?.reference).toMatch(/^jupyterlab:latest@/);
  expect((await ensure()).message).toBe('Retrieved existing Jupyter pod successfully.');
  await stand.call('alice', 'GET', '/v3/pods/alicejupyter/stop');
  expect((await stand.record('alicejupyter')).wish).toBe('OFF');
  const started = await ensure();
  expect([started.message, started.result?.['pod_id']]).toEqual([
    'Started existing Jupyter pod successfully.',
    'alicejupyter',
  ]);
  expect((await stand.record('alicejupyter')).wish).toBe('ON');
});

test('concurrent calls create one pod', async () => {
  await publish(['alice']);
  const answers = await Promise.all(Array.from({ length: 5 }, () => ensure()));
  expect(new Set(answers.map(({ status, result }) => JSON.stringify([status, result?.['pod_id']])))).toEqual(
    new Set(['[200,"alicejupyter"]']),
  );
  expect(answers.filter(({ message }) => message === 'Created new Jupyter pod successfully.')).toHaveLength(1);
});

test('the pod belongs to the caller: shared pods and pods with another template are not used', async () => {
  await publish(['alice', 'bob']);
  await ensure('bob');
  await stand.call('bob', 'POST', '/v3/pods/bobjupyter/permissions', { user: 'alice', level: 'ADMIN' });
  await stand.create('alice', 'jupyterlab');
  expect((await ensure()).result?.['pod_id']).toBe('alicejupyter');
  await stand.create('alice', 'carljupyter');
  await stand.call('operator', 'POST', `${TEMPLATE}/permissions`, { user: 'carl', level: 'READ' });
  const taken = await ensure('carl');
  expect([taken.status, taken.message]).toEqual([409, 'There is already a pod carljupyter.']);
  // One made by hand, under any name, will do.
  await stand.call('carl', 'POST', '/v3/pods', { pod_id: 'carlsown', template: 'jupyterlab' });
  expect((await ensure('carl')).result?.['pod_id']).toBe('carlsown');
});

test('reports a missing template, or missing READ on it', async () => {
  const none = await ensure();
  expect([none.status, none.message]).toEqual([
    404,
    "There is no template 'jupyterlab' that you may use. An administrator can publish one: see docs/templates.md.",
  ]);
  await publish([]);
  expect((await ensure()).status).toBe(403);
});

test('the pod ID keeps letters and digits of the user name', async () => {
  await publish(['3D.Anna_B-c@lab.org']);
  expect((await ensure('3D.Anna_B-c@lab.org')).result?.['pod_id']).toBe('dannabclaborgjupyter');
});

test('an upload needs USER, a running Jupyter pod, and a path below its directory', async () => {
  await publish(['alice']);
  await ensure();
  await stand.create('alice', 'other');
  await stand.call('alice', 'POST', '/v3/pods/alicejupyter/permissions', { user: 'bob', level: 'READ' });
  expect(await upload('other', 'a.txt')).toEqual([
    400,
    ["pod_id: other was not made from the template 'jupyterlab'. upload_to_pod writes to any pod."],
  ]);
  for (const path of ['/etc/passwd', '../a', 'a/../../b']) {
    expect(await upload('alicejupyter', path)).toEqual([400, ["path: must be relative, without '..'"]]);
  }
  expect((await upload('alicejupyter', 'a.txt', 'bob'))[0]).toBe(403);
  expect((await upload('alicejupyter', 'a.txt', 'carl'))[0]).toBe(403);
  expect((await upload('nothere', 'a.txt'))[0]).toBe(404);
});
