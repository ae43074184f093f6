import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { cacheDirOf } from '../../../config/cache-dir.ts';
import { readMavenRepository } from '../../../config/maven-repository.ts';
import { PodgateError } from '../../../core/errors.ts';

let home: string;
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'podgate-maven-'));
  mkdirSync(join(home, '.m2'));
});
afterEach(() => rmSync(home, { recursive: true }));

function withSettings(settings: string, env: NodeJS.ProcessEnv = {}) {
  writeFileSync(join(home, '.m2', 'settings.xml'), `<?xml version="1.0"?><settings xmlns="x">${settings}</settings>`);
  return readMavenRepository(null, { HOME: home, ...env });
}
const mirror = (id: string, mirrorOf: string, more = '') =>
  `<mirror><id>${id}</id><url>https://${id}.example.org/maven/</url><mirrorOf>${mirrorOf}</mirrorOf>${more}</mirror>`;
const mirrors = (...list: readonly string[]) => `<mirrors>${list.join('')}</mirrors>`;

function problemOf(read: () => unknown): string {
  try {
    read();
  } catch (error) {
    if (error instanceof PodgateError) return error.publicMessages.join(' ');
    throw error;
  }
  throw new Error('it was read');
}

it('the configured repository takes precedence over Maven’s settings', () => {
  writeFileSync(join(home, '.m2', 'settings.xml'), `<settings>${mirrors(mirror('corp', '*'))}</settings>`);
  expect(readMavenRepository('http://127.0.0.1:1/maven2/', { HOME: home })).toEqual({
    url: 'http://127.0.0.1:1/maven2',
    authorization: null,
    from: 'process.mavenRepository',
  });
});

it('the default is Maven Central', () => {
  // The settings of this machine name no mirror; where they do, this test says so.
  expect(readMavenRepository(null, { HOME: home }).from).toBe('Maven Central');
});

it.each(['central', '*', 'external:*', 'other,central', '*,!other'])('a mirror of %s serves Central', (mirrorOf) => {
  const read = withSettings(mirrors(mirror('other', 'elsewhere'), mirror('corp', mirrorOf)));
  expect(read.url).toBe('https://corp.example.org/maven');
  expect(read.from).toBe(`the mirror "corp" in ${join(home, '.m2', 'settings.xml')}`);
});

it.each(['elsewhere', '*,!central', 'external:http:*', ''])('a mirror of "%s" does not', (mirrorOf) => {
  expect(withSettings(mirrors(mirror('corp', mirrorOf))).from).toBe('Maven Central');
});

it('a mirror that is commented out or blocked is ignored; an exact name takes precedence over a pattern', () => {
  const commented = `<!-- ${mirror('commented', '*')} -->`;
  const list = [
    commented,
    mirror('blocked', '*', '<blocked>true</blocked>'),
    mirror('any', '*'),
    mirror('corp', 'central'),
  ];
  expect(withSettings(mirrors(...list)).url).toBe('https://corp.example.org/maven');
});

it('the mirror’s user and password come from its server entry, with environment variables expanded', () => {
  const servers =
    '<servers><server><id>other</id><username>x</username></server>' +
    '<server><id>corp</id><username>ann</username><password>${env.CORP_PASSWORD}</password></server></servers>';
  const read = withSettings(servers + mirrors(mirror('corp', '*')), { CORP_PASSWORD: 'sesame' });
  expect(read.authorization).toBe(`Basic ${Buffer.from('ann:sesame').toString('base64')}`);
  expect(problemOf(() => withSettings(servers + mirrors(mirror('corp', '*'))))).toMatch(
    /password of the mirror "corp"/,
  );
});

it('a file named by MAVEN_ARGS replaces the user’s settings', () => {
  const file = join(home, 'other.xml');
  writeFileSync(file, `<settings>${mirrors(mirror('named', '*'))}</settings>`);
  expect(withSettings(mirrors(mirror('corp', '*')), { MAVEN_ARGS: `-B --settings ${file}` }).url).toBe(
    'https://named.example.org/maven',
  );
});

it('invalid XML and an invalid URL are reported with their file', () => {
  expect(problemOf(() => withSettings('<mirrors>'))).toMatch(/settings\.xml: is not XML/);
  const broken = '<mirror><id>corp</id><url>ftp://x</url><mirrorOf>*</mirrorOf></mirror>';
  expect(problemOf(() => withSettings(mirrors(broken)))).toMatch(/settings\.xml: the URL of the mirror "corp" must be/);
});

it('the cache is in the XDG cache directory; root’s cache is readable by other users', () => {
  expect(cacheDirOf({ HOME: '/home/ann' }, false)).toBe('/home/ann/.cache/podgate');
  expect(cacheDirOf({ HOME: '/home/ann', XDG_CACHE_HOME: 'relative' }, false)).toBe('/home/ann/.cache/podgate');
  expect(cacheDirOf({ HOME: '/root', XDG_CACHE_HOME: '/data/cache' }, true)).toBe('/data/cache/podgate');
  expect(cacheDirOf({ HOME: '/root' }, true)).toBe('/var/cache/podgate');
});
