import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';

import { FileJobs } from '../../../control/objects/files/file-jobs.ts';
import { createSnapshotCopies } from '../../../control/resources/snapshots/copies.ts';
import { turnSchedules } from '../../../control/resources/snapshots/schedule.ts';
import { PodgateError } from '../../../core/errors.ts';
import type { SnapshotRecord, VolumeFiles } from '../../../core/volume.ts';
import { snapshotPut, volumeKey } from '../../../core/volume-put.ts';
import { silentLog } from '../../support/silent-log.ts';
import { until } from '../../support/until.ts';
import { ApiStand } from './api-stand.ts';

let stand: ApiStand;
let data: string;
/** Of the schedules: tokens would expire by it. */
let nowMs = 0;
beforeAll(async () => {
  stand = await ApiStand.start();
  nowMs = stand.now;
  await stand.call('alice', 'POST', '/v3/pods/volumes', { volume_id: 'source' });
  for (const [path, content] of [
    ['a/b.txt', 'hello'],
    ['a/c/d.txt', 'deep'],
    ['top.txt', 'top'],
  ] as const) {
    const form = new FormData();
    form.set('file', new Blob([content]), 'any');
    const headers = { 'X-Tapis-Token': await stand.token('alice') };
    const url = `${stand.url}/v3/pods/volumes/source/upload/${encodeURIComponent(path)}`;
    expect((await fetch(url, { method: 'POST', headers, body: form })).status).toBe(200);
  }
  const root = join(stand.directory, 'files');
  data = join(root, readdirSync(root)[0] ?? '', 'data');
});
afterAll(() => stand.close());

const create = (snapshotId: string, change: object = {}) =>
  stand.call('alice', 'POST', '/v3/pods/snapshots', {
    ...{ snapshot_id: snapshotId, source_volume_id: 'source', source_volume_path: '/' },
    ...change,
  });
const read = async (path: string): Promise<string> => {
  const headers = { 'X-Tapis-Token': await stand.token('alice') };
  return await (await fetch(`${stand.url}/v3/pods/snapshots/${path}`, { headers })).text();
};
const recordOf = async (id: string): Promise<SnapshotRecord> => {
  const stored = await stand.database.store.get('snapshot', volumeKey('default', id));
  if (stored === null) throw new Error(`no snapshot ${id}`);
  return stored.value;
};
const change = async (id: string, changed: Partial<SnapshotRecord>): Promise<void> => {
  const { store } = stand.database;
  const stored = await store.get('snapshot', volumeKey('default', id));
  if (stored !== null) await store.commit({ puts: [snapshotPut({ ...stored.value, ...changed }, stored.revision)] });
};
/** The records of the audit log, by what they are of. */
const audited = async (): Promise<readonly string[]> =>
  (await stand.database.store.list('audit', { tenant: 'default', limit: 100 })).map(({ value }) => value.uid);
const idsBy = async (id: string): Promise<readonly string[]> => {
  const found = await stand.database.store.list('snapshot', { index: `scheduled-by:${id}`, limit: 100 });
  return found.map(({ value }) => value.snapshotId);
};
const turn = (files: VolumeFiles = stand.files, copies = stand.copies) =>
  turnSchedules(
    {
      ...{ store: stand.database.store, files, copies, log: silentLog },
      clock: { now: () => nowMs },
      admission: { admit: async () => [] },
    },
    { isOver: () => false },
  );

test('a snapshot is taken, listed, read, changed and deleted, and does not change with the volume', async () => {
  const made = await create('first', { source_volume_path: '/a', destination_path: 'copy', description: 'mine' });
  expect([made.status, made.body.message]).toEqual([200, 'Snapshot created successfully.']);
  expect(made.body.result).toMatchObject({ snapshot_id: 'first', status: 'AVAILABLE', size: 1, size_limit: 1024 });
  writeFileSync(join(data, 'a/b.txt'), 'changed');
  expect(await read('first/contents/copy/b.txt')).toBe('hello');
  expect(await read('first/download/copy%2Fc%2Fd.txt')).toBe('deep');
  writeFileSync(join(data, 'a/b.txt'), 'hello');
  const listed = await stand.call('alice', 'GET', '/v3/pods/snapshots/first/list?path=copy');
  expect((listed.body.result as { path: string }[]).map(({ path }) => path).sort()).toEqual(['/copy/b.txt', '/copy/c']);
  expect((await stand.call('alice', 'GET', '/v3/pods/snapshots')).body.result).toHaveLength(1);
  expect((await create('first')).status).toBe(409);
  expect((await stand.call('bob', 'GET', '/v3/pods/snapshots/first')).status).toBe(403);
  const put = (body: object) => stand.call('alice', 'PUT', '/v3/pods/snapshots/first', body);
  expect((await put({ description: 'new' })).body.message).toBe('Snapshot updated successfully.');
  expect((await put({ description: 'new' })).body).toMatchObject({
    status: 'error',
    message: 'Incoming data made no changes to snapshot. Is incoming data equal to current data?',
  });
  const single = await create('single', { source_volume_path: '/top.txt', destination_path: 'x/y.txt' });
  expect([single.status, await read('single/contents/x%2Fy.txt')]).toEqual([200, 'top']);
  const gone = await stand.call('alice', 'DELETE', '/v3/pods/snapshots/first');
  expect(gone.body.message).toBe('Snapshot successfully deleted.');
  expect((await stand.call('alice', 'GET', '/v3/pods/snapshots/first')).status).toBe(404);
});

test('an invalid snapshot is rejected, and leaves nothing', async () => {
  const before = readdirSync(join(stand.directory, 'files')).length;
  const auditedBefore = await audited();
  for (const [fields, sentence] of [
    [{ source_volume_path: '/nothere' }, 'path: there is no "nothere".'],
    [{ source_volume_path: '/top.txt' }, 'destination_path: a snapshot of a single file needs one'],
    [{ source_volume_path: '/../other' }, 'source_volume_path: must not contain "." or ".." as a name'],
    [{ source_volume_path: 'a' }, 'source_volume_path: must begin with "/"'],
    [{ source_volume_path: '/a\0b' }, 'source_volume_path: must not contain control characters'],
    [{ destination_path: '../../x' }, 'destination_path: must not contain "." or ".." as a name'],
    [{ cron: 'daily' }, 'cron: must be five fields'],
    [{ cron: '0 0 30 2 *' }, 'cron: never comes'],
    [{ retention_policy: 'some' }, 'retention_policy: must be "keep=N"'],
    [{ size_limit: 5_000 }, 'size_limit: '],
  ] as const) {
    const refused = await create('refused', fields);
    expect([refused.status, [refused.body.message].flat()]).toEqual([
      400,
      [expect.stringContaining(sentence) as string],
    ]);
  }
  expect((await create('refused', { source_volume_id: 'nothere' })).status).toBe(404);
  await stand.call('alice', 'POST', '/v3/pods/volumes/source/permissions', { user: 'bob', level: 'READ' });
  const asBob = await stand.call('bob', 'POST', '/v3/pods/snapshots', {
    ...{ snapshot_id: 'ofbob', source_volume_id: 'source', source_volume_path: '/' },
  });
  expect([asBob.status, asBob.body.message]).toEqual([
    403,
    'Taking a snapshot needs USER on volume source; you have READ.',
  ]);
  expect(readdirSync(join(stand.directory, 'files'))).toHaveLength(before);
  expect(await audited()).toEqual(auditedBefore);
});

test('links and devices are not copied, and a sparse file counts with its apparent size', async () => {
  const outside = join(stand.directory, 'outside');
  mkdirSync(outside);
  writeFileSync(join(outside, 'secret'), 'secret');
  const odd = join(data, 'odd');
  mkdirSync(odd);
  symlinkSync(outside, join(odd, 'link'));
  symlinkSync(join(outside, 'secret'), join(odd, 'filelink'));
  execFileSync('mkfifo', [join(odd, 'pipe')]);
  writeFileSync(join(odd, 'plain'), 'x');
  expect((await create('odd', { source_volume_path: '/odd' })).status).toBe(200);
  const listed = await stand.call('alice', 'GET', '/v3/pods/snapshots/odd/list');
  expect((listed.body.result as { name: string }[]).map(({ name }) => name)).toEqual(['plain']);
  for (const path of ['/odd/link', '/odd/link/secret', '/odd/filelink', '/odd/pipe']) {
    expect([path, (await create('bad', { source_volume_path: path, destination_path: 'x' })).status]).toEqual([
      path,
      400,
    ]);
  }
  writeFileSync(join(odd, 'holes'), '');
  truncateSync(join(odd, 'holes'), 1024 ** 4);
  const refused = await create('holes', { source_volume_path: '/odd', size_limit: 2 });
  expect([refused.status, refused.body.message]).toEqual([
    400,
    [expect.stringContaining('size_limit of 2 MB') as string],
  ]);
  execFileSync('rm', ['-r', odd, outside]);
});

test('a snapshot is mounted read-only, and cannot be deleted while it is mounted', async () => {
  const pod = (entry: object) =>
    stand.call('alice', 'POST', '/v3/pods', {
      ...{ pod_id: 'mounting', pod_template: 'podgate/hello', status_requested: 'OFF' },
      volume_mounts: { '/data': { type: 'tapissnapshot', source_id: 'single', ...entry } },
    });
  expect((await pod({ read_only: false })).body.message).toEqual([
    'volume_mounts./data: snapshots are mounted read-only; leave read_only out',
  ]);
  const made = await pod({});
  expect(made.body.result).toMatchObject({ volume_mounts: { '/data': { read_only: true, mounted_by: 'alice' } } });
  const refused = await stand.call('alice', 'DELETE', '/v3/pods/snapshots/single');
  expect([refused.status, refused.body.message]).toEqual([
    409,
    'The snapshot single is mounted by pod mounting: remove it from volume_mounts first.',
  ]);
});

test('cron takes one snapshot for all missed times and never two; the retention policy decides which remain', async () => {
  expect((await create('daily', { cron: '30 3 * * *', retention_policy: 'keep=2' })).status).toBe(200);
  await turn();
  expect(await idsBy('daily')).toEqual([]);
  const day = 86_400_000;
  nowMs += 40 * day;
  // Two leaders at a time, as for a moment when one was paused.
  await Promise.all([turn(), turn()]);
  await until('the copy', async () => (await recordOf('dailyt202701020330')).status === 'AVAILABLE');
  expect(await idsBy('daily')).toEqual(['dailyt202701020330']);
  expect(await read('dailyt202701020330/contents/a/b.txt')).toBe('hello');
  await turn();
  expect(await idsBy('daily')).toHaveLength(1);
  const { uid } = await recordOf('dailyt202701020330');
  const path = '/v3/pods/snapshots/dailyt202701020330/permissions';
  expect((await stand.call('alice', 'POST', path, { user: 'bob', level: 'READ' })).status).toBe(200);
  expect(await audited()).toContain(uid);
  for (const id of ['dailyt202701030330', 'dailyt202701040330', 'dailyt202701050330']) {
    nowMs += day;
    await turn();
    await until('the copy', async () => (await recordOf(id)).status === 'AVAILABLE');
  }
  await turn();
  expect(await idsBy('daily')).toEqual(['dailyt202701040330', 'dailyt202701050330']);
  expect((await stand.call('alice', 'GET', '/v3/pods/snapshots/dailyt202701030330')).status).toBe(404);
  // Nobody has deleted it: what the audit log had of it goes with it.
  expect(await audited()).not.toContain(uid);

  // While a copy is under way, no other begins; what was missed is served after it.
  await change('dailyt202701050330', { status: 'CREATING' });
  nowMs += day;
  const stuck = { run: () => Promise.resolve(), retry: () => Promise.resolve(), cancel: () => Promise.resolve() };
  await turn(stand.files, stuck);
  expect(await idsBy('daily')).not.toContain('dailyt202701060330');
  // As after a crash in the middle of the copy.
  await turn();
  await until('the copy', async () => (await recordOf('dailyt202701050330')).status === 'AVAILABLE');
  await turn();
  await until('the copy', async () => (await recordOf('dailyt202701060330')).status === 'AVAILABLE');
});

test('a schedule reports that its user may no longer read the volume', async () => {
  await stand.call('alice', 'POST', '/v3/pods/volumes/source/permissions', { user: 'other', level: 'ADMIN' });
  await stand.call('alice', 'DELETE', '/v3/pods/volumes/source/permissions/alice');
  await turn();
  const before = await idsBy('daily');
  nowMs += 86_400_000;
  await turn();
  expect(await idsBy('daily')).toEqual(before);
  expect((await recordOf('daily')).message).toBe(
    'No snapshot was made at 2027-01-07T03:30Z: There is no volume source any more on which alice has USER.',
  );
  await stand.call('other', 'POST', '/v3/pods/volumes/source/permissions', { user: 'alice', level: 'ADMIN' });
});

test('a cancelled copy leaves no files, and a copy that finds the disk full says so and is retried less and less often', async () => {
  let fails = true;
  let calls = 0;
  const full = new PodgateError('orchestrator.unavailable', { publicMessages: ['The disk is nearly full.'] });
  const failing: VolumeFiles = {
    ...stand.files,
    copy: (...request) => {
      calls += 1;
      return fails ? Promise.reject(full) : stand.files.copy(...request);
    },
  };
  const copies = createSnapshotCopies({
    ...{ store: stand.database.store, files: failing, jobs: new FileJobs(silentLog), log: silentLog, data: null },
    clock: { now: () => nowMs },
  });
  expect((await create('again')).status).toBe(200);
  await change('again', { status: 'CREATING' });
  await copies.run(volumeKey('default', 'again'));
  expect((await recordOf('again')).status).toBe('CREATING');
  expect(calls).toBe(1);
  // The turns of the leader, each minute: at once, then less and less often.
  for (let minute = 0; minute < 12; minute += 1) {
    await copies.retry(volumeKey('default', 'again'));
    nowMs += 60_000;
  }
  expect(calls).toBe(5);
  expect((await recordOf('again')).message).toBe('The disk is nearly full.');
  fails = false;
  await copies.retry(volumeKey('default', 'again'));
  expect(calls).toBe(5);
  nowMs += 3_600_000;
  await copies.retry(volumeKey('default', 'again'));
  expect(await recordOf('again')).toMatchObject({ status: 'AVAILABLE', message: '' });
  const { uid } = await recordOf('again');
  expect((await stand.call('alice', 'DELETE', '/v3/pods/snapshots/again')).status).toBe(200);
  expect(existsSync(join(stand.directory, 'files', uid))).toBe(false);
});
