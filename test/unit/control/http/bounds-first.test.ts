import { expect, test } from 'vitest';
import { z } from 'zod';

import { boundedList, boundedRecord, boundedText } from '../../../../control/http/bounded.ts';
import { checkFields } from '../../../../control/http/field-checks.ts';
import { podSchemas } from '../../../../control/resources/pods/schema.ts';
import { LIMITS } from '../limits.ts';

const many = <T>(count: number, item: (index: number) => T): T[] => Array.from({ length: count }, (_, i) => item(i));
const record = (count: number, value: unknown, name = 'k'): object =>
  Object.fromEntries(many(count, (index) => [`${name}${index}`, value]));

test('input beyond its bound is not examined', () => {
  let examined = 0;
  const item = z.string().refine(() => {
    examined += 1;
    return false;
  }, 'is never good');
  const problemsOf = (field: z.ZodType, value: unknown) =>
    checkFields(z.strictObject({ field }), { field: value }).problems;
  expect(problemsOf(boundedList(item, 3), many(4, String))).toEqual(['field: must have at most 3 entries']);
  expect(problemsOf(boundedRecord(z.string(), item, { most: 3 }), record(4, 'x'))).toEqual([
    'field: must have at most 3 entries',
  ]);
  expect(
    problemsOf(
      boundedText(3).refine(() => (examined += 1) < 0, 'is never good'),
      'abcd',
    ),
  ).toEqual(['field: must have at most 3 characters']);
  expect(examined).toBe(0);
  expect(problemsOf(boundedList(item, 3), ['a'])).toEqual(['field.0: is never good']);
  expect(problemsOf(boundedList(item, 3), { a: 1 })).toEqual(['field: must be a list']);
  expect(problemsOf(boundedRecord(z.string(), item, { least: 1, most: 3 }), {})).toEqual([
    'field: must have at least 1 entries',
  ]);
  expect(problemsOf(boundedRecord(z.string(), item, { most: 3 }), ['a'])).toEqual(['field: must be an object']);
});

/** Each field of a pod with far more than it may have, of things that are all wrong. */
const HUGE: Readonly<Record<string, unknown>> = {
  pod_id: 'A'.repeat(500_000),
  pod_template: '\u00e9'.repeat(250_000),
  template: '\u00e9'.repeat(250_000),
  image: '\u00e9'.repeat(250_000),
  description: '\u00e9'.repeat(250_000),
  command: many(200_000, (index) => index),
  arguments: many(200_000, () => '\0'),
  environment_variables: record(40_000, 'v', '!'),
  data_requests: many(200_000, (index) => index),
  roles_required: many(200_000, (index) => index),
  status_requested: 'x'.repeat(500_000),
  volume_mounts: record(40_000, { type: 'x' }),
  time_to_stop_default: 'x'.repeat(500_000),
  time_to_stop_instance: 'x'.repeat(500_000),
  networking: record(40_000, { x: 1 }, 'S'),
  routing_port: 'x'.repeat(500_000),
  persistent_volume: 'x'.repeat(500_000),
  resources: record(40_000, 1),
  secret_map: record(40_000, 1),
  template_overrides: record(40_000, 1),
  compute_queue: 'x'.repeat(500_000),
  sleep: { after_seconds: 'x', probe_paths: many(200_000, () => 'x'), ...record(40_000, 1) },
};

test('every field of every body has its bound checked first, and no body gets more than 100 sentences', () => {
  const schemas = podSchemas(LIMITS);
  expect(Object.keys(HUGE).sort()).toEqual(Object.keys(schemas.NewPod.shape).sort());
  for (const [name, value] of Object.entries(HUGE)) {
    const startedMs = process.cpuUsage();
    const { problems } = checkFields(schemas.NewPod, { [name]: value });
    const { user, system } = process.cpuUsage(startedMs);
    expect(problems.length, name).toBeLessThanOrEqual(100);
    expect(problems.join('').length, name).toBeLessThan(20_000);
    // It took up to 380 ms where every entry was examined.
    expect((user + system) / 1_000, name).toBeLessThan(100);
  }
  const stanza = { ip_allow_list: many(60_000, (index) => `x${index}`), client_ca: 'x'.repeat(500_000) };
  expect(checkFields(schemas.NewPod, { networking: { default: stanza } }).problems).toEqual(
    expect.arrayContaining(['networking.default.ip_allow_list: must have at most 100 entries']),
  );
  const unknown = checkFields(schemas.NewPod, record(50_000, 1)).problems;
  expect(unknown).toHaveLength(100);
});
