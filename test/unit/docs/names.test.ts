import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';

const ROOT = join(import.meta.dirname, '../../..');
const FOLDERS = [
  'core',
  'config',
  'proxy',
  'control',
  'spawner',
  'certs',
  'main',
  'cli',
  'test',
  'bench',
  'docs',
  'deploy',
  'scripts',
];
const PAGES = [
  'ARCHITECTURE.md',
  'CONTRIBUTING.md',
  'SECURITY.md',
  'docs/life-of-a-pod.svg',
  'docs/life-of-a-connection.svg',
];

const read = (path: string): string => readFileSync(join(ROOT, path), 'utf8');

/** Files and folders below the parts of the tree that a page names; a last word in braces stands for several. */
function pathsOf(text: string): readonly string[] {
  const found = text.matchAll(new RegExp(`(?<![\\w/.-])(?:${FOLDERS.join('|')})/[\\w./{},-]*[\\w}]`, 'g'));
  return [...found].flatMap(([path]) => {
    const [, before = '', names = ''] = /^(.*)\{(.*)\}$/.exec(path) ?? [];
    return names === '' ? [path] : names.split(',').map((name) => `${before}${name}`);
  });
}

/** Relative links of a Markdown page, without their fragment. */
function linksOf(text: string): readonly string[] {
  return [...text.matchAll(/\]\(([^)#\s]+)[^)]*\)/g)].map(([, to = '']) => to).filter((to) => !/^[a-z]+:/.test(to));
}

describe('pages for those who work on Podgate', () => {
  it.each(PAGES)('%s names only files and folders that exist', (page) => {
    const paths = pathsOf(read(page));
    expect(paths.length).toBeGreaterThan(3);
    expect(paths.filter((path) => !existsSync(join(ROOT, path)))).toEqual([]);
  });

  it('ARCHITECTURE.md names only identifiers that the sources have', () => {
    const names = [
      ...read('ARCHITECTURE.md').matchAll(/`([A-Za-z][A-Za-z]+[a-z][A-Z]\w*|[A-Z][a-z]\w+(?:\.\w+)?)`/g),
    ].map(([, name = '']) => name);
    expect(names.length).toBeGreaterThan(2);
    const sources = FOLDERS.slice(0, 8).flatMap((folder) =>
      readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' })
        .filter((path) => path.endsWith('.ts'))
        .map((path) => read(join(folder, path))),
    );
    const isThere = (name: string): boolean =>
      name.split('.').every((part) => sources.some((source) => new RegExp(`\\b${part}\\b`).test(source)));
    expect(names.filter((name) => !isThere(name))).toEqual([]);
  });

  const markdown = ['', 'docs', 'docs/decisions'].flatMap((folder) =>
    readdirSync(join(ROOT, folder))
      .filter((name) => name.endsWith('.md'))
      .map((name) => join(folder, name)),
  );
  it.each(markdown)('the links of %s lead somewhere', (page) => {
    const folder = join(ROOT, page, '..');
    expect(linksOf(read(page)).filter((to) => !existsSync(join(folder, to)))).toEqual([]);
  });
});
