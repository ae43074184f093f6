import { expect, test } from 'vitest';
import { z } from 'zod';

import { camelCase, camelFields, snakeCase } from '../../../control/http/camel-fields.ts';
import { wireFields, wireName } from '../../../control/resources/pods/wire-names.ts';

const schema = z.strictObject({
  time_to_stop: z.int().optional(),
  by_name: z
    .preprocess((value) => value ?? undefined, z.record(z.string(), z.strictObject({ mount_path: z.string() })))
    .nullable(),
  some_words: z.array(z.string()),
});

test('fields of objects get names in camel case at every depth; names that users chose stay unchanged', () => {
  const checked = schema.parse({ by_name: { my_volume: { mount_path: '/a_b' } }, some_words: ['a_b'] });
  expect(camelFields(schema, checked)).toEqual({ byName: { my_volume: { mountPath: '/a_b' } }, someWords: ['a_b'] });
});

test('a missing field stays missing, and null stays null', () => {
  expect(camelFields(schema, { time_to_stop: undefined, by_name: null, some_words: [] })).toEqual({
    byName: null,
    someWords: [],
  });
});

test('names convert from one form to the other and back', () => {
  for (const name of ['pod_id', 'time_to_stop_default', 'tls']) expect(snakeCase(camelCase(name))).toBe(name);
});

test('fields of a record have the names that users see', () => {
  expect(wireName('sendProxyProtocol')).toBe('proxy_protocol');
  expect(wireFields({ cpuLimit: 1, uiUri: '/' })).toEqual({ cpu_limit: 1, tapis_ui_uri: '/' });
});
