import { expect, test } from 'vitest';
import { formatResult } from '../../../cli/psql/format-result.ts';
import { parseDuration } from '../../../cli/duration.ts';

const RESULT = {
  command: 'SELECT',
  rowCount: 2,
  fields: [{ name: 'a' }, { name: 'long' }],
  rows: [
    ['1', null],
    ['22', 'x'],
  ],
};

test('a result is printed as psql prints it', () => {
  expect(formatResult(RESULT, { isAligned: true, tuplesOnly: false })).toBe(
    ' a  | long\n----+------\n 1  |\n 22 | x\n(2 rows)\n\n',
  );
  expect(formatResult(RESULT, { isAligned: false, tuplesOnly: true })).toBe('1|\n22|x\n');
});

test('a statement without rows is printed as its tag', () => {
  const insert = { command: 'INSERT', rowCount: 3, fields: [], rows: [] };
  expect(formatResult(insert, { isAligned: true, tuplesOnly: false })).toBe('INSERT 0 3\n');
  expect(formatResult({ ...insert, command: 'UPDATE' }, { isAligned: true, tuplesOnly: false })).toBe('UPDATE 3\n');
});

test.each([
  ['90', 90],
  ['15m', 900],
  ['12h', 43_200],
  ['30d', 2_592_000],
  ['0', null],
  ['-1', null],
  ['1y', null],
  ['99999d', null],
])('a lifetime of %s is %s seconds', (text, seconds) => {
  expect(parseDuration(text)).toBe(seconds);
});
