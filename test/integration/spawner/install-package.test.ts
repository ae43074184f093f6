import { type ChildProcess, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { acquireExclusiveLock } from '../../../main/exclusive-lock.ts';
import { fetchFile, type PinnedFile } from '../../../spawner/orchestrator/process/packages/fetch-file.ts';
import {
  type InstallProgress,
  installPackage,
  type PinnedPackage,
} from '../../../spawner/orchestrator/process/packages/install-package.ts';
import { never } from '../../contract/orchestrator-harness.ts';
import {
  cutAfter,
  type Fault,
  type MavenRequest,
  serveRepository,
  type TestRepository,
} from '../../support/maven-repository.ts';
import { until } from '../../support/until.ts';

const OWNER = join(import.meta.dirname, 'install-package-owner.ts');
const BIG = 'org/example/big/1/big-1.jar';
const BIG_BYTES = 600_000;

let root: string;
let cacheDir: string;
let repository: TestRepository;
let faultOf: (request: MavenRequest, count: number) => Fault | null;
let wanted: PinnedPackage;
const owners: ChildProcess[] = [];

beforeEach(async () => {
  root = mkdtempSync(join(tmpdir(), 'podgate-package-'));
  cacheDir = join(root, 'cache', 'podgate');
  const files = [
    [BIG, BIG_BYTES],
    ...Array.from({ length: 9 }, (_, index) => [`org/example/small/1/small-${index}.jar`, 1_000 + index] as const),
  ] as const;
  wanted = packageOf(files.map(([path, bytes], index) => publish(path, Buffer.alloc(bytes, index + 1))));
  faultOf = () => null;
  repository = await serveRepository(
    (path) => (existsSync(join(root, 'repository', path)) ? join(root, 'repository', path) : null),
    (request, count) => faultOf(request, count),
  );
});
afterEach(async () => {
  for (const owner of owners.splice(0)) owner.kill('SIGKILL');
  await repository.close();
  rmSync(root, { recursive: true });
});

function publish(path: string, content: Buffer): PinnedFile {
  const file = join(root, 'repository', path);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, content);
  return { path, bytes: content.length, sha256: createHash('sha256').update(content).digest('hex') };
}

function packageOf(files: readonly PinnedFile[]): PinnedPackage {
  return { name: 'example-1', files, bytes: files.reduce((sum, { bytes }) => sum + bytes, 0), notice: 'An example.\n' };
}

const sourceOf = () => ({ url: repository.url, authorization: null, from: 'the test' });

function install(
  change: { package?: PinnedPackage; onProgress?: (progress: InstallProgress) => void } = {},
  signal = never(),
) {
  const options = { package: wanted, onProgress: () => undefined, ...change };
  return installPackage({ ...options, cacheDir, source: sourceOf(), lock: acquireExclusiveLock }, signal);
}

function expectInstalled(home: string): void {
  const names = wanted.files.map(({ path }) => basename(path));
  expect(readdirSync(join(home, 'lib')).sort()).toEqual(names.sort());
  for (const { path } of wanted.files) {
    const file = join(home, 'lib', basename(path));
    expect(readFileSync(file).equals(readFileSync(join(root, 'repository', path)))).toBe(true);
    expect(statSync(file).mode & 0o777).toBe(0o644);
  }
  expect(readFileSync(join(home, 'NOTICE'), 'utf8')).toBe('An example.\n');
}

/** Another process that installs the same, and prints its progress. */
function startOwner(): ChildProcess {
  const settings = JSON.stringify({ package: wanted, cacheDir, source: sourceOf() });
  const owner = spawn(process.execPath, [OWNER, settings], { stdio: ['ignore', 'pipe', 'inherit'] });
  owners.push(owner);
  return owner;
}

const requestsOf = (path: string) => repository.requests.filter((request) => request.path === path);
const partial = () => join(cacheDir, '.example-1.partial', 'lib');

it('installs every file, readable and not writable by other users with any umask, and does nothing the next time', async () => {
  const done: number[] = [];
  const umask = process.umask(0o077);
  try {
    const home = await install({
      onProgress: (progress) => progress.kind === 'downloading' && done.push(progress.doneBytes),
    });
    expect(home).toBe(join(cacheDir, 'example-1'));
    expectInstalled(home);
    for (const directory of [cacheDir, home, join(home, 'lib')]) expect(statSync(directory).mode & 0o777).toBe(0o755);
    expect(statSync(dirname(cacheDir)).mode & 0o777).toBe(0o700);
    expect(done.at(-1)).toBe(wanted.bytes);
    const count = repository.requests.length;
    expect(await install()).toBe(home);
    expect(repository.requests.length).toBe(count);
  } finally {
    process.umask(umask);
  }
});

it('resumes an interrupted download where it stopped', async () => {
  faultOf = ({ path }, count) => (path === BIG && count <= 2 ? cutAfter(200_000) : null);
  // The second response starts anew, as of a repository that knows no ranges.
  expectInstalled(await install());
  const resumed = expect.stringMatching(/^bytes=[1-9]\d{0,5}-$/) as unknown;
  expect(requestsOf(BIG).map(({ range }) => range)).toEqual([null, resumed, resumed]);
});

it('a later process uses what an earlier one had downloaded when it was killed', async () => {
  faultOf = ({ path }) => (path === BIG ? stall(300_000) : null);
  const owner = startOwner();
  await until('most of it is there', () => {
    const part = statSync(join(partial(), 'big-1.jar.part'), { throwIfNoEntry: false });
    return part?.size === 300_000 && readdirSync(partial()).filter((name) => name.endsWith('.jar')).length === 9;
  });
  owner.kill('SIGKILL');
  await once(owner, 'exit');
  expect(existsSync(join(cacheDir, 'example-1'))).toBe(false);
  faultOf = () => null;
  const before = repository.requests.length;
  expectInstalled(await install());
  expect(repository.requests.slice(before).map(({ path, range }) => [path, range])).toEqual([[BIG, 'bytes=300000-']]);
});

it('killed repeatedly at any moment, it is never half installed, and complete in the end', async () => {
  for (let round = 0; round < 8; round += 1) {
    const owner = startOwner();
    const [first] = (await Promise.race([once(owner.stdout ?? owner, 'data'), once(owner, 'exit')])) as unknown[];
    if (Buffer.isBuffer(first)) await new Promise((resolve) => setTimeout(resolve, round * 3));
    owner.kill('SIGKILL');
    if (owner.exitCode === null && owner.signalCode === null) await once(owner, 'exit');
    if (existsSync(join(cacheDir, 'example-1'))) expectInstalled(join(cacheDir, 'example-1'));
    if (round % 3 === 2) rmSync(join(cacheDir, 'example-1'), { recursive: true, force: true });
  }
  expectInstalled(await install());
});

it('rejects a file with another checksum, and names it', async () => {
  const [big, ...others] = wanted.files;
  if (big === undefined) throw new Error('no file');
  const forged = packageOf([{ ...big, sha256: '0'.repeat(64) }, ...others]);
  const fetching = fetchFile(
    {
      source: sourceOf(),
      file: forged.files[0] ?? big,
      destination: join(root, 'x.jar'),
      onBytes: () => undefined,
      firstWaitMs: 1,
    },
    never(),
  );
  await expect(fetching).rejects.toThrow(/big-1\.jar has the SHA-256 [0-9a-f]{64} instead of 0{64}/);
  expect(existsSync(join(root, 'x.jar'))).toBe(false);
  expect(statSync(join(root, 'x.jar.part')).size).toBe(0);
});

it('a file that was damaged in transit once is downloaded again', async () => {
  faultOf = ({ path }, count) =>
    path === BIG && count === 1 ? (response) => response.end(Buffer.alloc(BIG_BYTES, 99)) : null;
  expectInstalled(await install());
  expect(requestsOf(BIG).length).toBe(2);
});

it('abandons a file that is larger than expected, without keeping it', async () => {
  faultOf = ({ path }) => (path === BIG ? (response) => response.end(Buffer.alloc(BIG_BYTES + 1)) : null);
  await expect(install()).rejects.toThrow('is larger than 600000 bytes');
  expect(existsSync(join(cacheDir, 'example-1'))).toBe(false);
  expect(statSync(join(partial(), 'big-1.jar.part')).size).toBe(0);
});

it.each([
  [404, /does not exist \(HTTP 404\): the repository of the test is not a mirror of Maven Central/],
  [401, /is refused \(HTTP 401\): check the user and password set for the test/],
])('a repository that responds %i is not asked again', async (status, message) => {
  faultOf = ({ path }) => (path === BIG ? (response) => response.writeHead(status).end() : null);
  await expect(install()).rejects.toThrow(message);
  expect(requestsOf(BIG).length).toBe(1);
});

it('a repository that stops sending is abandoned', async () => {
  faultOf = () => stall(10);
  const [file] = wanted.files;
  if (file === undefined) throw new Error('no file');
  const destination = join(root, 'x.jar');
  const options = { source: sourceOf(), file, destination, onBytes: () => undefined, stallMs: 50, firstWaitMs: 1 };
  await expect(fetchFile(options, never())).rejects.toThrow('sent nothing for 0.05 s');
});

it('only one of two processes downloads, and the other waits for it', async () => {
  const gate = Promise.withResolvers<undefined>();
  faultOf = ({ path }) =>
    path === BIG ? (response, file) => void gate.promise.then(() => response.end(readFileSync(file))) : null;
  const progress: string[] = [];
  const here = install({ onProgress: ({ kind }) => progress.push(kind) });
  await until('the first is at work', () => requestsOf(BIG).length === 1);
  const other = startOwner();
  const said: string[] = [];
  other.stdout?.setEncoding('utf8').on('data', (text: string) => said.push(text));
  await until('the second waits', () => said.join('').includes('elsewhere'));
  gate.resolve(undefined);
  expectInstalled(await here);
  expect(await once(other, 'exit')).toEqual([0, null]);
  expect(said.join('')).toContain('installed');
  expect(repository.requests.length).toBe(wanted.files.length);
});

it('ends at once when nobody waits any more, and keeps what has arrived', async () => {
  faultOf = ({ path }) => (path === BIG ? stall(1_000) : null);
  const stopped = new AbortController();
  const installing = install({}, stopped.signal);
  await until(
    'a part is there',
    () => statSync(join(partial(), 'big-1.jar.part'), { throwIfNoEntry: false })?.size === 1_000,
  );
  stopped.abort(new Error('stopped'));
  await expect(installing).rejects.toThrow('stopped');
  expect(statSync(join(partial(), 'big-1.jar.part')).size).toBe(1_000);
});

it('reports a full disk before the first byte', async () => {
  const [first, ...others] = wanted.files;
  if (first === undefined) throw new Error('no file');
  const huge = packageOf([{ ...first, bytes: 2 ** 52 }, ...others]);
  await expect(install({ package: huge })).rejects.toThrow(/disk of .* is full: free at least \d+ MiB there/);
  expect(repository.requests).toEqual([]);
});

it.each(['cache directory', 'directory above it'])('uses no %s that other users may write to', async (which) => {
  mkdirSync(cacheDir, { recursive: true });
  chmodSync(which === 'cache directory' ? cacheDir : dirname(cacheDir), 0o777);
  await expect(install()).rejects.toThrow(/is writable by .*chmod/);
  expect(repository.requests).toEqual([]);
});

/** Sends the beginning, then nothing. */
function stall(bytes: number): Fault {
  return (response, file) => {
    response.writeHead(200, { 'content-length': statSync(file).size });
    response.write(readFileSync(file).subarray(0, bytes));
  };
}
