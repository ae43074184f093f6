import { type IncomingMessage, request } from 'node:http';
import { json } from 'node:stream/consumers';
import { afterEach, expect, test } from 'vitest';

import { ApiStand } from './api-stand.ts';

let stand: ApiStand;
afterEach(() => stand.close());

const IMAGES = '/v3/pods/images';
const namesIn = (result: unknown): readonly string[] =>
  (result as readonly { image: string }[]).map(({ image }) => image);
const pod = async (user: string, podId: string, change: object) =>
  await stand.call(user, 'POST', '/v3/pods', { pod_id: podId, status_requested: 'OFF', ...change });
/** Of the tenant `other`: over the plain port the host says that, and fetch sets it by itself. */
async function callOther(user: string, method: string, path: string, body?: object): Promise<OtherAnswer> {
  const token = await stand.token(user, 'other');
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    const headers = { host: 'other.example.org', 'x-tapis-token': token, 'content-type': 'application/json' };
    const sent = request({ host: '127.0.0.1', port: stand.port, method, path, headers }, resolve);
    sent.on('error', reject).end(body === undefined ? '' : JSON.stringify(body));
  });
  return { status: response.statusCode ?? 0, body: (await json(response)) as OtherAnswer['body'] };
}

type OtherAnswer = Pick<Awaited<ReturnType<ApiStand['call']>>, 'status' | 'body'>;

test('administrators allow images; every user sees them and may run them', async () => {
  stand = await ApiStand.start({ allowsImages: true, imageAllowList: ['configured'] });
  expect((await pod('alice', 'early', { image: 'org/tool:1.0' })).status).toBe(400);
  const refused = await stand.call('alice', 'POST', IMAGES, { image: 'org/tool' });
  expect([refused.status, refused.body.message]).toEqual([403, 'Adding images is for administrators.']);
  const added = await stand.call('root', 'POST', IMAGES, { image: 'org/tool', description: 'A tool.' });
  expect([added.status, added.body.message, added.body.result]).toEqual([
    200,
    'Image added successfully.',
    {
      ...{ image: 'org/tool', tenants: [], description: 'A tool.', added_by: 'root' },
      creation_ts: '2026-11-23T10:20:30.000Z',
    },
  ]);
  expect((await stand.call('root', 'POST', IMAGES, { image: 'org/tool' })).status).toBe(409);
  expect((await stand.call('root', 'POST', IMAGES, { image: 'configured' })).status).toBe(409);
  expect(namesIn((await stand.call('alice', 'GET', IMAGES)).body.result)).toEqual(['configured', 'org/tool']);
  // Clients send the slash of a name as it is, or as %2F.
  for (const path of ['org/tool', 'org%2Ftool']) {
    expect((await stand.call('alice', 'GET', `${IMAGES}/${path}`)).body.result).toMatchObject({ image: 'org/tool' });
  }
  const made = await pod('alice', 'mine', { image: 'org/tool:1.0' });
  expect(made.body.result).toMatchObject({ image: 'org/tool:1.0', template: '' });
  expect((await pod('alice', 'other', { pod_template: 'org/tool' })).status).toBe(200);

  const change = async (user: string, body: object) => await stand.call(user, 'PUT', `${IMAGES}/org%2Ftool`, body);
  expect((await change('alice', { description: 'x' })).status).toBe(403);
  expect((await change('root', { description: 'Another.' })).body.result).toMatchObject({ description: 'Another.' });
  expect((await change('root', { description: 'Another.' })).body.status).toBe('error');
  const remove = async (user: string, image: string) => await stand.call(user, 'DELETE', `${IMAGES}/${image}`);
  expect((await remove('alice', 'org%2Ftool')).status).toBe(403);
  expect((await remove('root', 'configured')).body.message).toContain('is in the configuration');
  expect((await remove('root', 'org%2Ftool')).status).toBe(200);
  expect((await remove('root', 'org%2Ftool')).status).toBe(404);
  expect((await stand.call('alice', 'GET', `${IMAGES}/org%2Ftool`)).status).toBe(404);
  expect((await pod('alice', 'late', { image: 'org/tool:1.0' })).status).toBe(400);
  // An entry with a version allows that one alone.
  await stand.call('root', 'POST', IMAGES, { image: 'org/tool:2.0' });
  expect((await pod('alice', 'older', { image: 'org/tool:1.0' })).status).toBe(400);
  expect((await pod('alice', 'newer', { image: 'org/tool:2.0' })).status).toBe(200);
});

test('bulk add is all or nothing; existing images are rejected, or skipped on request', async () => {
  stand = await ApiStand.start({ allowsImages: true });
  const bulk = async (images: unknown, query = '') =>
    await stand.call('root', 'POST', `${IMAGES}/bulk${query}`, images);
  const added = await bulk([{ image: 'one' }, { image: 'two', tenants: ['default'] }]);
  expect([added.status, namesIn(added.body.result)]).toEqual([200, ['one', 'two']]);
  const again = await bulk([{ image: 'three' }, { image: 'two' }]);
  expect([again.status, again.body.message]).toEqual([409, 'Image two is on the allow list already.']);
  expect((await stand.call('root', 'GET', `${IMAGES}/three`)).status).toBe(404);
  expect((await bulk([{ image: 'four' }, { image: 'four' }])).status).toBe(409);
  const skipped = await bulk([{ image: 'three' }, { image: 'two' }], '?skip_duplicates=true');
  expect(namesIn(skipped.body.result)).toEqual(['three']);
  const wrong = await bulk([{ image: 'a b' }, { tenants: ['x'] }]);
  expect([wrong.status, wrong.body.message]).toEqual([
    400,
    ['images.0.image: must contain only printable ASCII characters and no spaces', 'images.1.image: is required'],
  ]);
  expect((await bulk({ image: 'x' })).body.message).toEqual(['images: must be a list']);
  expect((await bulk(Array.from({ length: 201 }, () => ({ image: 'x' })))).body.message).toEqual([
    'images: must have at most 200 entries',
  ]);
  expect((await stand.call('alice', 'POST', `${IMAGES}/bulk`, [{ image: 'x' }])).status).toBe(403);
});

test('administrators of the site tenant decide for all tenants, other administrators for their own', async () => {
  stand = await ApiStand.start({ allowsImages: true, siteAdminTenant: 'default' });
  const add = async (image: string, tenants: readonly string[]) =>
    (await stand.call('root', 'POST', IMAGES, { image, tenants })).status;
  expect(await add('everywhere', ['*'])).toBe(200);
  expect(await add('not-there', ['**', '-other'])).toBe(200);
  expect(await add('there', ['other'])).toBe(200);
  expect(await add('here', [])).toBe(200);
  expect(await add('not-here', ['*', '-default'])).toBe(200);
  const runs = async (image: string) => {
    const body = { pod_id: `p${image.replaceAll('-', '')}`, image, status_requested: 'OFF' };
    const statuses = [
      await stand.call('alice', 'POST', '/v3/pods', body),
      await callOther('alice', 'POST', '/v3/pods', body),
    ];
    return statuses.map(({ status }) => status);
  };
  expect(await runs('everywhere')).toEqual([200, 200]);
  expect(await runs('not-there')).toEqual([200, 400]);
  expect(await runs('there')).toEqual([400, 200]);
  expect(await runs('here')).toEqual([200, 400]);
  expect(await runs('not-here')).toEqual([400, 200]);
  expect(namesIn((await callOther('alice', 'GET', IMAGES)).body.result)).toEqual(['everywhere', 'not-here', 'there']);
  const foreign = await callOther('root', 'POST', IMAGES, { image: 'x', tenants: ['default'] });
  expect([foreign.status, foreign.body.message]).toEqual([403, expect.stringContaining('siteAdminTenant')]);
  expect((await callOther('root', 'POST', IMAGES, { image: 'x', tenants: ['*'] })).status).toBe(403);
  expect((await callOther('root', 'DELETE', `${IMAGES}/everywhere`)).status).toBe(403);
  expect((await callOther('root', 'POST', IMAGES, { image: 'own', tenants: ['other'] })).status).toBe(200);
  expect(await runs('own')).toEqual([400, 200]);
});

test('If-Match prevents changes and deletions that would undo a concurrent change, also for permissions', async () => {
  stand = await ApiStand.start({ allowsImages: true, imageAllowList: ['configured'] });
  await stand.call('root', 'POST', IMAGES, { image: 'org/tool', description: 'A tool.' });
  const path = `${IMAGES}/org%2Ftool`;
  const tagOf = async (of: string): Promise<string> => (await stand.call('root', 'GET', of)).headers.get('etag') ?? '';
  const first = await tagOf(path);
  expect(first).toMatch(/^"[\w-]{22}"$/);
  expect((await stand.call('alice', 'GET', path, undefined, { 'If-None-Match': first })).status).toBe(304);
  const put = async (description: string, tag: string) =>
    await stand.call('root', 'PUT', path, { description }, { 'If-Match': tag });
  const changed = await put('Another.', first);
  expect([changed.status, changed.headers.get('etag')]).toEqual([200, await tagOf(path)]);
  const stale = await put('Third.', first);
  expect([stale.status, stale.body.message]).toEqual([412, expect.stringMatching(/^Image org\/tool has changed/)]);
  expect((await put('Third.', 'nonsense')).status).toBe(400);
  const remove = async (tag: string) => await stand.call('root', 'DELETE', path, undefined, { 'If-Match': tag });
  expect((await remove(first)).status).toBe(412);
  expect((await remove(await tagOf(path))).status).toBe(200);
  // Another of that name is not the one that was read.
  await stand.call('root', 'POST', IMAGES, { image: 'org/tool', description: 'A tool.' });
  expect((await remove(first)).status).toBe(412);

  await pod('alice', 'mine', { pod_template: 'postgres' });
  const permissions = '/v3/pods/mine/permissions';
  const read = (await stand.call('alice', 'GET', permissions)).headers.get('etag') ?? '';
  const grant = async (user: string, tag: string) =>
    await stand.call('alice', 'POST', permissions, { user, level: 'READ' }, { 'If-Match': tag });
  const granted = await grant('bob', read);
  expect(granted.status).toBe(200);
  expect((await grant('carol', read)).status).toBe(412);
  const take = async (tag: string) =>
    await stand.call('alice', 'DELETE', `${permissions}/bob`, undefined, { 'If-Match': tag });
  expect((await take(read)).status).toBe(412);
  const taken = await take(granted.headers.get('etag') ?? '');
  // The same list as before has the same tag.
  expect([taken.status, taken.headers.get('etag')]).toEqual([200, read]);
});
