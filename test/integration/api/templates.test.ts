import { afterEach, beforeEach, expect, test } from 'vitest';

import { ApiStand } from './api-stand.ts';
import { quotasOf } from '../../unit/control/limits.ts';

let stand: ApiStand;
beforeEach(async () => {
  stand = await ApiStand.start();
});
afterEach(() => stand.close());

const TEMPLATES = '/v3/pods/templates';
const template = async (user: string, id: string, change: object = {}) =>
  await stand.call(user, 'POST', TEMPLATES, { template_id: id, ...change });
const tag = async (user: string, id: string, definition: object, name?: string) =>
  await stand.call(user, 'POST', `${TEMPLATES}/${id}/tags`, {
    ...{ pod_definition: definition, commit_message: 'why' },
    ...(name === undefined ? {} : { tag: name }),
  });
const share = async (id: string, user: string, level: string) =>
  await stand.call('alice', 'POST', `${TEMPLATES}/${id}/permissions`, { user, level });
const idsIn = (result: unknown): readonly string[] =>
  (result as readonly { template_id: string }[]).map(({ template_id }) => template_id);

test('a template is created, listed, read, changed and deleted; those of Podgate are listed and never change', async () => {
  const created = await template('alice', 'lab-db', { description: 'of the lab', metatags: ['db'] });
  expect([created.status, created.body.message]).toEqual([200, 'Template added successfully.']);
  expect(created.body.result).toMatchObject({ template_id: 'lab-db', description: 'of the lab', metatags: ['db'] });
  expect((await template('bob', 'lab-db')).status).toBe(409);
  expect((await template('alice', 'postgres')).status).toBe(409);
  expect((await template('alice', 'Lab')).body.message).toEqual([expect.stringContaining('template_id: must have')]);
  const builtin = ['template/postgres', 'template/neo4j', 'podgate/hello', 'podgate/process'];
  expect(idsIn((await stand.call('alice', 'GET', TEMPLATES)).body.result)).toEqual([...builtin, 'lab-db']);
  expect(idsIn((await stand.call('bob', 'GET', TEMPLATES)).body.result)).toEqual(builtin);
  const read = await stand.call('bob', 'GET', `${TEMPLATES}/template%2Fpostgres`);
  expect(read.body.result).toMatchObject({ template_id: 'template/postgres', creation_ts: null });
  const tags = await stand.call('bob', 'GET', `${TEMPLATES}/template%2Fpostgres/tags/latest`);
  expect(tags.body.result).toMatchObject([
    { tag: 'latest', pod_definition: { networking: { default: { protocol: 'postgres', port: 5432 } } } },
  ]);
  for (const [method, path, body] of [
    ['PUT', '', { description: 'mine' }],
    ['DELETE', '', undefined],
    ['POST', '/permissions', { user: 'bob', level: 'READ' }],
    ['POST', '/tags', { pod_definition: { image: 'x' }, commit_message: '' }],
    ['DELETE', '/tags/latest', undefined],
  ] as const) {
    expect((await stand.call('root', method, `${TEMPLATES}/template%2Fpostgres${path}`, body)).status).toBe(403);
  }
  const update = { description: 'of the laboratory' };
  const changed = await stand.call('alice', 'PUT', `${TEMPLATES}/lab-db`, update);
  expect([changed.body.message, changed.headers.get('etag')]).toEqual(['Template updated successfully.', '"2"']);
  expect((await stand.call('alice', 'PUT', `${TEMPLATES}/lab-db`, update)).body.status).toBe('error');
  const stale = await stand.call('alice', 'PUT', `${TEMPLATES}/lab-db`, { description: 'x' }, { 'If-Match': '"1"' });
  expect(stale.status).toBe(412);
  await tag('alice', 'lab-db', { image: 'x' });
  expect((await stand.call('alice', 'DELETE', `${TEMPLATES}/lab-db`)).status).toBe(200);
  expect((await stand.call('alice', 'GET', `${TEMPLATES}/lab-db`)).status).toBe(404);
  expect(await stand.database.store.list('template-tag', { limit: 10 })).toEqual([]);
  expect((await template('bob', 'lab-db')).status).toBe(200);
});

test('READ lists tags, USER adds them, ADMIN deletes and shares; READ can be given to all', async () => {
  await template('alice', 'shared');
  await tag('alice', 'shared', { image: 'x' });
  const read = async (user: string) => (await stand.call(user, 'GET', `${TEMPLATES}/shared/tags`)).status;
  expect(await read('bob')).toBe(403);
  await share('shared', '*', 'READ');
  expect(await read('bob')).toBe(200);
  expect(idsIn((await stand.call('bob', 'GET', TEMPLATES)).body.result)).toContain('shared');
  expect((await tag('bob', 'shared', { image: 'y' })).status).toBe(403);
  expect((await share('shared', 'tenant.other', 'READ')).status).toBe(400);
  expect((await share('shared', '*', 'USER')).status).toBe(400);
  await share('shared', 'bob', 'USER');
  expect((await tag('bob', 'shared', { image: 'y' })).status).toBe(200);
  expect((await stand.call('bob', 'DELETE', `${TEMPLATES}/shared/tags/latest`)).status).toBe(403);
  expect((await stand.call('bob', 'DELETE', `${TEMPLATES}/shared`)).status).toBe(403);
  const { body } = await stand.call('bob', 'GET', `${TEMPLATES}/shared/permissions`);
  expect(body.result).toEqual({ permissions: ['alice:ADMIN', '*:READ', 'bob:USER'] });
});

test('a tag never changes: the same name gets a new version with its time, newest first', async () => {
  await template('alice', 'versions');
  const first = await tag('alice', 'versions', { image: 'one', environment_variables: { PASSWORD: 'hush-hush' } });
  expect(first.body.message).toBe('Template tag added successfully.');
  expect(first.body.result).toMatchObject({
    ...{ template_id: 'versions', tag: 'latest', tag_timestamp: 'latest@2026-11-23-10:20:30', added_by: 'alice' },
    ...{ pod_definition: { image: 'one', environment_variables: { PASSWORD: 'hush-hush' } }, tenant_id: 'default' },
  });
  await tag('alice', 'versions', { image: 'two' });
  await tag('alice', 'versions', { image: 'three' }, 'v1.0');
  const listed = await stand.call('alice', 'GET', `${TEMPLATES}/versions/tags?full=false`);
  expect(listed.body.result).toMatchObject([
    { tag_timestamp: 'latest@2026-11-23-10:20:31' },
    { tag_timestamp: 'latest@2026-11-23-10:20:30' },
    { tag_timestamp: 'v1.0@2026-11-23-10:20:30' },
  ]);
  expect(JSON.stringify(listed.body.result)).not.toContain('pod_definition');
  const one = async (id: string) => (await stand.call('alice', 'GET', `${TEMPLATES}/versions/tags/${id}`)).body.result;
  expect(await one('latest')).toMatchObject([
    { pod_definition: { image: 'two' } },
    { pod_definition: { image: 'one' } },
  ]);
  expect(await one('latest%402026-11-23-10:20:30')).toMatchObject([{ pod_definition: { image: 'one' } }]);
  expect((await stand.call('alice', 'GET', `${TEMPLATES}/versions/tags/v2`)).status).toBe(404);
  const all = (await stand.call('alice', 'GET', `${TEMPLATES}/tags`)).body.result as Record<string, unknown>;
  expect(Object.keys(all)).toContain('template/neo4j');
  expect(all['versions']).toMatchObject({ template_id: 'versions', tags: [{}, {}, {}] });
  // Variables are where users put passwords.
  const stored = JSON.stringify(await stand.database.store.list('template-tag', { limit: 10 }));
  expect(stored).not.toContain('hush-hush');
  expect(stand.logLines.join('\n')).not.toContain('hush-hush');
  expect((await stand.call('alice', 'DELETE', `${TEMPLATES}/versions/tags/latest`)).status).toBe(409);
  const deleted = await stand.call('alice', 'DELETE', `${TEMPLATES}/versions/tags/latest@2026-11-23-10:20:31`);
  expect(deleted.body.result).toMatchObject({ pod_definition: { image: 'two' } });
  expect(await one('latest')).toMatchObject([{ pod_definition: { image: 'one' } }]);
});

test('a tag can be deleted while its template is being shared; a user who lost the permission is refused', async () => {
  await template('alice', 'busy');
  await tag('alice', 'busy', { image: 'x' });
  stand.beforeNextCommit(async () => expect((await share('busy', 'bob', 'ADMIN')).status).toBe(200));
  expect((await stand.call('alice', 'DELETE', `${TEMPLATES}/busy/tags/latest`)).status).toBe(200);
  expect(await stand.database.store.list('template-tag', { limit: 10 })).toEqual([]);
  const audit = (await stand.call('alice', 'GET', `${TEMPLATES}/busy/audit`)).body.result;
  expect((audit as readonly { operation: string }[]).slice(0, 2).map(({ operation }) => operation)).toEqual([
    'delete_template_tag',
    'set_template_permission',
  ]);

  await tag('alice', 'busy', { image: 'y' });
  stand.beforeNextCommit(async () => {
    expect((await stand.call('alice', 'DELETE', `${TEMPLATES}/busy/permissions/bob`)).status).toBe(200);
  });
  expect((await stand.call('bob', 'DELETE', `${TEMPLATES}/busy/tags/latest`)).status).toBe(403);
  expect(await stand.database.store.list('template-tag', { limit: 10 })).toHaveLength(1);
});

test('a tag is based on a version of another template, which cannot be deleted while it is used', async () => {
  await template('alice', 'base');
  await template('bob', 'child');
  await tag('alice', 'base', { image: 'x' });
  const unknown = await tag('bob', 'child', { template: 'base' });
  expect(unknown.status).toBe(403);
  await share('base', '*', 'READ');
  const child = await tag('bob', 'child', { template: 'base' });
  expect(child.body.result).toMatchObject({ pod_definition: { template: 'base:latest@2026-11-23-10:20:30' } });
  expect((await tag('bob', 'child', { template: 'base:v9' })).body.message).toEqual([
    'template: template base has no tag v9',
  ]);
  expect((await tag('bob', 'child', { template: 'nothing' })).status).toBe(400);
  expect((await tag('bob', 'child', { description: 'x' })).body.message).toEqual([
    'pod_definition: needs a template or an image',
  ]);
  const refused = await stand.call('alice', 'DELETE', `${TEMPLATES}/base/tags/latest`);
  expect([refused.status, refused.body.message]).toEqual([
    409,
    expect.stringContaining('is in use by child:latest@2026-11-23-10:20:30'),
  ]);
  expect((await stand.call('alice', 'DELETE', `${TEMPLATES}/base`)).status).toBe(409);
  const asked = `${TEMPLATES}/base?include_dependencies=true`;
  expect((await stand.call('alice', 'GET', asked)).status).toBe(403);
  expect((await stand.call('root', 'GET', asked)).body.result).toMatchObject({
    tag_dependents: [{ full_tag: 'base:latest@2026-11-23-10:20:30', dependant_tags_count: 1, dependant_pod_count: 0 }],
  });
  let parent = 'child';
  for (const id of ['third', 'fourth', 'fifth']) {
    await template('bob', id);
    expect((await tag('bob', id, { template: parent })).status).toBe(200);
    parent = id;
  }
  await template('bob', 'sixth');
  expect((await tag('bob', 'sixth', { template: parent })).status).toBe(400);
  expect((await stand.call('alice', 'DELETE', `${TEMPLATES}/base/tags/latest?force=true`)).status).toBe(200);
});

test('fields of a definition are checked like those of a pod, and count against the quota of the user who adds them', async () => {
  await stand.close();
  stand = await ApiStand.start({ quotas: quotasOf({ recordBytes: 20_000 }) });
  await template('alice', 'checked');
  const wrong = await tag('alice', 'checked', {
    ...{ image: 'x', command: 'not a list', pod_id: 'x', networking: { default: { port: 1 } } },
  });
  expect([wrong.status, wrong.body.message]).toEqual([400, expect.any(Array)]);
  expect(wrong.body.message).toEqual([
    'pod_definition.command: must be a list',
    'pod_definition.networking.default.port: must be at least 10',
    'pod_definition.pod_id: unknown field',
  ]);
  const large = await tag('alice', 'checked', { image: 'x', environment_variables: { LONG: 'x'.repeat(20_000) } });
  expect([large.status, large.body.message]).toEqual([403, expect.stringContaining('quotas.recordKiBPerUser')]);
});
