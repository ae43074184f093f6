import { expect, test } from 'vitest';

import { parseStrictJson } from '../../../control/http/strict-json.ts';

test.each([
  '{}',
  '[]',
  '"a"',
  '7',
  'null',
  '{"a":{"a":[{"a":1},{"a":2}]},"b":"a"}',
  '{"a":"{\\"a\\":1,\\"a\\":2}","b":"\\\\","c":"\\\\\\"","d":[",","a",":"]}',
  ' { "a" : [ ] , "A" : { } } ',
  '{"a":"\\ud83d\\ude00","b":"\\\\ud800","\\uD83D\\uDE00":"\ufffd"}',
  '{"":1,"\\u0000":2}',
])('%s is what JSON.parse makes of it', (text) => {
  expect(parseStrictJson(text)).toEqual({ kind: 'value', value: JSON.parse(text) as unknown });
});

test.each(['', '{', '{"a"}', '{a:1}', "{'a':1}", '[1,]', '{"a":1,}', 'NaN', '01', '"\t"', '"', '\ufeff{}', '{"a":1}}'])(
  '%j is malformed',
  (text) => {
    expect(parseStrictJson(text)).toEqual({ kind: 'malformed' });
  },
);

test.each([
  ['{"a":1,"a":1}', ['"a": is there twice in the same object']],
  ['{"a":1,"\\u0061":1}', ['"a": is there twice in the same object']],
  ['[{"x":{"b":[],"c":{},"b":[]}}]', ['"b": is there twice in the same object']],
  [
    '{"__proto__":1,"prototype":2,"constructor":3}',
    ['__proto__', 'prototype', 'constructor'].map((name) => `"${name}": this name is not allowed`),
  ],
  ['{"\\u005f_proto__":1}', ['"__proto__": this name is not allowed']],
  [`${'['.repeat(17)}${']'.repeat(17)}`, ['the body is nested deeper than 16 levels']],
  [`{"${'k'.repeat(100)}":1,"${'k'.repeat(100)}":1}`, [`"${'k'.repeat(64)}": is there twice in the same object`]],
])('%s is refused', (text, problems) => {
  expect(parseStrictJson(text)).toEqual({ kind: 'refused', problems });
});

test.each([
  ['"\\ud800"', ['body']],
  ['{"secret_value":"a\\uD83D","b":"\\ude00\\ud83d"}', ['secret_value', 'b']],
  ['{"a":{"b":["","\\udfff"]}}', ['a.b.1']],
  ['{"a":{"\\ud800":1}}', ['a."\\ud800": the name']],
])('half a surrogate pair in %s is refused with the name of its field', (text, fields) => {
  const problem = expect.stringContaining('half of a UTF-16 surrogate pair') as string;
  expect(parseStrictJson(text)).toEqual({ kind: 'refused', problems: fields.map(() => problem) });
  const { problems } = parseStrictJson(text) as { readonly problems: readonly string[] };
  for (const [index, field] of fields.entries()) expect(problems[index]).toContain(field);
});

test('half a megabyte of brackets, quotes or names costs little time and no stack', () => {
  const started = performance.now();
  expect(parseStrictJson('['.repeat(500_000)).kind).toBe('refused');
  expect(parseStrictJson(`${'['.repeat(250_000)}${']'.repeat(250_000)}`).kind).toBe('refused');
  expect(parseStrictJson(`"${'\\"'.repeat(250_000)}"`).kind).toBe('value');
  const names = (count: number) => Array.from({ length: count }, (_, index) => `"k${index}":0`).join(',');
  expect(parseStrictJson(`{${names(50_000)}}`)).toEqual({
    kind: 'refused',
    problems: ['the body has more than 10000 names and values'],
  });
  expect(parseStrictJson(`{${names(4_000)}}`).kind).toBe('value');
  expect(performance.now() - started).toBeLessThan(3_000);
});
