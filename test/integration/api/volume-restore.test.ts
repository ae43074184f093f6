import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';

import { FileJobs } from '../../../control/objects/files/file-jobs.ts';
import { createVolumeRestores, turnRestores } from '../../../control/resources/volumes/restores.ts';
import { PodgateError } from '../../../core/errors.ts';
import { filesRefOf, type VolumeFiles, type VolumeRecord } from '../../../core/volume.ts';
import { volumeKey, volumePut } from '../../../core/volume-put.ts';
import { quotasOf } from '../../unit/control/limits.ts';
import { silentLog } from '../../support/silent-log.ts';
import { until } from '../../support/until.ts';
import { ApiStand } from './api-stand.ts';

const KEY = volumeKey('default', 'mydata');

let stand: ApiStand;
beforeAll(async () => {
  // Three volumes of 1 GiB, and the copy of one.
  stand = await ApiStand.start({ mountProblem: null, quotas: quotasOf({ pods: 20, volumes: 10, volumeMiB: 4_096 }) });
  await stand.call('alice', 'POST', '/v3/pods/volumes', { volume_id: 'mydata' });
  await put('mydata', 'a/kept.txt', 'before');
  await snapshot('before', '/');
});
afterAll(() => stand.close());

async function put(volume: string, path: string, content: string): Promise<number> {
  const form = new FormData();
  form.set('file', new Blob([content]), 'any');
  const headers = { 'X-Tapis-Token': await stand.token('alice') };
  const url = `${stand.url}/v3/pods/volumes/${volume}/upload/${encodeURIComponent(path)}`;
  return (await fetch(url, { method: 'POST', headers, body: form })).status;
}
async function snapshot(snapshotId: string, path: string): Promise<void> {
  const body = { snapshot_id: snapshotId, source_volume_id: 'mydata', source_volume_path: path, size_limit: 1 };
  expect((await stand.call('alice', 'POST', '/v3/pods/snapshots', body)).status).toBe(200);
}
const read = async (path: string): Promise<string> => {
  const headers = { 'X-Tapis-Token': await stand.token('alice') };
  return await (await fetch(`${stand.url}/v3/pods/volumes/mydata/contents/${path}`, { headers })).text();
};
const namesIn = async (volume: string): Promise<readonly string[]> => {
  const { body } = await stand.call('alice', 'GET', `/v3/pods/volumes/${volume}/list`);
  return (body.result as readonly { readonly name: string }[]).map(({ name }) => name).sort();
};
const restore = (snapshotId: string, { as = 'alice', volume = 'mydata' } = {}) =>
  stand.call(as, 'POST', `/v3/pods/volumes/${volume}/restore`, { snapshot_id: snapshotId });
const deleteFile = (path: string, user = 'alice') =>
  stand.call(user, 'DELETE', `/v3/pods/volumes/mydata/files?path=${encodeURIComponent(path)}`);
const recordOf = async (): Promise<VolumeRecord> => {
  const stored = await stand.database.store.get('volume', KEY);
  if (stored === null) throw new Error('no volume');
  return stored.value;
};
const change = async (changed: Partial<VolumeRecord>): Promise<void> => {
  const stored = await stand.database.store.get('volume', KEY);
  if (stored !== null)
    await stand.database.store.commit({ puts: [volumePut({ ...stored.value, ...changed }, stored.revision)] });
};
/** The directories of files that there are. */
const directories = (): readonly string[] => readdirSync(join(stand.directory, 'files'));
const restoresWith = (files: VolumeFiles) =>
  createVolumeRestores({
    ...{ store: stand.database.store, files, jobs: new FileJobs(silentLog), clock: { now: () => stand.now } },
  });
/** A record as it is while a copy is under way. */
const beginRestore = async (): Promise<VolumeRecord> => {
  const volume = await recordOf();
  const snapshotRecord = await stand.database.store.get('snapshot', volumeKey('default', 'before'));
  const restoring = {
    ...{ snapshotId: 'before', snapshotUid: snapshotRecord?.value.uid ?? '' },
    ...{ copyUid: `copy-${Date.now()}`, formerUid: filesRefOf(volume).uid },
  };
  await change({ restoring });
  return await recordOf();
};

test('afterwards, a volume has exactly the files of the snapshot, and nothing else remains', async () => {
  const before = directories().length;
  expect(await put('mydata', 'a/kept.txt', 'after')).toBe(200);
  expect(await put('mydata', 'new.txt', 'new')).toBe(200);
  const answer = await restore('before');
  expect(answer).toMatchObject({ status: 200, body: { message: 'Snapshot restored successfully.' } });
  expect(answer.body.result).toMatchObject({ status: 'AVAILABLE', message: '' });
  expect(await namesIn('mydata')).toEqual(['a']);
  expect(await read('a/kept.txt')).toBe('before');
  expect(directories()).toHaveLength(before);
  // The copy is no longer counted: another volume has room.
  expect((await stand.call('alice', 'POST', '/v3/pods/volumes', { volume_id: 'other' })).status).toBe(200);
  const audit = await stand.call('alice', 'GET', '/v3/pods/volumes/mydata/audit');
  expect(audit.body.result).toMatchObject([
    {
      operation: 'restore_volume',
      user: 'alice',
      changes: [{ field: 'restoring', before: null, after: 'before' }],
    },
    { operation: 'create_volume' },
  ]);
  // It is the same volume: its snapshots, uploads and its deletion find its files.
  await snapshot('again', '/');
  expect(await put('mydata', 'new.txt', 'new')).toBe(200);
  expect(await namesIn('mydata')).toEqual(['a', 'new.txt']);
});

test('restoring needs USER on the volume and on the snapshot', async () => {
  const share = (path: string, level: string) =>
    stand.call('alice', 'POST', `/v3/pods/${path}/permissions`, { user: 'bob', level });
  expect((await restore('before', { as: 'bob' })).status).toBe(403);
  await share('volumes/mydata', 'USER');
  expect((await restore('before', { as: 'bob' })).status).toBe(403);
  await share('snapshots/before', 'READ');
  expect(await restore('before', { as: 'bob' })).toMatchObject({
    ...{ status: 403, body: { message: 'Restoring needs USER on snapshot before; you have READ.' } },
  });
  expect(await namesIn('mydata')).toEqual(['a', 'new.txt']);
  await share('snapshots/before', 'USER');
  expect((await restore('before', { as: 'bob' })).status).toBe(200);
  expect(await namesIn('mydata')).toEqual(['a']);
  expect((await restore('nothing')).status).toBe(404);
});

test('a volume in use is not restored until its pod is stopped, and a pod does not start during the restore', async () => {
  const pod = {
    ...{ pod_template: 'podgate/process', command: ['true'] },
    volume_mounts: { '/data': { type: 'tapisvolume', source_id: 'mydata' } },
  };
  await stand.create('alice', 'writer', pod);
  await stand.overwrite('writer', { status: 'RUNNING' });
  expect(await restore('before')).toMatchObject({
    status: 409,
    body: {
      message: 'The volume mydata is mounted by pod writer: stop what mounts it first, and start it afterwards.',
    },
  });
  await stand.overwrite('writer', { status: 'STOPPED', wish: 'OFF' });
  // It starts between the check and the mark.
  stand.beforeNextCommit(() => stand.overwrite('writer', { status: 'REQUESTED', wish: 'ON' }));
  expect((await restore('before')).status).toBe(409);
  expect((await recordOf()).restoring).toBeNull();
  await stand.overwrite('writer', { status: 'STOPPED', wish: 'OFF' });
  expect((await restore('before')).status).toBe(200);

  await beginRestore();
  expect(await put('mydata', 'new.txt', 'new')).toBe(409);
  expect(await deleteFile('a/kept.txt')).toMatchObject({
    ...{ status: 409, body: { message: 'The snapshot before is being restored to volume mydata: try again later.' } },
  });
  expect(await read('a/kept.txt')).toBe('before');
  expect((await restore('before')).body.message).toBe(
    'The snapshot before is being restored to volume mydata: try again later.',
  );
  expect((await stand.call('alice', 'GET', '/v3/pods/volumes/mydata')).body.result).toMatchObject({
    status: 'RESTORING',
  });
  const second = await stand.call('alice', 'POST', '/v3/pods', { ...pod, pod_id: 'second' });
  expect(second.status).toBe(400);
  expect(JSON.stringify(second.body.message)).toContain('volume mydata is being restored; start the pod again later.');
  await stand.restores.run(KEY);
  expect((await stand.call('alice', 'POST', '/v3/pods', { ...pod, pod_id: 'second' })).status).toBe(200);
  await stand.overwrite('second', { status: 'STOPPED', wish: 'OFF' });
});

test('files cannot be deleted or uploaded while a restore begins, because the change would be undone', async () => {
  expect(await put('mydata', 'new.txt', 'new')).toBe(200);
  const former = { ...stand.files };
  const during = async (act: Promise<void>): Promise<void> => {
    await act;
    await beginRestore();
  };
  try {
    stand.files.removeFile = (...request) => during(former.removeFile(...request));
    expect(await deleteFile('new.txt')).toMatchObject({ status: 409 });
    await change({ restoring: null });
    stand.files.write = (...request) => during(former.write(...request));
    expect(await put('mydata', 'new.txt', 'new')).toBe(409);
  } finally {
    Object.assign(stand.files, former);
  }
  await stand.restores.run(KEY);
  expect(await namesIn('mydata')).toEqual(['a']);
});

test('if the process ends at any point, the volume has the old files or the new, and the next process finishes', async () => {
  const before = directories().length;
  expect(await put('mydata', 'new.txt', 'new')).toBe(200);
  const term = { isOver: () => false };
  const turn = () => turnRestores({ store: stand.database.store, restores: stand.restores }, term);
  // In the middle of the copy.
  await beginRestore();
  await restoresWith({
    ...stand.files,
    copy: async (_, to) => {
      await stand.files.write(to.ref, 'half', [Buffer.from('half')] as never, { sizeLimitMiB: 1 });
      throw new Error('killed');
    },
  }).run(KEY);
  expect(await namesIn('mydata')).toEqual(['a', 'new.txt']);
  // After the commit, before the former files are removed.
  await restoresWith({ ...stand.files, remove: () => Promise.reject(new Error('killed')) }).run(KEY);
  expect(await namesIn('mydata')).toEqual(['a']);
  expect((await recordOf()).restoring).not.toBeNull();
  expect(directories()).toHaveLength(before + 1);
  await turn();
  await until('the end', async () => (await recordOf()).restoring === null);
  expect(directories()).toHaveLength(before);
  expect(await read('a/kept.txt')).toBe('before');
  await turn();
});

test('two concurrent restores by two replicas do not remove each other’s files', async () => {
  await beginRestore();
  const slow = restoresWith({
    ...stand.files,
    copy: async (...request) => {
      await stand.restores.run(KEY);
      // This one's copy fails, that of the other is in use by now.
      throw new PodgateError('orchestrator.unavailable', { detail: request.length.toString() });
    },
  });
  await slow.run(KEY);
  expect(await read('a/kept.txt')).toBe('before');
  expect(await recordOf()).toMatchObject({ restoring: null, message: '' });
});

test('a failed restore leaves the files unchanged and says why', async () => {
  expect(await put('mydata', 'big', 'x'.repeat(2 * 1024 * 1024))).toBe(200);
  const wide = { snapshot_id: 'wide', source_volume_id: 'mydata', source_volume_path: '/', size_limit: 4 };
  expect((await stand.call('alice', 'POST', '/v3/pods/snapshots', wide)).status).toBe(200);
  await stand.call('alice', 'PUT', '/v3/pods/volumes/mydata', { size_limit: 1 });
  const before = directories().length;
  const sentence =
    'Snapshot wide could not be restored: The volume would exceed its size_limit of 1 MB. Nothing was written; raise size_limit, or store less. The volume has its former files.';
  expect((await restore('wide')).body.message).toEqual([sentence]);
  expect((await stand.call('alice', 'GET', '/v3/pods/volumes/mydata')).body.result).toMatchObject({
    ...{ status: 'AVAILABLE', message: sentence },
  });
  expect(await namesIn('mydata')).toEqual(['a', 'big']);
  expect(directories()).toHaveLength(before);
  // A snapshot that is deleted while it is copied may have been incomplete by then.
  await beginRestore();
  const deleting = restoresWith({
    ...stand.files,
    copy: async (...request) => {
      await stand.call('alice', 'DELETE', '/v3/pods/snapshots/before');
      await stand.files.copy(...request);
    },
  });
  await deleting.run(KEY);
  expect((await recordOf()).message).toBe(
    'Snapshot before was deleted before it was restored. The volume has its former files.',
  );
  expect(await namesIn('mydata')).toEqual(['a', 'big']);
  await stand.call('alice', 'PUT', '/v3/pods/volumes/mydata', { size_limit: 1_024 });
  expect((await restore('again')).body.result).toMatchObject({ message: '' });
});

test('a snapshot of part of a volume is restored only to an empty volume, at its original path', async () => {
  await snapshot('part', '/a');
  expect((await restore('part')).body.message).toBe(
    'snapshot_id: part has only /a of its volume, and volume mydata has files. Restore it to an empty volume, and copy from there.',
  );
  expect((await restore('part', { volume: 'other' })).status).toBe(200);
  expect(await namesIn('other')).toEqual(['a']);
  const list = await stand.call('alice', 'GET', '/v3/pods/volumes/other/list?path=a');
  expect(list.body.result).toMatchObject([{ name: 'kept.txt', size: 6 }]);
});

test('the copy of a restore counts against the quota while it is made', async () => {
  const bodies = ['third', 'fourth'].map((volume_id) => ({ volume_id, size_limit: 1_000 }));
  for (const body of bodies) expect((await stand.call('alice', 'POST', '/v3/pods/volumes', body)).status).toBe(200);
  const refused = await restore('again');
  expect(refused.status).toBe(403);
  expect(JSON.stringify(refused.body.message)).toContain('volumeMiB');
  expect((await recordOf()).restoring ?? null).toBeNull();
});

test('a volume that is deleted during its restore leaves no files', async () => {
  for (const id of ['third', 'fourth']) await stand.call('alice', 'DELETE', `/v3/pods/volumes/${id}`);
  for (const id of ['writer', 'second']) await stand.call('alice', 'DELETE', `/v3/pods/${id}`);
  await change({ restoring: null });
  const begun = await beginRestore().catch(() => null);
  expect(begun?.restoring).toBeDefined();
  const copyUid = begun?.restoring?.copyUid ?? '';
  await stand.files.write({ ...filesRefOf(await recordOf()), uid: copyUid }, 'half', [Buffer.from('half')] as never, {
    sizeLimitMiB: 1,
  });
  const uids = [copyUid, begun?.restoring?.formerUid ?? ''];
  for (const uid of uids) expect(existsSync(join(stand.directory, 'files', uid))).toBe(true);
  for (const id of ['writer', 'second'])
    await stand.overwrite(id, { spec: { ...(await stand.record(id)).spec, volumeMounts: [] }, applied: null });
  expect((await stand.call('alice', 'DELETE', '/v3/pods/volumes/mydata')).status).toBe(200);
  for (const uid of uids) expect(existsSync(join(stand.directory, 'files', uid))).toBe(false);
});
