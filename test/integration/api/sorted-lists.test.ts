import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import { ApiStand } from './api-stand.ts';

let stand: ApiStand;
beforeEach(async () => {
  stand = await ApiStand.start();
});
afterEach(() => stand.close());

type Entry = Readonly<Record<string, unknown>>;

async function list(user: string, path: string, query: string) {
  const { status, body } = await stand.call(user, 'GET', `/v3/pods${path}?${query}`);
  expect(status, JSON.stringify(body)).toBe(200);
  return { entries: body.result as readonly Entry[], cursor: body.metadata['next_cursor'] as string | null };
}

/** All pages, of which each but the last has `limit` entries. */
async function pages(user: string, path: string, query: string, limit: number): Promise<readonly Entry[]> {
  const all: Entry[] = [];
  let cursor = '';
  for (;;) {
    const page = await list(user, path, `${query}&limit=${limit}${cursor}`);
    all.push(...page.entries);
    if (page.cursor === null) return all;
    expect(page.entries).toHaveLength(limit);
    cursor = `&cursor=${page.cursor}`;
  }
}

describe('the list of pods', () => {
  beforeEach(async () => {
    // Two and two at the same time.
    for (const podId of ['poda', 'podd', 'podc', 'podb']) {
      await stand.create('alice', podId, podId === 'podd' ? { status_requested: 'OFF' } : {});
      if (podId === 'podd') stand.now += 1_000;
    }
  });
  const ids = (entries: readonly Entry[]) => entries.map(({ pod_id: id }) => id);

  test.each([
    ['sort=creation_ts', ['poda', 'podd', 'podb', 'podc']],
    ['sort=creation_ts&order=desc', ['podc', 'podb', 'podd', 'poda']],
    ['order=desc', ['podd', 'podc', 'podb', 'poda']],
    ['sort=status', ['poda', 'podb', 'podc', 'podd']],
    ['sort=pod_id', ['poda', 'podb', 'podc', 'podd']],
  ])('?%s returns every pod once, in order, with any page size', async (query, expected) => {
    for (const limit of [1, 2, 3, 4, 5]) expect(ids(await pages('alice', '', query, limit))).toEqual(expected);
    expect(ids((await list('alice', '', query)).entries)).toEqual(expected);
  });

  test('deleting a pod between two pages shifts no other', async () => {
    const first = await list('alice', '', 'sort=creation_ts&order=desc&limit=2');
    await stand.call('alice', 'DELETE', '/v3/pods/podb');
    const next = await list('alice', '', `sort=creation_ts&order=desc&limit=2&cursor=${first.cursor ?? ''}`);
    expect([ids(first.entries), ids(next.entries), next.cursor]).toEqual([['podc', 'podb'], ['podd', 'poda'], null]);
  });

  test.each([
    ['status=STOPPED', ['podd']],
    ['status=REQUESTED&order=desc', ['podc', 'podb', 'poda']],
    ['status_requested=OFF', ['podd']],
    ['template=podgate/hello&prefix=podb', ['podb']],
    ['template=template/postgres', []],
    ['prefix=pod&limit=1', ['poda']],
  ])('?%s returns only the matching pods', async (query, expected) => {
    expect(ids((await list('alice', '', query)).entries)).toEqual(expected);
  });

  test('a status is found by both of its names', async () => {
    await stand.overwrite('poda', { status: 'RUNNING' });
    for (const name of ['RUNNING', 'AVAILABLE']) {
      expect(ids((await list('alice', '', `status=${name}`)).entries)).toEqual(['poda']);
    }
  });

  test('a filter never reveals more than the list without it', async () => {
    expect((await list('bob', '', 'prefix=pod&sort=status')).entries).toEqual([]);
  });

  test.each([
    ['sort=color', 'sort'],
    ['order=up', 'order'],
    ['status=ON', 'status'],
    ['prefix=', 'prefix'],
    [`template=${'x'.repeat(256)}`, 'template'],
  ])('?%s returns 400 with the name of the parameter', async (query, parameter) => {
    const { status, body } = await stand.call('alice', 'GET', `/v3/pods?${query}`);
    expect([status, String(body.message).split(':')[0]]).toEqual([400, parameter]);
  });

  test('a cursor is valid only for its own sort order', async () => {
    const { cursor } = await list('alice', '', 'sort=creation_ts&limit=1');
    for (const query of ['sort=status', 'sort=creation_ts&order=desc', 'limit=1', 'order=desc']) {
      const { status, body } = await stand.call('alice', 'GET', `/v3/pods?${query}&cursor=${cursor ?? ''}`);
      expect([query, status, String(body.message)]).toEqual([query, 400, expect.stringMatching(/^cursor: /)]);
    }
  });
});

describe('every other list', () => {
  const names = ['b1', 'a2', 'c3'].map((name) => `my${name}`);
  const lists: readonly (readonly [path: string, id: string, make: (name: string) => readonly [string, object]])[] = [
    ['/volumes', 'volume_id', (name) => ['/volumes', { volume_id: name }]],
    [
      '/snapshots',
      'snapshot_id',
      (name) => ['/snapshots', { snapshot_id: name, source_volume_id: 'source', source_volume_path: '/' }],
    ],
    ['/secrets', 'secret_id', (name) => ['/secrets', { secret_id: name, secret_value: 'hidden' }]],
    ['/templates', 'template_id', (name) => ['/templates', { template_id: name }]],
    ['/images', 'image', (name) => ['/images', { image: `${name}/x` }]],
  ];

  test.each(lists)('%s pages, sorts and filters', async (path, id, make) => {
    if (path === '/snapshots') await stand.call('root', 'POST', '/v3/pods/volumes', { volume_id: 'source' });
    for (const name of names) {
      const [to, body] = make(name);
      expect((await stand.call('root', 'POST', `/v3/pods${to}`, body)).status).toBe(200);
      stand.now += 1_000;
    }
    const idsOf = (entries: readonly Entry[]) =>
      entries.map((entry) => String(entry[id]).replace('/x', '')).filter((name) => names.includes(name));
    for (const limit of [1, 2, 500]) {
      expect(idsOf(await pages('root', path, '', limit))).toEqual(['mya2', 'myb1', 'myc3']);
      expect(idsOf(await pages('root', path, 'sort=creation_ts&order=desc', limit))).toEqual(names.toReversed());
      expect(idsOf(await pages('root', path, 'prefix=myb', limit))).toEqual(['myb1']);
    }
    expect(idsOf((await list('root', path, '')).entries)).toHaveLength(3);
  });

  test('snapshots and secrets can be filtered by their volume and pod', async () => {
    await stand.call('alice', 'POST', '/v3/pods/volumes', { volume_id: 'source' });
    const snapshot = { source_volume_id: 'source', source_volume_path: '/' };
    await stand.call('alice', 'POST', '/v3/pods/snapshots', { ...snapshot, snapshot_id: 'mine' });
    expect((await list('alice', '/snapshots', 'source_volume_id=source&status=AVAILABLE')).entries).toHaveLength(1);
    expect((await list('alice', '/snapshots', 'source_volume_id=other')).entries).toEqual([]);
    await stand.call('alice', 'POST', '/v3/pods/secrets', { secret_id: 'mine', secret_value: 'x' });
    expect((await list('alice', '/secrets', 'scope=user')).entries).toHaveLength(1);
    expect((await list('alice', '/secrets', 'scope=pod')).entries).toEqual([]);
  });
});
