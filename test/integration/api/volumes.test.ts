import {
  existsSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { execFileSync } from 'node:child_process';
import { connect } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';

import { leadFiles } from '../../../control/objects/files/lead-files.ts';
import { PodgateError } from '../../../core/errors.ts';
import { volumeKey, volumePut } from '../../../core/volume-put.ts';
import { createDirectoryFiles } from '../../../spawner/orchestrator/process/volumes/directory-files.ts';
import { fileProblem } from '../../../spawner/orchestrator/process/volumes/walk-safely.ts';
import { silentLog } from '../../support/silent-log.ts';
import { until } from '../../support/until.ts';
import { volumeRef } from '../../support/volume-ref.ts';
import { ApiStand } from './api-stand.ts';

const MIB = 1024 * 1024;
let stand: ApiStand;
beforeAll(async () => {
  stand = await ApiStand.start();
});
afterAll(() => stand.close());

async function upload(user: string, path: string, content: string | Uint8Array<ArrayBuffer>): Promise<Response> {
  const form = new FormData();
  form.set('file', new Blob([content]), 'any.bin');
  return await fetch(`${stand.url}/v3/pods/volumes/${path}`, {
    method: 'POST',
    headers: { 'X-Tapis-Token': await stand.token(user) },
    body: form,
  });
}
async function get(user: string, path: string, headers: Record<string, string> = {}): Promise<Response> {
  return await fetch(`${stand.url}/v3/pods/volumes/${path}`, {
    headers: { 'X-Tapis-Token': await stand.token(user), ...headers },
  });
}
const create = (volumeId: string, change: object = {}) =>
  stand.call('alice', 'POST', '/v3/pods/volumes', { volume_id: volumeId, ...change });
/** A client that takes the beginning of the response, at most, and leaves. */
async function leaveAfterHead(user: string, method: string, path: string): Promise<void> {
  const socket = connect(stand.port, '127.0.0.1');
  const head = [
    `${method} /v3/pods/volumes/${path} HTTP/1.1`,
    'Host: localhost',
    `X-Tapis-Token: ${await stand.token(user)}`,
  ];
  socket.write(`${head.join('\r\n')}\r\n\r\n`);
  await new Promise((resolve, reject) => socket.once('data', resolve).once('error', reject));
  socket.destroy();
}
/** Of volumes, in this process. */
function openFiles(): readonly string[] {
  const root = join(stand.directory, 'files');
  return readdirSync('/proc/self/fd').flatMap((descriptor) => {
    try {
      const path = readlinkSync(`/proc/self/fd/${descriptor}`);
      return path.startsWith(root) ? [path] : [];
    } catch {
      return [];
    }
  });
}
/** Of the volume in whose root there is this name. */
function dataOf(marker: string): string {
  const root = join(stand.directory, 'files');
  const uid = readdirSync(root).find((name) => existsSync(join(root, name, 'data', marker)));
  return join(root, uid ?? 'none', 'data');
}

test('a volume is created, listed, updated and deleted, with the messages of Tapis', async () => {
  const made = await create('basic', { description: 'mine' });
  expect([made.status, made.body.message]).toEqual([200, 'Volume created successfully.']);
  expect(made.body.result).toMatchObject({ volume_id: 'basic', status: 'AVAILABLE', size: 0, size_limit: 1024 });
  expect((await create('basic')).status).toBe(409);
  expect((await stand.call('bob', 'GET', '/v3/pods/volumes/basic')).status).toBe(403);
  const listed = await stand.call('alice', 'GET', '/v3/pods/volumes');
  expect(listed.body.result).toContainEqual(expect.objectContaining({ volume_id: 'basic' }));
  const updated = await stand.call('alice', 'PUT', '/v3/pods/volumes/basic', { description: 'new' });
  expect(updated.body.message).toBe('Volume updated successfully.');
  const same = await stand.call('alice', 'PUT', '/v3/pods/volumes/basic', { description: 'new' });
  expect([same.status, same.body.status, same.body.message]).toEqual([
    200,
    'error',
    'Incoming data made no changes to volume. Is incoming data equal to current data?',
  ]);
  const gone = await stand.call('alice', 'DELETE', '/v3/pods/volumes/basic');
  expect(gone.body.message).toBe('Volume successfully deleted.');
  expect((await stand.call('alice', 'GET', '/v3/pods/volumes/basic')).status).toBe(404);
  expect((await create('basic')).status).toBe(200);
});

test('size_limit may be digits in a string', async () => {
  expect((await create('digits', { size_limit: '7' })).body.result).toMatchObject({ size_limit: 7 });
  const updated = await stand.call('alice', 'PUT', '/v3/pods/volumes/digits', { size_limit: '8' });
  expect(updated.body.result).toMatchObject({ size_limit: 8 });
});

test('a greater size_limit is tried first, and refused with the reason where the storage cannot grow', async () => {
  await create('growing', { size_limit: 10 });
  const asked: string[] = [];
  stand.files.grow = async ({ id }, sizeLimitMiB, { isTrial }) => {
    asked.push(`${id} ${sizeLimitMiB} ${isTrial ? 'trial' : 'real'}`);
    if (sizeLimitMiB > 20) {
      throw new PodgateError('api.conflict', { publicMessages: ['size_limit: it does not grow so far.'] });
    }
  };
  const put = (user: string, size: number) => stand.call(user, 'PUT', '/v3/pods/volumes/growing', { size_limit: size });
  try {
    expect((await put('alice', 20)).body.result).toMatchObject({ size_limit: 20 });
    expect(asked).toEqual(['growing 20 trial', 'growing 20 real']);
    const refused = await put('alice', 30);
    expect([refused.status, refused.body.message]).toEqual([409, expect.stringContaining('it does not grow so far')]);
    expect((await stand.call('alice', 'GET', '/v3/pods/volumes/growing')).body.result).toMatchObject({
      size_limit: 20,
    });
    // Somebody without permission does not get so far.
    expect((await put('bob', 15)).status).toBe(403);
    expect(asked).toEqual(['growing 20 trial', 'growing 20 real', 'growing 30 trial']);
    // What an earlier call has left is made up for, and is no reason to refuse the limit that there is.
    stand.files.grow = ({ id }, sizeLimitMiB, { isTrial }) => {
      asked.push(`${id} ${sizeLimitMiB} ${isTrial ? 'trial' : 'real'}`);
      return Promise.reject(new PodgateError('api.conflict', { publicMessages: ['size_limit: it does not grow.'] }));
    };
    expect((await put('alice', 20)).status).toBe(200);
    expect(asked.at(-1)).toBe('growing 20 real');
  } finally {
    delete stand.files.grow;
  }
});

test('a file is uploaded, listed, read, read in part, and fetched as a ZIP archive', async () => {
  await create('files');
  const sent = await upload('alice', 'files/upload/a%2Fb.txt', 'hello world');
  expect([sent.status, await sent.json()]).toEqual([
    200,
    expect.objectContaining({ message: 'Volume file upload successful.' }),
  ]);
  const listed = await stand.call('alice', 'GET', '/v3/pods/volumes/files/list?path=a');
  expect(listed.body.result).toEqual([expect.objectContaining({ path: '/a/b.txt', type: 'file', size: 11 })]);
  expect(await (await get('alice', 'files/contents/a/b.txt')).text()).toBe('hello world');
  const part = await get('alice', 'files/download/a%2Fb.txt', { Range: 'bytes=6-' });
  expect([part.status, part.headers.get('content-range'), await part.text()]).toEqual([206, 'bytes 6-10/11', 'world']);
  expect((await get('alice', 'files/download/a%2Fb.txt', { Range: 'bytes=99-' })).status).toBe(416);
  const zip = await get('alice', 'files/contents/a?zip=true');
  const archive = join(stand.directory, 'a.zip');
  writeFileSync(archive, new Uint8Array(await zip.arrayBuffer()));
  const read = 'import sys,zipfile;z=zipfile.ZipFile(sys.argv[1]);print(z.testzip(),z.read("a/b.txt").decode())';
  expect(execFileSync('python3', ['-c', read, archive]).toString().trim()).toBe('None hello world');
  expect((await get('bob', 'files/contents/a%2Fb.txt')).status).toBe(403);
});

test('a download that goes on after the file has changed starts again, and never has parts of two versions', async () => {
  await create('resumed');
  await upload('alice', 'resumed/upload/a.txt', 'first version');
  // A second is all that HTTP's times tell apart: until then another version could have the same.
  const young = await get('alice', 'resumed/download/a.txt');
  expect([young.headers.get('etag'), young.headers.get('last-modified')]).toEqual([null, null]);
  const settled = async (path: string) =>
    await until('the file has not changed for a second', async () => {
      const { headers } = await get('alice', path);
      const [tag, date] = [headers.get('etag'), headers.get('last-modified')];
      return tag === null || date === null ? null : { tag, date };
    });
  const first = await settled('resumed/contents/a.txt');
  expect(first.tag).toMatch(/^"[0-9a-z-]+"$/);
  const rest = async (validator: string) => {
    const answer = await get('alice', 'resumed/download/a.txt', { Range: 'bytes=6-', 'If-Range': validator });
    return [answer.status, await answer.text()];
  };
  for (const same of [first.tag, first.date]) expect(await rest(same), same).toEqual([206, 'version']);
  const others = [`W/${first.tag}`, '"other"', 'Thu, 01 Jan 1970 00:00:00 GMT', 'nonsense', ''];
  for (const other of others) expect(await rest(other), other).toEqual([200, 'first version']);

  await upload('alice', 'resumed/upload/a.txt', 'another words');
  // Nothing is known to be the same while it may change within the second.
  for (const former of [first.tag, first.date]) expect(await rest(former), former).toEqual([200, 'another words']);
  const second = await settled('resumed/contents/a.txt');
  for (const former of [first.tag, first.date]) expect(await rest(former), former).toEqual([200, 'another words']);
  expect(await rest(second.tag)).toEqual([206, 'r words']);
});

test('a range beyond the end of a file is refused with its size, and HEAD has no ranges', async () => {
  await create('ranges');
  await upload('alice', 'ranges/upload/a.txt', 'hello world');
  const beyond = await get('alice', 'ranges/contents/a.txt', { Range: 'bytes=99-' });
  expect([beyond.status, beyond.headers.get('content-range')]).toEqual([416, 'bytes */11']);
  const head = await fetch(`${stand.url}/v3/pods/volumes/ranges/contents/a.txt`, {
    method: 'HEAD',
    headers: { 'X-Tapis-Token': await stand.token('alice'), Range: 'bytes=6-' },
  });
  expect([head.status, head.headers.get('content-length')]).toEqual([200, '11']);
});

test('a file is deleted by those with USER on the volume, and the audit log says by whom', async () => {
  await create('shared');
  for (const path of ['a%2Fb.txt', 'a%2Fc.txt']) await upload('alice', `shared/upload/${path}`, 'hello');
  const remove = (user: string, path: string) =>
    stand.call(user, 'DELETE', `/v3/pods/volumes/shared/files?path=${path}`);
  const share = (level: string) =>
    stand.call('alice', 'POST', '/v3/pods/volumes/shared/permissions', { user: 'carol', level });
  expect((await remove('carol', 'a%2Fb.txt')).status).toBe(403);
  await share('READ');
  expect(await remove('carol', 'a%2Fb.txt')).toMatchObject({
    ...{ status: 403, body: { message: 'Deleting files needs USER on volume shared; you have READ.' } },
  });
  await share('USER');
  expect(await remove('carol', 'a')).toMatchObject({
    status: 400,
    body: { message: ['path: "a" is a directory that is not empty; delete what is in it first'] },
  });
  expect(await remove('carol', 'a/b.txt')).toMatchObject({
    status: 200,
    body: { message: 'Volume file successfully deleted.', result: '' },
  });
  expect((await remove('carol', 'a%2Fb.txt')).status).toBe(404);
  const listed = await stand.call('alice', 'GET', '/v3/pods/volumes/shared/list?path=a');
  expect(listed.body.result).toEqual([expect.objectContaining({ path: '/a/c.txt' })]);
  const audit = await stand.call('alice', 'GET', '/v3/pods/volumes/shared/audit');
  expect((audit.body.result as readonly unknown[])[0]).toMatchObject({
    ...{ operation: 'delete_volume_file', user: 'carol' },
    changes: [{ field: 'files', before: 'a/b.txt', after: null }],
  });
  expect((await stand.call('alice', 'DELETE', '/v3/pods/snapshots/shared/files?path=a')).status).toBe(404);
});

test('an upload beyond size_limit is rejected while it arrives, and leaves nothing', async () => {
  await create('small', { size_limit: 1 });
  const refused = await upload('alice', 'small/upload/big.bin', new Uint8Array(2 * MIB));
  expect([refused.status, await refused.json()]).toEqual([
    413,
    expect.objectContaining({ message: expect.stringContaining('size_limit of 1 MB') as string }),
  ]);
  expect((await stand.call('alice', 'GET', '/v3/pods/volumes/small/list')).body.result).toEqual([]);
  expect((await upload('alice', 'small/upload/fits.bin', new Uint8Array(MIB))).status).toBe(200);
});

test('no path or link leads out of a volume', async () => {
  await create('walled');
  await upload('alice', 'walled/upload/marker-walled', 'x');
  const data = dataOf('marker-walled');
  const outside = join(stand.directory, 'outside');
  mkdirSync(outside);
  writeFileSync(join(outside, 'secret'), 'secret');
  symlinkSync(outside, join(data, 'link'));
  symlinkSync(join(outside, 'secret'), join(data, 'filelink'));
  execFileSync('mkfifo', [join(data, 'pipe')]);
  for (const path of ['..%2Fx', 'a%2F..%2F..%2Fx', 'link%2Fsecret', 'filelink', 'pipe', 'a%00b']) {
    expect([path, (await get('alice', `walled/download/${path}`)).status]).toEqual([path, 400]);
  }
  for (const path of ['..%2Fx', 'link%2Fnew', 'a%00b']) {
    expect([path, (await upload('alice', `walled/upload/${path}`, 'x')).status]).toEqual([path, 400]);
  }
  for (const path of ['..%2Fx', 'a/../../x', 'link/secret', 'a%00b', '/', '', '.', '..', '%2E%2E']) {
    const { status } = await stand.call('alice', 'DELETE', `/v3/pods/volumes/walled/files?path=${path}`);
    expect([path, status]).toEqual([path, 400]);
  }
  expect(readdirSync(outside)).toEqual(['secret']);
  expect(existsSync(join(data, 'marker-walled'))).toBe(true);
  // A link in the place of the file is replaced itself.
  expect((await upload('alice', 'walled/upload/filelink', 'mine')).status).toBe(200);
  expect(await (await get('alice', 'walled/contents/filelink')).text()).toBe('mine');
  linkSync(join(outside, 'secret'), join(data, 'hard'));
  expect((await upload('alice', 'walled/upload/hard', 'other')).status).toBe(200);
  expect(execFileSync('cat', [join(outside, 'secret')]).toString()).toBe('secret');
  for (const path of ['link', 'hard', 'pipe']) {
    expect((await stand.call('alice', 'DELETE', `/v3/pods/volumes/walled/files?path=${path}`)).status).toBe(200);
  }
  expect(readdirSync(data).sort()).toEqual(['filelink', 'marker-walled']);
  expect(readdirSync(outside)).toEqual(['secret']);
  rmSync(outside, { recursive: true });
  const hard = { isFile: () => true, nlink: 2, uid: 1, gid: 1 };
  expect([fileProblem(hard, 1), fileProblem(hard, 2)]).toEqual([null, expect.stringContaining('hard link')]);
});

test('a client that leaves midway, or sends HEAD, leaves no file open', async () => {
  await create('left');
  await upload('alice', 'left/upload/deep/er/marker', 'x');
  const data = dataOf('deep');
  writeFileSync(join(data, 'deep/er/big'), Buffer.alloc(32 * MIB));
  for (let count = 0; count < 2_000; count += 1) writeFileSync(join(data, `file${count}`), '');
  for (const method of ['GET', 'HEAD']) {
    for (const path of ['left/contents/deep?zip=true', 'left/list', 'left/contents/deep%2Fer%2Fbig']) {
      await leaveAfterHead('alice', method, path);
      await until(`${method} ${path} leaves nothing open`, () => openFiles().length === 0);
    }
  }
});

test('the size of a volume counts files at any depth and of any name', async () => {
  await create('deep');
  await upload('alice', 'deep/upload/marker-deep', 'x');
  const data = dataOf('marker-deep');
  const script = [
    'import os,sys',
    'os.chdir(sys.argv[1])',
    'open(b"\\xff\\xfe","wb").write(b"x"*1048576)',
    'for _ in range(1_500):',
    '  os.mkdir("d"*60); os.chdir("d"*60)',
    'open("file","wb").write(b"x"*1048576)',
  ];
  execFileSync('python3', ['-c', script.join('\n'), data]);
  const stored = await stand.database.store.get('volume', volumeKey('default', 'deep'));
  const files = createDirectoryFiles({ root: join(stand.directory, 'files'), asRoot: false });
  expect((await files.usage(volumeRef(stored?.value.uid ?? ''))).bytes).toBe(2 * MIB + 1);
  expect((await stand.call('alice', 'DELETE', '/v3/pods/volumes/deep')).status).toBe(200);
  expect(existsSync(data)).toBe(false);
});

test('the leader finishes an interrupted deletion', async () => {
  await create('broken');
  await upload('alice', 'broken/upload/marker-broken', 'x');
  const data = dataOf('marker-broken');
  const { store } = stand.database;
  const stored = await store.get('volume', volumeKey('default', 'broken'));
  if (stored === null) throw new Error('no record');
  await store.commit({ puts: [volumePut({ ...stored.value, deleting: {} }, stored.revision)] });
  const over = new AbortController();
  const files = createDirectoryFiles({ root: join(stand.directory, 'files'), asRoot: false });
  const term = {
    fence: { lease: 'health', number: 1 },
    signal: over.signal,
    isOver: () => over.signal.aborted,
    end: () => over.abort(),
  };
  const leading = leadFiles({ files, log: silentLog, turn: async () => undefined }, store, term);
  await until('the record to be gone', async () => (await store.get('volume', stored.key)) === null);
  expect(existsSync(data)).toBe(false);
  over.abort();
  await leading;
});
