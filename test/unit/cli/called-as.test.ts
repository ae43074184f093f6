import { mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { asTyped, calledAs } from '../../../cli/called-as.ts';

let directory: string;
let linked: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'podgate-called-'));
  linked = join(directory, 'podgate');
  symlinkSync(join(import.meta.dirname, '../../../podgate'), linked);
});
afterAll(() => rmSync(directory, { recursive: true }));

test('hints begin with what was typed: the command on the PATH, a path, or npx', () => {
  const PATH = `/nonexistent:${directory}`;
  expect(calledAs({ PATH })).toBe('podgate');
  expect(calledAs({ _PODGATE_CALLED_AS: linked, PATH })).toBe('podgate');
  expect(calledAs({ _PODGATE_CALLED_AS: linked, PATH: '/nonexistent' })).toBe(linked);
  expect(calledAs({ _PODGATE_CALLED_AS: './podgate', PATH })).toBe('./podgate');
  expect(calledAs({ _PODGATE_CALLED_AS: 'podgate', PATH })).toBe('./podgate');
  expect(calledAs({ _PODGATE_CALLED_AS: "/it's here/podgate", PATH })).toBe("'/it'\\''s here/podgate'");
  expect(calledAs({ _PODGATE_CALLED_AS: 'npx podgate', PATH })).toBe('npx podgate');
});

test('commands in a text are said as they are typed, and pods, paths and prose stay', () => {
  const typed = (text: string): string => asTyped(text, './podgate');
  expect(typed('start it: podgate start mypg')).toBe('start it: ./podgate start mypg');
  expect(typed('see: podgate --help, or: npx podgate list')).toBe('see: ./podgate --help, or: ./podgate list');
  expect(typed('In a checkout: ./podgate logs mypg, podgate logs $1')).toBe(
    'In a checkout: ./podgate logs mypg, ./podgate logs $1',
  );
  for (const text of [
    'pod podgate is STOPPED',
    '/srv/podgate start',
    'There is no pod podgate.',
    'Podgate is not running',
  ]) {
    expect(typed(text)).toBe(text);
  }
});
