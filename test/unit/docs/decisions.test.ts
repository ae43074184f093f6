import { readdirSync, readFileSync } from 'node:fs';
import { expect, it } from 'vitest';

const FOLDER = new URL('../../../docs/decisions/', import.meta.url);
const index = readFileSync(new URL('README.md', FOLDER), 'utf8');
const files = readdirSync(FOLDER).filter((name) => /^\d{4}-.*\.md$/.test(name));
const numberOf = (file: string): string => file.slice(0, 4);

it('docs/decisions/README.md lists every decision once, under its own number and in order', () => {
  const listed = [...index.matchAll(/^\| \[(\d{4})\]\(([^)]+)\)/gm)].map(([, number = '', file = '']) => ({
    number,
    file,
  }));
  expect(listed.map(({ file }) => file)).toEqual(files.toSorted());
  for (const { number, file } of listed) expect(numberOf(file)).toBe(number);
});

it('no two decisions share a number, and the index explains the numbers that are skipped', () => {
  const used = new Set(files.map(numberOf));
  expect(used.size).toBe(files.length);
  const explained = new Set<string>();
  const note = /^Numbers (.*?) were set aside/m.exec(index)?.[1] ?? '';
  for (const [, first = '', last = first] of note.matchAll(/(\d{4})(?: to (\d{4}))?/g)) {
    for (let number = Number(first); number <= Number(last); number++) explained.add(String(number).padStart(4, '0'));
  }
  const most = Math.max(...files.map((file) => Number(numberOf(file))));
  const all = Array.from({ length: most }, (_, at) => String(at + 1).padStart(4, '0'));
  expect(all.filter((number) => !used.has(number) && !explained.has(number))).toEqual([]);
  expect([...explained].filter((number) => used.has(number))).toEqual([]);
});
