import { createHash, randomBytes } from 'node:crypto';
import { chmodSync, mkdirSync, readdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';

import { afterAll, beforeAll, expect, test } from 'vitest';

import type { Shell } from '../../../core/shell.ts';
import { noShell } from '../../support/no-shell.ts';
import { until } from '../../support/until.ts';
import { becomes, ensured } from '../../contract/orchestrator-harness.ts';
import { processOptions, runProcessOrchestrator, scriptPod, SERVE, temporaryRoot } from '../spawner/process-harness.ts';
import type { RunningOrchestrator } from '../spawner/process-harness.ts';
import { ApiStand } from './api-stand.ts';

const MIB = 1024 * 1024;
const { root, remove } = temporaryRoot();
let running: RunningOrchestrator;
let stand: ApiStand;
/** The working directory of the pod, as this test sees it. */
let home: string;

beforeAll(async () => {
  running = runProcessOrchestrator(processOptions(root));
  stand = await ApiStand.start({ orchestrator: running.orchestrator });
  await stand.create('alice', 'mypod');
  await stand.create('alice', 'stopped');
  const { tenant, podId, uid } = await stand.record('mypod');
  const workload = scriptPod(SERVE, {}, { tenant, podId, uid });
  await ensured(running.orchestrator, workload);
  await becomes(running.orchestrator, workload, 'ready');
  const pwd = await stand.call('alice', 'POST', '/v3/pods/mypod/exec', { commands: ['pwd'] });
  const [printed] = (pwd.body.result as { execution_results: readonly { stdout: string }[] }).execution_results;
  home = printed?.stdout.trim() ?? '';
  expect(home).toMatch(/^\/.+/);
});
afterAll(async () => {
  try {
    await stand.close();
  } finally {
    await running.close();
    remove();
  }
});

const get = async (path: string, user = 'alice', init: RequestInit = {}): Promise<Response> =>
  await fetch(`${stand.url}/v3/pods/${path}`, { ...init, headers: { 'X-Tapis-Token': await stand.token(user) } });

async function upload(
  fields: readonly (readonly [string, string | Blob, string?])[],
  { user = 'alice', pod = 'mypod', signal }: { user?: string; pod?: string; signal?: AbortSignal } = {},
) {
  const form = new FormData();
  for (const [name, value, filename] of fields) {
    if (typeof value === 'string') form.append(name, value);
    else form.append(name, value, filename ?? 'name.bin');
  }
  const response = await fetch(`${stand.url}/v3/pods/${pod}/upload_to_pod`, {
    method: 'POST',
    headers: { 'X-Tapis-Token': await stand.token(user) },
    body: form,
    ...(signal === undefined ? {} : { signal }),
  });
  return { status: response.status, body: (await response.json()) as { message: unknown; result: unknown } };
}

interface Listed {
  readonly path: string;
  readonly name: string;
  readonly type: string;
  readonly size: number;
  readonly lastModified: string;
  readonly nativePermissions: string;
}
async function listed(path: string): Promise<readonly Listed[]> {
  const response = await get(`mypod/list_files${path}`);
  expect([path, response.status]).toEqual([path, 200]);
  return ((await response.json()) as { result: readonly Listed[] }).result;
}

test('a file is written, listed and read, at a relative or absolute path', async () => {
  const written = await upload([
    ['dest_path', 'made/by me/data.csv'],
    ['file', new Blob(['a,b\n'])],
  ]);
  const path = `${home}/made/by me/data.csv`;
  expect(written).toMatchObject({ status: 200, body: { result: { path, size: 4 } } });
  const files = await listed('/made%2Fby%20me');
  expect(files).toEqual([
    {
      ...{ path, name: 'data.csv', type: 'file', size: 4 },
      lastModified: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/) as string,
      nativePermissions: expect.stringMatching(/^rw-/) as string,
    },
  ]);
  for (const asked of ['/made/by%20me/data.csv', '%2Fmade%2Fby%20me%2Fdata.csv', `?path=${encodeURIComponent(path)}`]) {
    const response = await get(`mypod/download_from_pod${asked}`);
    expect([asked, response.status, await response.text()]).toEqual([asked, 200, 'a,b\n']);
    expect(response.headers.get('content-length')).toBe('4');
    expect(response.headers.get('content-disposition')).toBe("attachment; filename*=UTF-8''data.csv");
  }
  expect(await listed(`?path=${encodeURIComponent(path)}`)).toMatchObject([{ path, name: 'data.csv' }]);
});

test('the path may follow the file and may be a directory; a replaced file keeps its mode', async () => {
  const into = await upload([
    ['file', new Blob(['1']), 'run.sh'],
    ['dest_path', 'bin/'],
  ]);
  expect(into).toMatchObject({ status: 200, body: { result: { path: `${home}/bin/run.sh` } } });
  chmodSync(join(home, 'bin/run.sh'), 0o750);
  const replaced = await upload([
    ['dest_path', 'bin'],
    ['file', new Blob(['22']), 'run.sh'],
  ]);
  expect(replaced).toMatchObject({ status: 200, body: { result: { path: `${home}/bin/run.sh`, size: 2 } } });
  expect(readFileSync(join(home, 'bin/run.sh'), 'utf8')).toBe('22');
  expect(statSync(join(home, 'bin/run.sh')).mode & 0o777).toBe(0o750);
  expect(readdirSync(join(home, 'bin'))).toEqual(['run.sh']);
});

test('a path or file name that is not UTF-8 is refused, and no other name is made of it', async () => {
  const send = async (parts: readonly (readonly [string, string])[]): Promise<unknown> => {
    const lines = parts.map(([head, value]) => `--x\r\nContent-Disposition: form-data; ${head}\r\n\r\n${value}\r\n`);
    const response = await fetch(`${stand.url}/v3/pods/mypod/upload_to_pod`, {
      method: 'POST',
      headers: { 'X-Tapis-Token': await stand.token('alice'), 'Content-Type': 'multipart/form-data; boundary=x' },
      body: new Uint8Array(Buffer.from(`${lines.join('')}--x--\r\n`, 'latin1')),
    });
    return [response.status, ((await response.json()) as { message: unknown }).message];
  };
  const file = ['name="file"; filename="a"', 'hello'] as const;
  const path = ['name="dest_path"', 'not-utf8/caf\xe9'] as const;
  for (const parts of [
    [path, file],
    [file, path],
  ]) {
    expect(await send(parts)).toEqual([400, ['dest_path: must be valid UTF-8']]);
  }
  expect(
    await send([
      ['name="dest_path"', 'bin/'],
      ['name="file"; filename="caf\xe9"', 'hello'],
    ]),
  ).toEqual([400, ['file: its name must be valid UTF-8']]);
  expect(readdirSync(home).filter((name) => /utf8|\ufffd|upload/.test(name))).toEqual([]);
});

test('large files are streamed, and an aborted upload leaves nothing', async () => {
  const bytes = randomBytes(24 * MIB);
  const hash = createHash('sha256').update(bytes).digest('hex');
  const written = await upload([
    ['dest_path', 'large/data.bin'],
    ['file', new Blob([bytes])],
  ]);
  expect(written).toMatchObject({ status: 200, body: { result: { size: bytes.length } } });
  const response = await get('mypod/download_from_pod/large/data.bin');
  const read = createHash('sha256').update(Buffer.from(await response.arrayBuffer()));
  expect(read.digest('hex')).toBe(hash);

  const sending = request(`${stand.url}/v3/pods/mypod/upload_to_pod`, {
    method: 'POST',
    headers: { 'X-Tapis-Token': await stand.token('alice'), 'Content-Type': 'multipart/form-data; boundary=x' },
  }).on('error', () => undefined);
  const disposition = 'content-disposition: form-data; name=';
  sending.write(`--x\r\n${disposition}"dest_path"\r\n\r\nlarge/other.bin\r\n`);
  sending.write(`--x\r\n${disposition}"file"; filename="a"\r\n\r\n`);
  sending.write(new Uint8Array(MIB));
  const names = (): readonly string[] => readdirSync(join(home, 'large'));
  await until('it is on its way', () => names().length === 2);
  sending.destroy();
  await until('nothing of it is left', () => names().length === 1);

  // A reader who leaves: the command that reads for it ends, and gives its place back.
  const gone = new AbortController();
  // One that nothing refers to would be closed.
  const readers: Response[] = [];
  for (let count = 0; count < 4; count++) {
    // The upload before gives its place back once it has been cleaned up.
    await until('there is a place', async () => {
      const response = await get('mypod/download_from_pod/large/data.bin', 'alice', { signal: gone.signal });
      readers.push(response);
      return response.status === 200;
    });
  }
  expect((await get('mypod/list_files')).status).toBe(429);
  gone.abort();
  expect(readers.length).toBeGreaterThanOrEqual(4);
  await until('there is room again', async () => (await get('mypod/list_files')).status === 200);
});

test('any file name is listed unchanged, with the type of the file', async () => {
  mkdirSync(join(home, 'odd/-dir'), { recursive: true });
  for (const name of ['-n', 'two\nlines', '*', '.hidden', '..twodots', "it's", 'a b']) {
    writeFileSync(join(home, 'odd', name), name);
  }
  symlinkSync('/etc/passwd', join(home, 'odd/link'));
  symlinkSync('nowhere', join(home, 'odd/dangling'));
  const files = await listed('/odd');
  expect(Object.fromEntries(files.map(({ name, type }) => [name, type]))).toEqual({
    ...{ '-n': 'file', 'two\nlines': 'file', '*': 'file', '.hidden': 'file', '..twodots': 'file', 'a b': 'file' },
    ...{ "it's": 'file', '-dir': 'dir', link: 'symbolic_link', dangling: 'symbolic_link' },
  });
  for (const name of ['-n', 'two\nlines', '*']) {
    const response = await get(`mypod/download_from_pod/odd/${encodeURIComponent(name)}`);
    expect([name, await response.text()]).toEqual([name, name]);
  }
  expect(await listed('/odd/-dir')).toEqual([]);
  // Files of unknown size are read to their end.
  const status = await get('mypod/download_from_pod?path=/proc/self/status');
  expect([status.status, status.headers.get('content-length')]).toEqual([200, null]);
  expect(await status.text()).toMatch(/^Name:/);
});

test('files that cannot be read or written are refused with the reason', async () => {
  const within = await upload([
    ['dest_path', 'made/dir/x'],
    ['file', new Blob(['1'])],
  ]);
  expect(within.status).toBe(200);
  for (const [path, status, message] of [
    ['mypod/download_from_pod/none', 404, /no file "none" in the pod/],
    ['mypod/list_files/none', 404, /no file "none" in the pod/],
    ['mypod/download_from_pod/made', 409, /"made" is a directory/],
    ['mypod/download_from_pod?path=/dev/null', 409, /not a regular file/],
    ['mypod/download_from_pod', 400, /path: is required/],
    ['mypod/list_files/a?path=/b', 400, /not both/],
    ['mypod/list_files?path=%00', 400, /NUL/],
    ['stopped/list_files', 409, /The pod is not running/],
    ['stopped/download_from_pod/a', 409, /The pod is not running/],
    ['nopod/list_files', 404, /no pod "nopod"/],
  ] as const) {
    const response = await get(path);
    const { message: said } = (await response.json()) as { message: string | readonly string[] };
    expect([path, response.status, String(said)]).toEqual([path, status, expect.stringMatching(message)]);
  }
  const file = ['file', new Blob(['1'])] as const;
  for (const [fields, status, message] of [
    [[file], 400, /dest_path: is required/],
    [[['dest_path', 'x']], 400, /the form needs a file/],
    [[['dest_path', '/proc/none/x'], file], 409, /^The pod could not do this: .*\/proc\/none/],
    [
      [
        ['dest_path', 'made'],
        ['file', new Blob(['1']), 'dir'],
      ],
      409,
      /"made" is a directory/,
    ],
  ] as const) {
    const answer = await upload(fields);
    expect([answer.status, String(answer.body.message)]).toEqual([status, expect.stringMatching(message)]);
  }
  expect((await upload([['dest_path', 'x'], file], { pod: 'stopped' })).status).toBe(409);
  expect(readdirSync(home).filter((name) => name.startsWith('.podgate'))).toEqual([]);
});

test('needs ADMIN, and is recorded in action_logs', async () => {
  await stand.call('alice', 'POST', '/v3/pods/mypod/permissions', { user: 'bob', level: 'USER' });
  for (const path of ['list_files', 'download_from_pod/x'])
    expect((await get(`mypod/${path}`, 'bob')).status).toBe(403);
  expect(
    (
      await upload(
        [
          ['dest_path', 'x'],
          ['file', new Blob(['1'])],
        ],
        { user: 'bob' },
      )
    ).status,
  ).toBe(403);
  await upload([
    ['dest_path', 'noted'],
    ['file', new Blob(['1'])],
  ]);
  await (await get('mypod/download_from_pod/noted')).text();
  const { body } = await stand.call('alice', 'GET', '/v3/pods/mypod/logs');
  const actions = (body.result as { action_logs: readonly string[] }).action_logs.join('\n');
  expect(actions).toMatch(/'alice' uploads "noted"/);
  expect(actions).toMatch(/'alice' downloads "noted"/);
});

/** What runs in a pod is its user's: this shell prints what no `stat` does. */
test('a pod whose programs send false output fails only the call, and uses no memory', async () => {
  let taken = 0;
  const shell: Shell = {
    ...noShell,
    exec: async (_ref, { output, command }) => {
      const [isList, mark = ''] = [command[2]?.includes('%Y %n') === true, command.at(-1)];
      if (!isList) {
        const piece = Buffer.alloc(64 * 1024, 'x');
        for (; taken < 1_000; taken += 1) await output?.(piece);
      }
      const stdout = Buffer.from(`/home${mark}81a4 1 99999999999999999999 old${mark}81a4 1 -9 young`);
      return { kind: 'ended', exit: { kind: 'code', code: 0 }, stdout, stderr: Buffer.alloc(0) };
    },
  };
  const { orchestrator } = running;
  const other = await ApiStand.start({
    orchestrator: { logs: (...asked) => orchestrator.logs(...asked), shell, output: orchestrator.output },
  });
  try {
    await other.create('alice', 'liar');
    const downloaded = await other.call('alice', 'GET', '/v3/pods/liar/download_from_pod/x');
    expect(downloaded).toMatchObject({
      status: 409,
      body: { message: expect.stringContaining('size of a file') as string },
    });
    expect(taken).toBeLessThan(10);
    const listed = await other.call('alice', 'GET', '/v3/pods/liar/list_files');
    expect(listed).toMatchObject({
      status: 200,
      body: {
        result: [
          { name: 'old', lastModified: '9999-12-31T23:59:59Z' },
          { name: 'young', lastModified: '1970-01-01T00:00:00Z' },
        ],
      },
    });
  } finally {
    await other.close();
  }
});
