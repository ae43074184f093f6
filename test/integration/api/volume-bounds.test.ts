import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, statfsSync, utimesSync, writeFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { Readable } from 'node:stream';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';

import { DEFAULT_OPERATION_LIMITS } from '../../../control/http/operation.ts';
import { createDirectoryFiles } from '../../../spawner/orchestrator/process/volumes/directory-files.ts';
import { run } from '../../support/run.ts';
import { until } from '../../support/until.ts';
import { volumeRef } from '../../support/volume-ref.ts';
import { quotasOf } from '../../unit/control/limits.ts';
import { ApiStand } from './api-stand.ts';

const MIB = 1024 * 1024;
const IDLE_MS = 1_500;
const BOUNDARY = 'boundary';
const FILE_HEAD = `--${BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n`;
const FORM_END = `\r\n--${BOUNDARY}--\r\n`;

let stand: ApiStand;
const sockets: Socket[] = [];
beforeAll(async () => {
  stand = await ApiStand.start({ operationLimits: { ...DEFAULT_OPERATION_LIMITS, idleMs: IDLE_MS } });
});
afterEach(() => {
  for (const socket of sockets.splice(0)) socket.destroy();
});
afterAll(() => stand.close());

const create = async (volumeId: string, change: object = {}): Promise<void> => {
  const { status } = await stand.call('alice', 'POST', '/v3/pods/volumes', { volume_id: volumeId, ...change });
  expect(status).toBe(200);
};
async function begin(user: string, line: string, headers: readonly string[] = []): Promise<Socket> {
  const socket = connect(stand.port, '127.0.0.1');
  sockets.push(socket.on('error', () => undefined));
  const head = [`${line} HTTP/1.1`, 'Host: localhost', `X-Tapis-Token: ${await stand.token(user)}`, ...headers];
  socket.write(`${head.join('\r\n')}\r\n\r\n`);
  return socket;
}
const beginUpload = (user: string, path: string, bodyBytes: number): Promise<Socket> =>
  begin(user, `POST /v3/pods/volumes/${path}`, [
    `Content-Type: multipart/form-data; boundary=${BOUNDARY}`,
    `Content-Length: ${bodyBytes}`,
  ]);
async function statusOf(socket: Socket): Promise<number> {
  const [head] = (await once(socket, 'data')) as [Buffer];
  return Number(/^HTTP\/1\.1 (\d{3})/.exec(head.toString('latin1'))?.[1]);
}
/** The directory of the volume in which this file was uploaded. */
function directoryWith(name: string): string {
  const root = join(stand.directory, 'files');
  const uid = readdirSync(root).find((each) => readdirSync(join(root, each, 'data')).includes(name));
  return join(root, uid ?? 'none');
}

test('concurrent uploads cannot exceed size_limit together', async () => {
  await create('shared', { size_limit: 1 });
  const file = Buffer.alloc(0.6 * MIB);
  const bodyBytes = FILE_HEAD.length + file.length + FORM_END.length;
  const uploads: Socket[] = [];
  for (const name of ['one', 'two', 'three']) {
    const socket = await beginUpload('alice', `shared/upload/${name}`, bodyBytes);
    socket.write(FILE_HEAD);
    socket.write(file.subarray(0, 1));
    uploads.push(socket);
  }
  const incoming = (): number =>
    readdirSync(join(stand.directory, 'files'))
      .map((uid) => readdirSync(join(stand.directory, 'files', uid, 'incoming')).length)
      .reduce((sum, count) => sum + count, 0);
  await until('all of them have begun', () => incoming() === 3);
  const statuses: number[] = [];
  for (const socket of uploads) {
    socket.write(file.subarray(1));
    socket.write(FORM_END);
    statuses.push(await statusOf(socket));
  }
  expect(statuses).toEqual([200, 413, 413]);
  await until('what was refused is gone', () => incoming() === 0);
});

test('replacing a file first counts the space of the old one as free', async () => {
  await create('replaced', { size_limit: 1 });
  const file = Buffer.alloc(0.4 * MIB);
  for (let turn = 0; turn < 4; turn += 1) {
    const socket = await beginUpload('alice', 'replaced/upload/f', FILE_HEAD.length + file.length + FORM_END.length);
    socket.write(FILE_HEAD);
    socket.write(file);
    socket.write(FORM_END);
    expect(await statusOf(socket)).toBe(200);
  }
});

test('an upload below the minimum rate is ended and leaves nothing; a faster one is not', async () => {
  await create('slow');
  const slow = await beginUpload('alice', 'slow/upload/slow', 10 * MIB);
  const fair = await beginUpload('alice', 'slow/upload/fair', 10 * MIB);
  for (const socket of [slow, fair]) socket.write(FILE_HEAD);
  const state = { isEnded: false };
  const ended = statusOf(slow).finally(() => (state.isEnded = true));
  let fairStatus = 0;
  fair.once('data', (head) => (fairStatus = Number(String(head).slice(9, 12))));
  const beganMs = performance.now();
  while (!state.isEnded || performance.now() - beganMs < 3 * IDLE_MS) {
    if (!state.isEnded) slow.write('x');
    fair.write(Buffer.alloc(8_192));
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  expect([await ended, fairStatus]).toEqual([408, 0]);
});

test('a form with ten thousand parts is rejected at the first part beyond the limit', async () => {
  await create('parts');
  const part = `--${BOUNDARY}\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n`;
  const body = part.repeat(10_000);
  const socket = await beginUpload('alice', 'parts/upload/f', body.length);
  socket.write(body);
  expect(await statusOf(socket)).toBe(400);
});

test('a user can have four archives that nobody reads, without affecting other users', async () => {
  await create('archived');
  const socket = await beginUpload('alice', 'archived/upload/dir/f', FILE_HEAD.length + 1 + FORM_END.length);
  socket.write(`${FILE_HEAD}x${FORM_END}`);
  expect(await statusOf(socket)).toBe(200);
  await stand.call('alice', 'PUT', '/v3/pods/volumes/archived/permissions/bob', { level: 'USER' });
  const data = join(directoryWith('dir'), 'data');
  mkdirSync(join(data, 'dir/large'));
  writeFileSync(join(data, 'dir/large/file'), Buffer.alloc(32 * MIB));
  const ask = 'GET /v3/pods/volumes/archived/contents/dir?zip=true';
  for (let count = 0; count < 4; count += 1) {
    const unread = await begin('alice', ask);
    expect(await statusOf(unread)).toBe(200);
    unread.pause();
  }
  expect(await statusOf(await begin('alice', ask))).toBe(429);
  expect((await stand.call('alice', 'GET', '/v3/pods/volumes/archived')).status).toBe(200);
  for (const unread of sockets.splice(0)) unread.destroy();
  await until('the places are free again', async () => (await statusOf(await begin('alice', ask))) === 200);
});

test('removes the remains of an upload whose process has ended', async () => {
  await create('crashed');
  const socket = await beginUpload('alice', 'crashed/upload/marker', FILE_HEAD.length + 1 + FORM_END.length);
  socket.write(`${FILE_HEAD}x${FORM_END}`);
  expect(await statusOf(socket)).toBe(200);
  const directory = directoryWith('marker');
  const incoming = join(directory, 'incoming');
  for (const name of ['old', 'new']) writeFileSync(join(incoming, name), 'half');
  const twoHoursAgo = Date.now() / 1_000 - 7_200;
  utimesSync(join(incoming, 'old'), twoHoursAgo, twoHoursAgo);
  const next = createDirectoryFiles({ root: join(stand.directory, 'files'), asRoot: false });
  await next.usage(volumeRef(basename(directory)));
  expect(readdirSync(incoming)).toEqual(['new']);
});

test('uploads leave some disk space free for the store, and leave nothing when they are rejected for that', async () => {
  // Needs root, as the images in which the tests run have it: a file system of its own that can be filled.
  const root = mkdtempSync(join(tmpdir(), 'podgate-room-'));
  expect(await run('mount', ['-t', 'tmpfs', '-o', 'size=32m', 'tmpfs', root])).toMatchObject({ code: 0 });
  try {
    const files = createDirectoryFiles({ root, asRoot: false });
    async function* endless(): AsyncGenerator<Uint8Array> {
      for (;;) {
        await Promise.resolve();
        yield Buffer.alloc(64 * 1024);
      }
    }
    let leastFree = Infinity;
    async function* watched(): AsyncGenerator<Uint8Array> {
      for await (const piece of endless()) {
        const { bavail, bsize } = statfsSync(root);
        leastFree = Math.min(leastFree, bavail * bsize);
        yield piece;
      }
    }
    const upload = files.write(volumeRef('vol'), 'f', watched(), { sizeLimitMiB: 1_024 });
    await expect(upload).rejects.toMatchObject({ code: 'orchestrator.unavailable' });
    expect(leastFree).toBeGreaterThan(0);
    expect(leastFree).toBeLessThan(4 * MIB);
    expect(readdirSync(join(root, 'vol/incoming'))).toEqual([]);
    await files.write(volumeRef('vol'), 'small', Readable.from([Buffer.from('x')]), { sizeLimitMiB: 1 });
  } finally {
    await run('umount', ['-l', root]);
    rmSync(root, { recursive: true });
  }
});

test('the sizes of volumes and snapshots together are limited by the quota of their user', async () => {
  const limited = await ApiStand.start({ quotas: quotasOf({ volumeMiB: 100 }) });
  const call = async (method: string, path: string, body?: object): Promise<readonly [number, unknown]> => {
    const { status, body: answer } = await limited.call('alice', method, `/v3/pods/${path}`, body);
    return [status, answer.message];
  };
  try {
    expect(await call('POST', 'volumes', { volume_id: 'one', size_limit: 60 })).toMatchObject({ 0: 200 });
    const refusal =
      'Quota exceeded (quotas.volumeMiBPerUser): User alice uses 60 of 100 MiB of volumes and snapshots. This needs 41 more: ' +
      'delete a volume or a snapshot, or ask for a smaller size_limit, or ask the operator for a higher quota.';
    expect(await call('POST', 'volumes', { volume_id: 'two', size_limit: 41 })).toEqual([403, refusal]);
    expect(await call('PUT', 'volumes/one', { size_limit: 101 })).toMatchObject([
      403,
      expect.stringContaining('41 more'),
    ]);
    // An upload under way, a mount or files may hold as much as the former limit allowed.
    expect(await call('PUT', 'volumes/one', { size_limit: 1 })).toMatchObject({ 0: 200 });
    expect(await call('PUT', 'volumes/one', { size_limit: 2 })).toMatchObject({ 0: 200 });
    expect(await call('POST', 'volumes', { volume_id: 'two', size_limit: 41 })).toEqual([403, refusal]);
    expect(await call('POST', 'volumes', { volume_id: 'two', size_limit: 30 })).toMatchObject({ 0: 200 });
    const snapshot = { snapshot_id: 'copy', source_volume_id: 'one', source_volume_path: '/', size_limit: 11 };
    expect(await call('POST', 'snapshots', snapshot)).toMatchObject([403, expect.stringContaining('uses 90 of 100')]);
    const { body } = await limited.call('alice', 'GET', '/v3/pods');
    expect(body.metadata['quota']).toMatchObject({ volume_mib: { used: 90, limit: 100 } });
    // Another user has a quota of their own.
    const bobs = await limited.call('bob', 'POST', '/v3/pods/volumes', { volume_id: 'bobs', size_limit: 100 });
    expect(bobs.status).toBe(200);
    expect(await call('DELETE', 'volumes/one')).toMatchObject({ 0: 200 });
    expect(await call('POST', 'volumes', { volume_id: 'three', size_limit: 70 })).toMatchObject({ 0: 200 });
  } finally {
    await limited.close();
  }
});
