import { afterEach, beforeEach, expect, test } from 'vitest';

import { ApiStand } from './api-stand.ts';

let stand: ApiStand;
const start = async (change: Parameters<typeof ApiStand.start>[0] = {}): Promise<void> => {
  stand = await ApiStand.start(change);
};
beforeEach(() => start());
afterEach(() => stand.close());

const TEMPLATES = '/v3/pods/templates';
const publish = async (user: string, id: string, definition: object, tag = 'latest') => {
  await stand.call(user, 'POST', TEMPLATES, { template_id: id });
  const added = await stand.call(user, 'POST', `${TEMPLATES}/${id}/tags`, {
    ...{ pod_definition: definition, commit_message: '', tag },
  });
  expect([added.status, added.body.message]).toEqual([200, 'Template tag added successfully.']);
  return (added.body.result as { tag_timestamp: string }).tag_timestamp;
};
const pod = async (user: string, podId: string, change: object) =>
  await stand.call(user, 'POST', '/v3/pods', { pod_id: podId, status_requested: 'OFF', ...change });
const update = async (podId: string, change: object) => await stand.call('alice', 'PUT', `/v3/pods/${podId}`, change);

const SERVER = {
  template: 'podgate/process',
  command: ['node', 'server.js'],
  environment_variables: { MODE: 'fast', COLOR: 'red' },
  networking: { default: { port: 8080 }, admin: { port: 9000, protocol: 'tcp' } },
  resources: { mem_limit: 1_024, cpu_limit: 1_000 },
  time_to_stop_default: 600,
};

test('a pod is made from a template, an older version of it, or a template based on it; the fields of the request win', async () => {
  const first = await publish('alice', 'server', SERVER);
  await publish('alice', 'server', { ...SERVER, command: ['node', 'newer.js'] });
  await publish('alice', 'lab', {
    template: 'server',
    environment_variables: { COLOR: 'blue' },
    description: 'of the lab',
  });
  const made = await pod('alice', 'mine', {
    ...{ template: 'lab', environment_variables: { OWN: '1' }, resources: { mem_limit: 2_048 } },
    networking: { admin: { port: 9001, protocol: 'tcp' } },
  });
  expect(made.body.result).toMatchObject({
    ...{ pod_template: 'lab', template: 'lab:latest@2026-11-23-10:20:30', image: '', description: 'of the lab' },
    ...{ command: ['node', 'newer.js'], environment_variables: { MODE: 'fast', COLOR: 'blue', OWN: '1' } },
    networking: { default: { port: 8080, protocol: 'http' }, admin: { port: 9001, protocol: 'tcp' } },
    resources: { mem_limit: 2_048, cpu_limit: 1_000 },
    ...{ time_to_stop_default: 600, template_overrides: null },
  });
  expect((await stand.record('mine')).spec.template).toBe('podgate/process');
  const older = await pod('alice', 'older', { pod_template: `server:${first}` });
  expect(older.body.result).toMatchObject({ command: ['node', 'server.js'], template: `server:${first}` });
  const unknown = await pod('alice', 'none', { template: 'server:v2' });
  expect([unknown.status, unknown.body.message]).toEqual([400, ['template: template server has no tag v2']]);
  expect((await pod('bob', 'bobs', { template: 'server' })).status).toBe(403);
  expect((await pod('bob', 'bobs', { template: 'nothing' })).body.message).toEqual([
    expect.stringContaining('"nothing" is no template of this installation'),
  ]);
  expect((await pod('bob', 'bobs', { template: 'podgate/hello:latest' })).body.result).toMatchObject({
    template: 'podgate/hello',
  });
});

test('an update changes the given fields, and the entries of the template remain', async () => {
  await publish('alice', 'server', SERVER);
  const { body } = await pod('alice', 'mine', { template: 'server', environment_variables: { OWN: '1' } });
  // A client that sends back all it has read changes nothing.
  const { environment_variables, networking, resources, command, template } = body.result as Record<string, unknown>;
  const same = await update('mine', { environment_variables, networking, resources, command, template });
  expect([same.status, same.body.status]).toEqual([200, 'error']);
  const changed = await update('mine', {
    environment_variables: { MODE: 'slow' },
    networking: { other: { port: 1234 } },
  });
  expect(changed.body.result).toMatchObject({
    environment_variables: { MODE: 'slow', COLOR: 'red' },
    networking: { default: { port: 8080 }, admin: { port: 9000 }, other: { port: 1234 } },
  });
  expect(Object.keys((changed.body.result as { environment_variables: object }).environment_variables)).not.toContain(
    'OWN',
  );
  const moved = await update('mine', { template: 'podgate/hello' });
  expect(moved.body.message).toEqual([expect.stringContaining('cannot be changed after create')]);
  const tags = await stand.call('alice', 'DELETE', `${TEMPLATES}/server/tags/latest`);
  expect([tags.status, tags.body.message]).toEqual([409, expect.stringContaining('is in use by pod mine')]);
  const dependents = await stand.call('root', 'GET', `${TEMPLATES}/server/tags/latest?include_dependencies=true`);
  expect(dependents.body.result).toMatchObject([{ dependents: { dependant_pods: ['mine'] } }]);
  expect((await stand.call('alice', 'DELETE', `${TEMPLATES}/server/tags/latest?force=true`)).status).toBe(200);
  const alone = await update('mine', { description: 'still here' });
  expect(alone.body.result).toMatchObject({ description: 'still here', environment_variables: { COLOR: 'red' } });
});

test('template_overrides provide what a template leaves open: secrets, and the volumes of mounts', async () => {
  await stand.close();
  await start({ allowsImages: true, imageAllowList: ['db'] });
  await publish('alice', 'store', {
    image: 'db',
    environment_variables: { PASSWORD: '${pods:secrets:PASS}' },
    secret_map: { PASS: '${:?password of the database}', SALT: '${pods:random:16}' },
    volume_mounts: {
      '/data': { type: 'pvc', source_id: '${:?volume for the data}' },
      '/tmp/x': { type: 'pvc', source_id: 'x' },
    },
  });
  const missing = await pod('alice', 'mine', { template: 'store' });
  expect([missing.status, missing.body.message]).toEqual([
    400,
    expect.arrayContaining([
      'volume_mounts./data.source_id: needs a value: volume for the data; give it in template_overrides',
      'secret_map.PASS: needs a value: password of the database',
    ]),
  ]);
  await stand.call('alice', 'POST', '/v3/pods/secrets', { secret_id: 'dbpass', secret_value: 'hush-hush' });
  const overrides = {
    volume_mounts: { '/data': { source_id: 'mydata' } },
    secret_map: { PASS: '${secret:dbpass}' },
  };
  const made = await pod('alice', 'mine', {
    ...{ template: 'store', template_overrides: overrides },
    volume_mounts: { '/tmp/x': null },
  });
  expect(made.body.result).toMatchObject({
    ...{ template: 'store:latest@2026-11-23-10:20:30', image: 'db', template_overrides: overrides },
    secret_map: { PASS: '${secret:dbpass}', SALT: '${pods:random:16}' },
    volume_mounts: { '/data': { type: 'pvc', source_id: 'mydata' } },
  });
  expect(Object.keys((made.body.result as { volume_mounts: object }).volume_mounts)).toEqual(['/data']);
  expect((await update('mine', { template_overrides: overrides })).body.status).toBe('error');
  expect((await update('mine', { template_overrides: { secret_map: { PASS: '${pods:default:x}' } } })).status).toBe(
    400,
  );
  const wrong = await pod('alice', 'wrong', {
    ...{ template: 'store' },
    template_overrides: { volume_mounts: { '/other': { source_id: 'x' } }, secret_map: { NO: '${pods:default:x}' } },
  });
  expect(wrong.body.message).toEqual(
    expect.arrayContaining([
      'template_overrides.volume_mounts: the template has no mount "/other"',
      'template_overrides.secret_map: the template has no "NO"',
    ]),
  );
  const plain = await pod('alice', 'plain', { image: 'db', template_overrides: overrides });
  expect(plain.body.message).toEqual(['template_overrides: is for pods that are made from a template of a user']);
  // An image on the allow list is not taken over by a template of its name; one in a template is checked as any.
  await publish('bob', 'other', { image: 'evil' });
  await stand.call('bob', 'POST', `${TEMPLATES}/other/permissions`, { user: '*', level: 'READ' });
  expect((await pod('alice', 'refused', { template: 'other' })).body.message).toEqual([
    'image: "evil" is neither a template nor an image on the allow list',
  ]);
  expect(JSON.stringify(await stand.database.store.get('pod', 'default/mine'))).not.toContain('hush-hush');
});

test('a pod is saved as a tag, with what its template added and with references instead of secret values', async () => {
  await publish('alice', 'server', SERVER);
  await stand.call('alice', 'POST', '/v3/pods/secrets', { secret_id: 'key', secret_value: 'hush-hush' });
  await pod('alice', 'mine', {
    ...{ template: 'server', environment_variables: { KEY: '${pods:secrets:KEY}', OWN: '1' } },
    secret_map: { KEY: '${secret:key}', WORD: '${pods:random:20}' },
  });
  await stand.call('alice', 'POST', TEMPLATES, { template_id: 'saved' });
  const save = async (user: string) =>
    await stand.call(user, 'POST', '/v3/pods/mine/save_pod_as_template_tag', {
      ...{ template_id: 'saved', tag: 'v1', commit_message: 'as it runs' },
    });
  const saved = await save('alice');
  expect(saved.body.result).toMatchObject({
    ...{ template_id: 'saved', tag: 'v1', commit_message: 'as it runs' },
    pod_definition: {
      ...{ template: 'podgate/process', command: ['node', 'server.js'] },
      environment_variables: { MODE: 'fast', COLOR: 'red', OWN: '1', KEY: '${pods:secrets:KEY}' },
      secret_map: { KEY: '${secret:key}', WORD: '${pods:random:20}' },
      networking: { default: { protocol: 'http', port: 8080 }, admin: { protocol: 'tcp', port: 9000 } },
    },
  });
  const again = await pod('alice', 'again', { template: 'saved:v1' });
  const made = again.body.result as Record<string, unknown>;
  expect(made).toMatchObject({ pod_template: 'saved:v1', template: 'saved:v1@2026-11-23-10:20:30' });
  const first = await stand.call('alice', 'GET', '/v3/pods/mine');
  const fields = ['command', 'arguments', 'environment_variables', 'secret_map', 'resources', 'time_to_stop_default'];
  for (const field of fields) expect(made[field]).toEqual((first.body.result as Record<string, unknown>)[field]);
  const logs = await stand.call('alice', 'GET', '/v3/pods/mine/logs');
  expect(JSON.stringify(logs.body.result)).toContain("'alice' saved pod as saved:v1@");
  // USER on the pod is too little, and so is READ on the template.
  await stand.call('alice', 'POST', '/v3/pods/mine/permissions', { user: 'bob', level: 'USER' });
  await stand.call('alice', 'POST', `${TEMPLATES}/saved/permissions`, { user: 'bob', level: 'USER' });
  expect((await save('bob')).status).toBe(403);
  await stand.call('alice', 'POST', '/v3/pods/mine/permissions', { user: 'bob', level: 'ADMIN' });
  expect((await save('bob')).status).toBe(200);
  await stand.call('alice', 'POST', `${TEMPLATES}/saved/permissions`, { user: 'bob', level: 'READ' });
  expect((await save('bob')).status).toBe(403);
  expect(JSON.stringify(saved.body)).not.toContain('hush-hush');
  // Who uses the tag uses their own permission on the secret.
  const bobs = await pod('bob', 'bobs', { template: 'saved:v1' });
  expect([bobs.status, bobs.body.message]).toEqual([
    400,
    [expect.stringContaining('there is no secret key on which bob')],
  ]);
});

test('a restart takes the newest version of the tag on request: fields of the template change, fields of the request remain', async () => {
  const first = await publish('alice', 'server', SERVER);
  await pod('alice', 'mine', {
    ...{ template: 'server', environment_variables: { COLOR: 'green', OWN: '1' }, resources: { mem_limit: 2_048 } },
    networking: { admin: { port: 9001, protocol: 'tcp' } },
  });
  await publish('alice', 'server', {
    ...SERVER,
    ...{ description: 'newer', command: ['node', 'newer.js'] },
    environment_variables: { COLOR: 'black', SPEED: 'high' },
    networking: { default: { port: 8081 }, admin: { port: 9002, protocol: 'tcp' } },
    resources: { mem_limit: 512, cpu_limit: 2_000 },
  });
  const plain = await stand.call('alice', 'GET', '/v3/pods/mine/restart');
  expect(plain.body.result).toMatchObject({ template: `server:${first}`, command: ['node', 'server.js'] });
  const taken = await stand.call('alice', 'GET', '/v3/pods/mine/restart?grab_latest_template_tag=true');
  expect(taken.body.result).toMatchObject({
    ...{ template: 'server:latest@2026-11-23-10:20:31', description: 'newer', command: ['node', 'newer.js'] },
    networking: { default: { port: 8081 }, admin: { port: 9001 } },
    resources: { mem_limit: 2_048, cpu_limit: 2_000 },
  });
  const { environment_variables: variables } = taken.body.result as { environment_variables: object };
  expect(variables).toEqual({ COLOR: 'green', OWN: '1', SPEED: 'high' });
  const { generation } = await stand.record('mine');
  await stand.call('alice', 'GET', '/v3/pods/mine/restart?grab_latest_template_tag=true');
  expect((await stand.record('mine')).generation).toBe(generation);
  expect((await stand.call('alice', 'GET', '/v3/pods/mine/restart?grab_latest_template_tag=x')).status).toBe(400);
  await publish('alice', 'server', { template: 'podgate/hello' });
  const other = await stand.call('alice', 'GET', '/v3/pods/mine/restart?grab_latest_template_tag=true');
  expect([other.status, JSON.stringify(other.body.message)]).toEqual([409, expect.stringContaining('podgate/hello')]);
});
