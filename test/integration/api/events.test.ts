import { afterEach, beforeEach, expect, test } from 'vitest';

import { EventStreams } from '../../../control/objects/events/event-streams.ts';
import { podEvents } from '../../../control/resources/pods/pod-events.ts';
import { podKey } from '../../../core/ids.ts';
import { EventReader } from '../../support/event-reader.ts';
import { silentLog } from '../../support/silent-log.ts';
import { until } from '../../support/until.ts';
import { ApiStand } from './api-stand.ts';

let stand: ApiStand;
let readers: EventReader[];
beforeEach(async () => {
  readers = [];
  stand = await ApiStand.start();
});
afterEach(async () => {
  for (const reader of readers) reader.close();
  await stand.close();
});

async function open(username: string, headers: Record<string, string> = {}, query = ''): Promise<EventReader> {
  const reader = await EventReader.open(`${stand.url}/v3/pods/events${query}`, {
    'X-Tapis-Token': await stand.token(username),
    ...headers,
  });
  readers.push(reader);
  return reader;
}

const share = (user: string, level = 'READ') =>
  stand.call('alice', 'POST', '/v3/pods/mypod/permissions', { user, level });

test('a stream has the changes of the pods that its caller may see, and no others', async () => {
  const [alice, bob] = [await open('alice'), await open('bob')];
  expect(alice.headers.get('content-type')).toBe('text/event-stream; charset=utf-8');
  await stand.create('alice', 'mypod');
  const created = await alice.next();
  expect(created).toMatchObject({
    event: 'pod',
    data: { pod_id: 'mypod', change: 'changed', status: 'REQUESTED', status_requested: 'ON', etag: '"1"' },
  });
  await share('bob');
  // What bob gets first is the change that let him in.
  expect(await bob.next()).toMatchObject({ event: 'pod', data: { pod_id: 'mypod', change: 'changed' } });
  await alice.next();
  await stand.call('alice', 'DELETE', '/v3/pods/mypod/permissions/bob');
  expect(await bob.next()).toMatchObject({ event: 'pod', data: { pod_id: 'mypod', change: 'gone' } });
  await alice.next();
  await stand.call('alice', 'DELETE', '/v3/pods/mypod');
  expect((await alice.next()).data).toEqual({ pod_id: 'mypod', change: 'gone' });
  await stand.create('bob', 'bobs');
  expect((await bob.next()).data).toMatchObject({ pod_id: 'bobs' });
  expect(alice.waiting).toEqual([]);
});

test('reports the loss of a permission that existed before the stream began', async () => {
  await stand.create('alice', 'mypod');
  await share('bob');
  const bob = await open('bob');
  await stand.call('alice', 'DELETE', '/v3/pods/mypod/permissions/bob');
  expect((await bob.next()).data).toEqual({ pod_id: 'mypod', change: 'gone' });
});

test('a stream resumes after the event in Last-Event-ID, without loss or repetition', async () => {
  const first = await open('alice');
  await stand.create('alice', 'first');
  const { id } = await first.next();
  first.close();
  await until('the streams have come or gone', () => stand.api.numbers().eventStreams === 0);
  for (const podId of ['second', 'third']) await stand.create('alice', podId);
  const again = await open('alice', { 'Last-Event-ID': id });
  expect((await again.next()).data).toMatchObject({ pod_id: 'second' });
  expect((await again.next()).data).toMatchObject({ pod_id: 'third' });
  await stand.create('alice', 'fourth');
  expect((await again.next()).data).toMatchObject({ pod_id: 'fourth' });
  await stand.create('alice', 'fifth');
  expect((await again.next()).data).toMatchObject({ pod_id: 'fifth' });
});

test('a stream that resumes within a commit of several pods misses none of them', async () => {
  await stand.create('alice', 'one');
  await stand.create('alice', 'two');
  const live = await open('alice');
  const stored = await Promise.all(['one', 'two'].map((id) => stand.database.store.get('pod', podKey('default', id))));
  const puts = stored.flatMap((each) =>
    each === null
      ? []
      : [
          {
            kind: 'pod' as const,
            key: each.key,
            expected: each.revision,
            value: each.value,
            tenant: 'default',
            indexes: ['user:alice'],
          },
        ],
  );
  await stand.database.store.commit({ puts });
  const [one, two] = [await live.next(), await live.next()];
  expect([one.data, two.data]).toMatchObject([{ pod_id: 'one' }, { pod_id: 'two' }]);
  const again = await open('alice', { 'Last-Event-ID': one.id });
  expect(await again.next()).toEqual(two);
});

test.each(['nonsense', '00000000.3', '\u00e9', '99999999999999999999'])(
  'an ID that is not in this history (%s) gets a reset',
  async (id) => {
    const reader = await open('alice', { 'Last-Event-ID': id });
    expect(await reader.next()).toMatchObject({ event: 'reset' });
    await stand.create('alice', 'mypod');
    expect((await reader.next()).data).toMatchObject({ pod_id: 'mypod' });
  },
);

test('heartbeats keep a quiet stream alive and advance the position from which a client resumes', async () => {
  await stand.close();
  stand = await ApiStand.start({ events: { heartbeatMs: 20 } });
  const bob = await open('bob');
  const { lastEventId } = bob;
  await stand.create('alice', 'mypod');
  await until('the streams have come or gone', () => bob.heartbeats > 2 && bob.lastEventId !== lastEventId);
  expect(bob.waiting).toEqual([]);
});

test('a stream ends after its lifetime, so that an expired token shows nothing more', async () => {
  await stand.close();
  stand = await ApiStand.start({ events: { lifetimeMs: 20 } });
  const reader = await open('alice');
  await reader.ended;
  await until('the streams have come or gone', () => stand.api.numbers().eventStreams === 0);
});

test('a user has a limited number of streams, and closed streams no longer count', async () => {
  await stand.close();
  stand = await ApiStand.start({ events: { limits: { all: 3, perTenant: 3, perUser: 2 } } });
  const first = await open('alice');
  await open('alice');
  expect((await stand.call('alice', 'GET', '/v3/pods/events')).status).toBe(429);
  await open('bob');
  expect((await stand.call('carol', 'GET', '/v3/pods/events')).status).toBe(429);
  // Streams take none of the places of calls.
  expect(stand.api.numbers().calls).toBe(0);
  first.close();
  await until('the streams have come or gone', () => stand.api.numbers().eventStreams === 2);
  await open('alice');
});

test('a client that does not read loses its stream and what was queued for it, and can resume', async () => {
  await stand.create('alice', 'mypod');
  const { store } = stand.database;
  const kinds = [
    podEvents({
      async *list() {
        yield await Promise.resolve([]);
      },
    }),
  ];
  const streams = new EventStreams({ store, kinds, log: silentLog, queueBytes: 2_000 });
  const caller = { username: 'alice', tenant: 'default', isAdministrator: false };
  const view = { caller, isAdminView: false, statusNames: 'seed', signal: new AbortController().signal } as const;
  const stream = streams.open({ ...view, lastEventId: undefined });
  let taken = String((await stream.next()).value);
  for (let count = 1; count <= 30; count += 1) await stand.overwrite('mypod', { generation: count });
  for await (const text of stream) taken += text;
  expect([streams.tooSlow, streams.count]).toEqual([1, 0]);
  const [etags, ids] = [/"etag":"\\"(\d+)/g, /^id: (.*)$/gm].map((pattern) =>
    [...taken.matchAll(pattern)].map(([, text]) => text ?? ''),
  );
  expect(etags?.length).toBeLessThan(30);
  const again = streams.open({ ...view, lastEventId: ids?.at(-1) });
  await again.next();
  // As fast as it is taken: what is replayed waits for its client.
  let rest = '';
  while (!rest.includes('"etag":"\\"30')) rest += String((await again.next()).value);
  expect(rest).toContain(`"etag":"\\"${Number(etags?.at(-1)) + 1}\\"`);
  await again.return(undefined);
  expect(streams.count).toBe(0);
});

test('administrators see other users’ pods on request', async () => {
  const [plain, all] = [await open('root'), await open('root', { 'X-Pods-Admin': 'true' })];
  await stand.create('alice', 'mypod');
  expect((await all.next()).data).toMatchObject({ pod_id: 'mypod' });
  await stand.call('alice', 'DELETE', '/v3/pods/mypod');
  expect((await all.next()).data).toEqual({ pod_id: 'mypod', change: 'gone' });
  await stand.create('root', 'own');
  expect((await plain.next()).data).toMatchObject({ pod_id: 'own' });
});

test('statuses use the names that the call asks for', async () => {
  await stand.create('alice', 'mypod');
  const reader = await open('alice', {}, '?status_names=tapis');
  await stand.overwrite('mypod', { status: 'RUNNING' });
  expect((await reader.next()).data).toMatchObject({ status: 'AVAILABLE' });
  expect((await stand.call('alice', 'GET', '/v3/pods/events?status_names=x')).status).toBe(400);
});

test('HEAD requests and clients that leave at once hold no resources', async () => {
  const headers = { 'X-Tapis-Token': await stand.token('alice') };
  const response = await fetch(`${stand.url}/v3/pods/events`, { method: 'HEAD', headers });
  expect(response.status).toBe(200);
  await until('the streams have come or gone', () => stand.api.numbers().eventStreams === 0);
});
