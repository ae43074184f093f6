import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';

import { TAPIS_OPERATIONS } from '../../../control/resources/tapis/tapis-operations.ts';
import { TapisDocument } from '../../support/tapis/documents.ts';
import { ApiStand } from './api-stand.ts';

/** The rows of the table in docs/tapis-compatibility.md, by operation id. */
const PAGE = readFileSync(join(import.meta.dirname, '../../../docs/tapis-compatibility.md'), 'utf8');
const DOCUMENTED = new Map(
  [...PAGE.matchAll(/^\| `(\w+)` \| ([A-Z]+) `(\S+)` \| ([\w ]+) \| (yes|501) \|$/gm)].map(
    ([, operationId = '', method = '', path = '', level = '', served = '']) => [
      operationId,
      { method, path, level, isServed: served === 'yes' },
    ],
  ),
);

let stand: ApiStand;
beforeAll(async () => {
  // Each call is made without a token, too.
  stand = await ApiStand.start({ failedLogins: { perMinute: 1_000, burst: 1_000 } });
});
afterAll(async () => {
  await stand.close();
});

test('the page lists each of the 74 operations of 26Q1.1 once, and the program has the same list', () => {
  const known = TAPIS_OPERATIONS.map(({ operationId, method, path }) => [operationId, method.toUpperCase(), path]);
  expect(new Set(known.map(([operationId]) => operationId)).size).toBe(74);
  expect([...DOCUMENTED].map(([operationId, { method, path }]) => [operationId, method, path])).toEqual(known);
});

test.each(TAPIS_OPERATIONS)('$operationId is served, or refused with 501, as the page says', async (operation) => {
  const { operationId, method, path, isOpen } = operation;
  const { isServed, level } = DOCUMENTED.get(operationId) ?? {};
  const called = path.replaceAll(/\{(\w+)\}/g, (_, name: string) => PARAMETERS[name] ?? 'nothere');
  for (const prefix of ['', '/v3']) {
    const answer = await stand.call('alice', method.toUpperCase(), `${prefix}${called}`);
    if (isServed === true) {
      expect([405, 501]).not.toContain(answer.status);
      expect(String(answer.body.message)).not.toMatch(/nothing at this path/);
    } else {
      expect([answer.status, answer.body.message]).toEqual([
        501,
        expect.stringContaining(`(operation ${operationId})`),
      ]);
    }
    const anonymous = await stand.call(null, method.toUpperCase(), `${prefix}${called}`);
    expect(anonymous.status === 401).toBe(isOpen !== true);
    expect(level === 'no token').toBe(isOpen === true);
  }
});

const PARAMETERS: Readonly<Record<string, string>> = {
  status: '503',
  path: 'a/b%2Fc.txt',
  url_path: '%2Ftmp%2Fx',
  image_id: 'org%2Fimage',
};

test('below a reserved word, other methods return 405 and other paths 404', async () => {
  const patched = await stand.call('alice', 'PATCH', '/v3/pods/jupyter/ensure', {});
  expect([patched.status, patched.body.message]).toEqual([405, 'This path takes GET.']);
  const elsewhere = await stand.call('alice', 'GET', '/v3/pods/jupyter/start');
  expect([elsewhere.status, elsewhere.body.message]).toEqual([404, expect.stringContaining('is a reserved word')]);
});

test('HEAD never starts, stops or creates anything: operations whose GET does so refuse it', async () => {
  await stand.call('alice', 'POST', '/v3/pods', {
    pod_id: 'headpod',
    pod_template: 'postgres',
    status_requested: 'OFF',
  });
  for (const path of ['/pods/headpod/start', '/pods/headpod/stop', '/pods/headpod/restart', '/pods/jupyter/ensure']) {
    const head = await stand.call('alice', 'HEAD', `/v3${path}`);
    expect([path, head.status, head.headers.get('allow')]).toEqual([path, 405, expect.not.stringContaining('HEAD')]);
    expect(head.headers.get('allow')).toContain('GET');
  }
  const { result } = (await stand.call('alice', 'GET', '/v3/pods/headpod')).body;
  expect(result).toMatchObject({ status: 'STOPPED', status_requested: 'OFF' });
  expect((await stand.call('alice', 'HEAD', '/v3/pods/headpod')).status).toBe(200);
  expect((await stand.call('alice', 'GET', '/v3/pods/headpod/start')).status).toBe(200);
});

test('HEAD of the list of pods, which only 1.6.0 has, works', async () => {
  expect((await stand.call('alice', 'HEAD', '/v3/pods')).status).toBe(200);
});

test('operations that this release does not have are not in its OpenAPI document', async () => {
  const { paths } = stand.api.openApi as { paths: Record<string, Record<string, unknown>> };
  const shapes = new Set(
    Object.entries(paths).flatMap(([path, methods]) => Object.keys(methods).map((method) => shapeOf(method, path))),
  );
  for (const { operationId, method, path } of TAPIS_OPERATIONS) {
    expect([operationId, shapes.has(shapeOf(method, path))]).toEqual([
      operationId,
      DOCUMENTED.get(operationId)?.isServed,
    ]);
  }
});

/** It asks for the content of files, which volume mounts cannot have here. */
const WITHOUT_EFFECT = ['include_configs'];

test('no parameter that Tapis documents is silently ignored', () => {
  type Documented = { readonly parameters?: readonly { readonly name: string; readonly description?: string }[] };
  const { paths } = stand.api.openApi as { paths: Record<string, Record<string, Documented>> };
  const ours = new Map(
    Object.entries(paths).flatMap(([path, methods]) =>
      Object.entries(methods).map(([method, { parameters = [] }]) => [shapeOf(method, path), parameters]),
    ),
  );
  let count = 0;
  for (const version of ['1.6.0', '26Q1.1'] as const) {
    for (const { operationId, method, path, parameters = [] } of new TapisDocument(version).operations) {
      const served = ours.get(shapeOf(method, path));
      if (served === undefined) continue;
      for (const { name } of parameters.filter((each) => each.in === 'query')) {
        const found = served.find((each) => each.name === name);
        const isWithoutEffect = found?.description?.startsWith('Accepted, without effect: ');
        expect([operationId, name, isWithoutEffect]).toEqual([operationId, name, WITHOUT_EFFECT.includes(name)]);
        count += 1;
      }
    }
  }
  expect(count).toBeGreaterThanOrEqual(20);
});

function shapeOf(method: string, path: string): string {
  return `${method} ${path.replaceAll(/\{\w+\}/g, '{}')}`;
}
