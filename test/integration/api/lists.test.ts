import { afterEach, beforeEach, expect, test } from 'vitest';

import { quotasOf } from '../../unit/control/limits.ts';
import { ApiStand } from './api-stand.ts';

let stand: ApiStand;
beforeEach(async () => {
  stand = await ApiStand.start();
});
afterEach(async () => {
  await stand.close();
});

const idsOf = (result: unknown): readonly string[] => (result as { pod_id: string }[]).map(({ pod_id: id }) => id);

test('the pages of a list have every pod once, in order of IDs', async () => {
  for (const podId of ['e', 'b', 'd', 'a', 'c']) await stand.create('alice', `pod${podId}`);
  await stand.create('bob', 'podaa');
  const ids: string[] = [];
  const sizes: number[] = [];
  let cursor: string | null = '';
  while (cursor !== null) {
    const query: string = cursor === '' ? 'limit=2' : `limit=2&cursor=${cursor}`;
    const { body } = await stand.call('alice', 'GET', `/v3/pods?${query}`);
    sizes.push(idsOf(body.result).length);
    ids.push(...idsOf(body.result));
    cursor = body.metadata['next_cursor'] as string | null;
  }
  expect(ids).toEqual(['poda', 'podb', 'podc', 'podd', 'pode']);
  expect(sizes).toEqual([2, 2, 1]);
});

test('a page that takes several reads of the store, and the last page, have the right cursor', async () => {
  await stand.close();
  stand = await ApiStand.start({ quotas: quotasOf({ pods: 100 }) });
  const all = Array.from({ length: 45 }, (_, at) => `pod${String(at).padStart(2, '0')}`);
  for (const podId of all) await stand.create('alice', podId);
  for (const limit of [1, 19, 20, 21, 40, 44]) {
    const { body } = await stand.call('alice', 'GET', `/v3/pods?limit=${limit}`);
    expect(idsOf(body.result)).toEqual(all.slice(0, limit));
    const next = await stand.call('alice', 'GET', `/v3/pods?cursor=${String(body.metadata['next_cursor'])}`);
    expect(idsOf(next.body.result)).toEqual(all.slice(limit));
  }
  for (const limit of [45, 500]) {
    const { body } = await stand.call('alice', 'GET', `/v3/pods?limit=${limit}`);
    expect([idsOf(body.result).length, body.metadata['next_cursor']]).toEqual([45, null]);
  }
});

test('without a limit, the list is complete and has no cursor', async () => {
  await stand.create('alice', 'mypod');
  const { body } = await stand.call('alice', 'GET', '/v3/pods');
  expect(idsOf(body.result)).toEqual(['mypod']);
  expect(Object.keys(body.metadata)).toEqual(['quota']);
});

test.each(['limit=0', 'limit=501', 'limit=x', 'limit=', 'limit=-1', 'cursor=', 'cursor=%00', 'cursor=a'])(
  '%s returns 400 with the name of the parameter',
  async (query) => {
    const { status, body } = await stand.call('alice', 'GET', `/v3/pods?${query}`);
    expect([status, String(body.message).split(':')[0]]).toEqual([400, query.split('=')[0]]);
  },
);

test('permissions have an ETag, and return 304 to a client that has it', async () => {
  await stand.create('alice', 'mypod');
  const read = (headers: Record<string, string> = {}) =>
    stand.call('alice', 'GET', '/v3/pods/mypod/permissions', undefined, headers);
  const first = await read();
  const tag = first.headers.get('etag') ?? '';
  expect(tag).toMatch(/^"[\w-]{22}"$/);
  const same = await read({ 'If-None-Match': `"x", ${tag}` });
  expect([same.status, same.headers.get('etag'), same.body]).toEqual([304, tag, {}]);
  await stand.call('alice', 'POST', '/v3/pods/mypod/permissions', { user: 'bob', level: 'READ' });
  const changed = await read({ 'If-None-Match': tag });
  expect([changed.status, changed.headers.get('etag') === tag]).toEqual([200, false]);
  expect((await read({ 'If-None-Match': '*' })).status).toBe(200);
});

test('a short list and its pages have an ETag; a long list is streamed without one', async () => {
  await stand.close();
  stand = await ApiStand.start({ quotas: quotasOf({ pods: 200 }) });
  for (let at = 0; at < 3; at += 1) await stand.create('alice', `pod${at}`);
  for (const path of ['/v3/pods', '/v3/pods?limit=2', '/v3/pods/volumes', '/v3/pods/templates', '/v3/pods/images']) {
    const first = await stand.call('alice', 'GET', path);
    const tag = first.headers.get('etag') ?? '';
    expect([path, tag]).toEqual([path, expect.stringMatching(/^W\/"[\w-]{22}"$/)]);
    const same = await stand.call('alice', 'GET', path, undefined, { 'If-None-Match': tag });
    expect([path, same.status, same.body]).toEqual([path, 304, {}]);
  }
  const before = (await stand.call('alice', 'GET', '/v3/pods')).headers.get('etag');
  await stand.call('alice', 'PUT', '/v3/pods/pod1', { description: 'changed' });
  expect((await stand.call('alice', 'GET', '/v3/pods')).headers.get('etag')).not.toBe(before);
  for (let at = 3; at < 100; at += 1) await stand.create('alice', `pod${at}`);
  const long = await stand.call('alice', 'GET', '/v3/pods');
  expect([idsOf(long.body.result).length, long.headers.get('etag')]).toEqual([100, null]);
  expect((await stand.call('alice', 'HEAD', '/v3/pods')).status).toBe(200);
});
