import * as api16 from '@tapis/tapis-typescript-pods';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as api18 from 'tapis-pods-1.8';
import { afterEach, beforeEach, expect, test } from 'vitest';

import { preparedTapipy } from '../../scripts/setup/cache.mjs';
import { publishJupyter } from '../support/jupyter-template.ts';
import { Program } from '../support/program.ts';
import { run } from '../support/run.ts';
import { type ClientCall, everyCall } from './clients/every-operation.ts';

/** By design: docs/tapis-compatibility.md says which. */
const PAGE = readFileSync(join(import.meta.dirname, '../../docs/tapis-compatibility.md'), 'utf8');
const NOT_SERVED = new Set([...PAGE.matchAll(/^\| `(\w+)` \|.*\| 501 \|$/gm)].map(([, operation = '']) => operation));
/** Clients of 1.6.0 have these under other names. */
const OLD_NAMES = new Map([
  ['list_pods', 'get_pods'],
  ['list_volumes', 'get_volumes'],
  ['list_snapshots', 'get_snapshots'],
]);

let program: Program;
let directory: string;
beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'podgate-config-'));
  const file = join(directory, 'podgate.yaml');
  writeFileSync(file, 'status_names: tapis\n');
  program = await Program.start({ workers: 1, env: { PODGATE_CONFIG: file } });
  await publishJupyter(program, 'podgate/hello');
});
afterEach(async () => {
  await program.dispose();
  rmSync(directory, { recursive: true, force: true });
});

type Method = (request?: object) => Promise<unknown>;

/** The operations of a package, by their names in the document. */
function operationsOf(module: object, configuration: unknown): Map<string, Method> {
  const operations = new Map<string, Method>();
  for (const [name, exported] of Object.entries(module) as [string, new (configuration: unknown) => object][]) {
    if (!/^[A-Z]\w+Api$/.test(name)) continue;
    const api = new exported(configuration);
    for (const method of Object.getOwnPropertyNames(exported.prototype)) {
      if (method === 'constructor' || method.endsWith('Raw')) continue;
      operations.set(snakeCase(method), (Reflect.get(api, method) as Method).bind(api));
    }
  }
  return operations;
}

const snakeCase = (name: string): string => name.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
const camelCase = (name: string): string => name.replaceAll(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());

function argumentsOf({ params = {}, body, file }: ClientCall): object {
  return {
    ...Object.fromEntries(Object.entries(params).map(([name, value]) => [camelCase(name), value])),
    ...(body === undefined ? {} : { [camelCase(body[0])]: body[1] }),
    ...(file === undefined ? {} : { file: new Blob([file]) }),
  };
}

/** What a generated client got, in a word. */
async function outcomeOf(call: Promise<unknown>): Promise<string> {
  try {
    const got = await call;
    // What has no schema in the document is handed out as text.
    const envelope = typeof got === 'string' && got.startsWith('{') ? (JSON.parse(got) as unknown) : got;
    if (typeof envelope === 'string' || envelope === undefined) return envelope ?? '';
    const { status, message } = envelope as { readonly status: string; readonly message: string };
    return status === 'success' ? status : `${status}: ${message}`;
  } catch (error) {
    if (!(error instanceof Response)) throw error;
    const text = await error.text();
    return error.status === 501 ? '501' : `${error.status}: ${text}`;
  }
}

function expectedOf(operation: string): string {
  if (NOT_SERVED.has(operation)) return '501';
  if (operation === 'error_handler') return expect.stringMatching(/^503: /) as string;
  // Of a pod without a login, and without a login under way.
  if (operation === 'pod_auth') return expect.stringMatching(/^404: /) as string;
  if (operation === 'pod_auth_callback') return expect.stringMatching(/^404: /) as string;
  // HEAD has no body.
  if (operation === 'get_pods_pods_head') return '';
  return /^get_(volume|snapshot)_contents$/.test(operation) ? 'notes' : 'success';
}

test.each([
  ['0.0.2 (API 1.6.0)', api16, 36, { pod_template: 'template/postgres' }],
  ['0.0.8 (API 1.8.4)', api18, 62, { template: 'template/postgres' }],
] as const)('@tapis/tapis-typescript-pods %s: every operation works', async (_, module, count, pod) => {
  const configuration = new module.Configuration({
    basePath: `http://127.0.0.1:${program.controlPort}`,
    headers: { 'X-Tapis-Token': program.token },
    fetchApi: fetch,
  });
  const operations = operationsOf(module, configuration);
  expect(operations.size).toBe(count);
  const called = new Map<string, string>();
  for (const call of everyCall(pod)) {
    const operation = operations.get(call.operation) ?? operations.get(OLD_NAMES.get(call.operation) ?? '');
    if (operation === undefined) continue;
    if (call.when !== undefined) await program.podStatus(String(call.params?.['pod_id'] ?? 'everypod'), call.when);
    called.set(call.operation, await outcomeOf(operation(argumentsOf(call))));
  }
  expect(Object.fromEntries(called)).toEqual(
    Object.fromEntries([...called.keys()].map((operation) => [operation, expectedOf(operation)])),
  );
  expect([...called.keys()].map((name) => (operations.has(name) ? name : OLD_NAMES.get(name))).sort()).toEqual(
    [...operations.keys()].sort(),
  );
});

test('tapipy: every operation of pods works', async () => {
  const client = join(import.meta.dirname, 'clients/every-operation.py');
  const calls = everyCall({ template: 'template/postgres' });
  const { stdout, stderr } = await run('python3', [client, `https://localhost:${program.httpsPort}`, program.caPath], {
    env: { PYTHONPATH: preparedTapipy(), PYTHONDONTWRITEBYTECODE: '1', PODS_TOKEN: program.token },
    input: JSON.stringify(calls),
    timeoutMs: 150_000,
  });
  const said = new Map(
    stdout.split('\n').flatMap((line) => (line === '' ? [] : [JSON.parse(line) as [string, string]])),
  );
  expect(said.get('not called'), stderr).toEqual([]);
  said.delete('not called');
  expect(Object.fromEntries(said)).toEqual(
    Object.fromEntries([...said.keys()].map((operation) => [operation, expectedOf(operation)])),
  );
});
