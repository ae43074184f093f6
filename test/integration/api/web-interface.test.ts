import { afterAll, beforeAll, expect, test } from 'vitest';

import { WEB_INTERFACE_CALLS, type WebInterfaceCall } from '../../support/tapis/web-interface-calls.ts';
import { ApiStand } from './api-stand.ts';

let stand: ApiStand;
beforeAll(async () => {
  stand = await ApiStand.start({ statusNames: 'tapis' });
  await stand.create('root', 'uidatabase', { pod_template: 'template/postgres' });
});
afterAll(() => stand.close());

/** What is at a path of a response; `*` is every entry. Undefined: nothing, or not in every one. */
function found(value: unknown, path: readonly string[]): unknown {
  const [first, ...rest] = path;
  if (first === undefined) return value;
  if (typeof value !== 'object' || value === null) return undefined;
  if (first !== '*') return found((value as Readonly<Record<string, unknown>>)[first], rest);
  const entries = Object.values(value).map((entry) => found(entry, rest));
  return entries.length === 0 || entries.includes(undefined) ? undefined : entries;
}

async function made({ method, path, body, file, isAdmin }: WebInterfaceCall): Promise<readonly [number, unknown]> {
  const form = new FormData();
  form.set('file', new Blob([file ?? '']), 'blob');
  const response = await fetch(`${stand.url}${path}`, {
    method,
    headers: {
      'X-Tapis-Token': await stand.token('root'),
      ...(body === undefined ? {} : { 'Content-Type': 'application/json' }),
      ...(isAdmin === true ? { 'X-Pods-Admin': 'true' } : {}),
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    ...(file === undefined ? {} : { body: form }),
  });
  return [response.status, await response.json()];
}

test('all calls of the pod pages are in the table', () => {
  // One file for each call.
  expect(new Set(WEB_INTERFACE_CALLS.map(({ name }) => name)).size).toBe(52);
  expect(WEB_INTERFACE_CALLS).toHaveLength(53);
});

test.each(WEB_INTERFACE_CALLS)('$name ($method $path)', async (call) => {
  if (call.name === 'startPod') await stand.overwrite('uipod', { status: 'STOPPED' });
  const [status, answer] = await made(call);
  expect(status, JSON.stringify(answer)).toBe(200);
  for (const path of call.reads) {
    // Null is something that it reads: when a pod has started that has not.
    expect([path, found(answer, path.split('.')) === undefined], JSON.stringify(answer)).toEqual([path, false]);
  }
});
