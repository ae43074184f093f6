import { expect, test } from 'vitest';
import { JsonLines } from '../../../core/json-lines.ts';

function readAll(chunks: readonly string[], maxLength = 100): { values: unknown[]; state: string } {
  const values: unknown[] = [];
  const lines = new JsonLines(maxLength);
  let state = 'more';
  for (const chunk of chunks) state = lines.read(chunk, (value) => values.push(value) > 0);
  return { values, state };
}

const TEXT = '{"a":1}\n[2]\n"three"\nnull\n';

test('lines are the same wherever the text is cut', () => {
  const whole = readAll([TEXT]);
  expect(whole).toEqual({ values: [{ a: 1 }, [2], 'three', null], state: 'more' });
  for (let at = 0; at <= TEXT.length; at++) expect(readAll([TEXT.slice(0, at), TEXT.slice(at)])).toEqual(whole);
  expect(readAll([...TEXT])).toEqual(whole);
});

test('a line without its end waits for more', () => {
  expect(readAll(['{"a":', '1}'])).toEqual({ values: [], state: 'more' });
});

test('a line that is not JSON is undefined, and the next one is read', () => {
  expect(readAll(['{"a":\nno\0\n\n1\n'])).toEqual({ values: [undefined, undefined, 1], state: 'more' });
});

test('a line within the bound is read, a longer one is not, complete or not, and nothing after it', () => {
  expect(readAll(['12345678\n'], 8)).toEqual({ values: [12_345_678], state: 'more' });
  expect(readAll(['123456789'], 8)).toEqual({ values: [], state: 'too-long' });
  expect(readAll(['1\n123456789\n2\n', '3\n'], 8)).toEqual({ values: [1], state: 'too-long' });
  expect(readAll(['12345', '6789'], 8)).toEqual({ values: [], state: 'too-long' });
});

test('a consumer that has had enough gets nothing more', () => {
  const lines = new JsonLines(10);
  const values: unknown[] = [];
  const take = (value: unknown): boolean => {
    values.push(value);
    return value !== 2;
  };
  expect(lines.read('1\n2\n3\n', take)).toBe('stopped');
  expect(lines.read('4\n', take)).toBe('stopped');
  expect(values).toEqual([1, 2]);
});

test('what the consumer throws is passed on, and the line is not read again', () => {
  const lines = new JsonLines(10);
  const values: unknown[] = [];
  expect(() => lines.read('1\n', () => expect.fail('stop'))).toThrow('stop');
  lines.read('2\n', (value) => values.push(value) > 0);
  expect(values).toEqual([2]);
});
