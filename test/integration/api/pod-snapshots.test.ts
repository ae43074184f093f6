import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';

import { turnSchedules } from '../../../control/resources/snapshots/schedule.ts';
import { resolveOrigin } from '../../../core/data-origin.ts';
import type { DataSnapshotRequest } from '../../../core/data-snapshots.ts';
import { PodgateError } from '../../../core/errors.ts';
import type { SnapshotRecord } from '../../../core/volume.ts';
import { podSnapshotIndex, volumeKey } from '../../../core/volume-put.ts';
import { noOutput, noShell } from '../../support/no-shell.ts';
import { silentLog } from '../../support/silent-log.ts';
import { until } from '../../support/until.ts';
import { ApiStand } from './api-stand.ts';

const DAY_MS = 86_400_000;
const CLONES = new Set(['template/postgres', 'template/neo4j']);
let stand: ApiStand;
/** What has been copied, by the orchestrator that this test is. */
let taken: DataSnapshotRequest[] = [];
/** Of the schedules: tokens would expire by it. */
let nowMs = 0;
beforeAll(async () => {
  stand = await ApiStand.start({
    orchestrator: { logs: () => Promise.resolve(''), shell: noShell, output: noOutput, clones: CLONES },
  });
  nowMs = stand.now;
  await stand.call('alice', 'POST', '/v3/pods', { pod_id: 'bank', pod_template: 'postgres' });
  await stand.call('alice', 'POST', '/v3/pods/bank/permissions', { user: 'bob', level: 'USER' });
  await stand.call('alice', 'POST', '/v3/pods/bank/permissions', { user: 'carol', level: 'READ' });
});
afterAll(() => stand.close());
beforeEach(() => {
  taken = [];
  stand.takeData = async (request) => void taken.push(request);
});

const take = (user: string, snapshotId: string, change: object = {}) =>
  stand.call(user, 'POST', '/v3/pods/snapshots', { snapshot_id: snapshotId, source_pod_id: 'bank', ...change });
const clone = (user: string, body: object, of = 'bank') => stand.call(user, 'POST', `/v3/pods/${of}/clone`, body);
const recordOf = async (id: string): Promise<SnapshotRecord> => {
  const stored = await stand.database.store.get('snapshot', volumeKey('default', id));
  if (stored === null) throw new Error(`no snapshot ${id}`);
  return stored.value;
};
const turn = () =>
  turnSchedules(
    {
      ...{ store: stand.database.store, files: stand.files, copies: stand.copies, log: silentLog },
      ...{ clock: { now: () => nowMs }, admission: { admit: async () => [] } },
    },
    { isOver: () => false },
  );
const idsBy = async (id: string): Promise<readonly string[]> => {
  const found = await stand.database.store.list('snapshot', { index: `scheduled-by:${id}`, limit: 100 });
  return found.map(({ value }) => `${value.snapshotId} ${value.status}`);
};

test('a snapshot is of a volume or of the data of a pod, and says which', async () => {
  const made = await take('bob', 'first', { size_limit: 100 });
  expect([made.status, made.body.message]).toEqual([200, 'Snapshot created successfully.']);
  expect(made.body.result).toMatchObject({
    ...{ source_pod_id: 'bank', source_volume_id: '', source_volume_path: '', status: 'AVAILABLE', size_limit: 100 },
  });
  const { uid } = await stand.record('bank');
  expect(taken).toEqual([
    {
      pod: { tenant: 'default', podId: 'bank', uid },
      ...{ template: 'template/postgres', username: 'bank', sizeLimitMiB: 100 },
      to: { kind: 'snapshot', uid: (await recordOf('first')).uid, tenant: 'default', id: 'first' },
    },
  ]);
  const found = await stand.database.store.list('snapshot', { index: podSnapshotIndex(uid), limit: 9 });
  expect(found.map(({ value }) => value.snapshotId)).toEqual(['first']);
  const listed = await stand.call('bob', 'GET', '/v3/pods/snapshots?source_pod_id=bank');
  expect(listed.body.result).toHaveLength(1);
  const lines = JSON.stringify((await stand.call('alice', 'GET', '/v3/pods/bank/logs')).body.result);
  expect(lines).toContain("'bob' took snapshot first of the data");
  for (const [fields, sentence] of [
    [{ source_volume_id: 'vol' }, 'give either source_volume_id or source_pod_id'],
    [{ source_pod_id: null }, 'give either source_volume_id or source_pod_id'],
    [{ source_volume_path: '/' }, 'source_volume_path: is for volumes; leave it out with source_pod_id'],
    [{ destination_path: 'x' }, 'destination_path: is for volumes; leave it out with source_pod_id'],
    [{ source_pod_id: null, source_volume_id: 'vol' }, 'source_volume_path: is required'],
  ] as const) {
    const refused = await take('bob', 'refused', fields);
    expect([refused.status, refused.body.message]).toEqual([400, [sentence]]);
  }
});

test('USER on the pod is needed, by a permission of your own, and data that can be copied', async () => {
  const byCarol = await take('carol', 'ofcarol');
  expect([byCarol.status, byCarol.body.message]).toEqual([
    403,
    'Taking a snapshot needs USER on pod bank; you have READ.',
  ]);
  const byRole = await take('root', 'ofroot');
  expect([byRole.status, String(byRole.body.message)]).toEqual([403, expect.stringContaining('of your own') as string]);
  await stand.create('alice', 'hello', { pod_template: 'podgate/hello' });
  const unable = await take('alice', 'ofhello', { source_pod_id: 'hello' });
  expect([unable.status, unable.body.message]).toEqual([
    501,
    'This installation cannot clone pods of podgate/hello, only of template/neo4j, template/postgres.',
  ]);
  await stand.create('alice', 'fresh', { pod_template: 'postgres', status_requested: 'OFF' });
  const empty = await take('alice', 'offresh', { source_pod_id: 'fresh' });
  expect([empty.status, empty.body.message]).toEqual([409, 'Pod fresh has no data yet: start it first.']);
  expect(taken).toEqual([]);
});

test('its files are for clones alone', async () => {
  await stand.call('bob', 'POST', '/v3/pods/snapshots/first/permissions', { user: 'carol', level: 'READ' });
  const refusal =
    'Snapshot first is of the data of pod bank, whose files are not shown. Clone it: podgate clone bank NEW_POD --snapshot first';
  for (const [user, path] of [
    ['carol', 'list'],
    ['bob', 'list?path=/'],
    ['bob', 'contents/pgdata?zip=true'],
    ['bob', 'download/pgdata%2FPG_VERSION'],
  ] as const) {
    const answer = await stand.call(user, 'GET', `/v3/pods/snapshots/first/${path}`);
    expect([path, answer.status, answer.body.message]).toEqual([path, 409, refusal]);
  }
  expect((await stand.call('carol', 'GET', '/v3/pods/snapshots/first/download/x')).status).toBe(403);
  const mounting = await stand.call('bob', 'POST', '/v3/pods', {
    ...{ pod_id: 'mounting', pod_template: 'podgate/hello', status_requested: 'OFF' },
    volume_mounts: { '/data': { type: 'tapissnapshot', source_id: 'first' } },
  });
  expect([mounting.status, mounting.body.message]).toEqual([
    400,
    ['volume_mounts./data: snapshot first is of the data of pod bank, which cannot be mounted: clone it.'],
  ]);
  await stand.call('bob', 'POST', '/v3/pods/volumes', { volume_id: 'ofbob' });
  const restored = await stand.call('bob', 'POST', '/v3/pods/volumes/ofbob/restore', { snapshot_id: 'first' });
  expect([restored.status, restored.body.message]).toEqual([
    501,
    'Snapshot first is of the data of pod bank, which is not restored in place. Clone it: podgate clone bank NEW_POD --snapshot first',
  ]);
});

test('a clone begins with a snapshot that is named, or with the newest of a time or before', async () => {
  stand.now += 600_000;
  await take('bob', 'second');
  const later = new Date(stand.now + 60_000).toISOString();
  const origin = async (podId: string) => await resolveOrigin(stand.database.store, await stand.record(podId));
  const snapshot = async (id: string) => ({ kind: 'snapshot', uid: (await recordOf(id)).uid, tenant: 'default', id });
  for (const [podId, body, id] of [
    ['named', { snapshot_id: 'first' }, 'first'],
    ['newest', { at: later }, 'second'],
    ['then', { at: new Date(stand.now - 1).toISOString() }, 'first'],
  ] as const) {
    const made = await clone('bob', { pod_id: podId, ...body });
    expect([made.status, made.body.result]).toEqual([200, expect.objectContaining({ cloned_from: 'bank' }) as object]);
    expect(await origin(podId)).toEqual({ snapshot: await snapshot(id), refusal: null });
  }
  const early = await clone('bob', { pod_id: 'early', at: '2026-11-01T00:00:00Z' });
  expect([early.status, early.body.message]).toEqual([
    409,
    'at: there is no snapshot of the data of pod bank of then or before; the oldest is first, of 2026-11-23T10:20:30.000Z.',
  ]);
  // Those of others do not exist for her.
  const ofAlice = await clone('alice', { pod_id: 'ofalice', at: later });
  expect([ofAlice.status, String(ofAlice.body.message)]).toEqual([
    409,
    'at: there is no complete snapshot of the data of pod bank on which you have USER: podgate snapshots create NAME --pod bank',
  ]);
  expect((await clone('alice', { pod_id: 'ofalice', snapshot_id: 'first' })).status).toBe(403);
  expect((await clone('bob', { pod_id: 'both', snapshot_id: 'first', at: later })).status).toBe(400);
  expect((await clone('bob', { pod_id: 'none', snapshot_id: 'nothere' })).status).toBe(404);
  await stand.create('bob', 'graph', { pod_template: 'neo4j', status_requested: 'OFF' });
  const other = await clone('bob', { pod_id: 'mixed', snapshot_id: 'first' }, 'graph');
  expect([other.status, other.body.message]).toEqual([
    409,
    'snapshot_id: first is of a pod of template/postgres, and pod graph is one of template/neo4j.',
  ]);
  // The permission counts when the data is copied.
  await stand.call('bob', 'POST', '/v3/pods/snapshots/first/permissions', { user: 'dora', level: 'ADMIN' });
  await stand.call('dora', 'DELETE', '/v3/pods/snapshots/first/permissions/bob');
  expect(await origin('named')).toMatchObject({
    refusal: 'There is no snapshot first any more that bob may clone: USER is needed.',
  });
  await stand.call('dora', 'POST', '/v3/pods/snapshots/first/permissions', { user: 'bob', level: 'USER' });
});

test('of a pod that is gone, another one of its template takes the snapshot, with its user name', async () => {
  await stand.create('bob', 'lost', { pod_template: 'postgres' });
  await take('bob', 'oflost', { source_pod_id: 'lost' });
  await stand.call('bob', 'DELETE', '/v3/pods/lost');
  await stand.create('bob', 'fromnew', { pod_template: 'postgres', status_requested: 'OFF' });
  expect((await clone('bob', { pod_id: 'found', snapshot_id: 'oflost' }, 'fromnew')).status).toBe(200);
  const { body } = await stand.call('bob', 'GET', '/v3/pods/found/credentials');
  expect(body.result).toMatchObject({ user_username: 'lost' });
  expect((await stand.call('bob', 'GET', '/v3/pods/snapshots/oflost')).body.result).toMatchObject({
    status: 'AVAILABLE',
  });
});

test('what helps to be tried again is, with its reason; what does not is refused and leaves nothing', async () => {
  const fails = (code: 'api.conflict' | 'orchestrator.unavailable', sentence: string) => {
    stand.takeData = () => Promise.reject(new PodgateError(code, { publicMessages: [sentence] }));
  };
  fails('api.conflict', 'Neo4j Community cannot be copied while it runs: stop it first.');
  const refused = await take('bob', 'running');
  expect([refused.status, refused.body.message]).toEqual([
    400,
    ['Neo4j Community cannot be copied while it runs: stop it first.'],
  ]);
  expect((await stand.call('bob', 'GET', '/v3/pods/snapshots/running')).status).toBe(404);
  fails('orchestrator.unavailable', 'Pod bank was started or deleted while its data was copied.');
  const interrupted = await take('bob', 'again');
  expect([interrupted.status, interrupted.body.result]).toEqual([
    200,
    expect.objectContaining({
      ...{ status: 'CREATING', message: 'Pod bank was started or deleted while its data was copied.' },
    }) as object,
  ]);
  expect((await clone('bob', { pod_id: 'tooearly', snapshot_id: 'again' })).status).toBe(409);
  stand.takeData = async (request) => void taken.push(request);
  await turn();
  await until('the copy', async () => (await recordOf('again')).status === 'AVAILABLE');
  expect((await recordOf('again')).message).toBe('');
  expect(taken).toHaveLength(1);
});

test('a schedule makes them with the permission of its creator, and failures push out none that is complete', async () => {
  await take('bob', 'daily', { cron: '30 3 * * *', retention_policy: 'keep=2' });
  nowMs += 40 * DAY_MS;
  for (const day of ['02', '03', '04']) {
    await turn();
    const id = `dailyt202701${day}0330`;
    await until(id, async () => (await recordOf(id)).status !== 'CREATING');
    nowMs += DAY_MS;
  }
  stand.takeData = () => Promise.reject(new PodgateError('api.conflict', { publicMessages: ['It runs.'] }));
  for (const day of ['05', '06']) {
    await turn();
    const id = `dailyt202701${day}0330`;
    await until(id, async () => (await recordOf(id)).status === 'ERROR');
    nowMs += DAY_MS;
  }
  nowMs -= DAY_MS;
  await turn();
  expect(await idsBy('daily')).toEqual([
    'dailyt202701030330 AVAILABLE',
    'dailyt202701040330 AVAILABLE',
    'dailyt202701060330 ERROR',
  ]);
  await stand.call('alice', 'DELETE', '/v3/pods/bank/permissions/bob');
  nowMs += DAY_MS;
  await turn();
  expect((await recordOf('daily')).message).toBe(
    'No snapshot was made at 2027-01-07T03:30Z: There is no pod bank any more on which bob has USER.',
  );
});
