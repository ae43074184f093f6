import { readFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';

import { OWN_FIELDS } from '../../support/tapis/intended-differences.ts';
import { until } from '../../support/until.ts';
import { WireCheck } from '../../support/tapis/wire-check.ts';

/** Does the check that all tests of the API go through see what it is for? */
let server: Server;
let check: WireCheck;
let calls: number;
let answer: { status: number; body: unknown };
beforeEach(async () => {
  server = createServer((request, response) => {
    request.resume().on('end', () => {
      response.statusCode = answer.status;
      response.setHeader('Content-Type', 'application/json');
      response.end(JSON.stringify(answer.body));
    });
  });
  check = new WireCheck(server);
  calls = 0;
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
});
afterEach(() => {
  server.close();
  server.closeAllConnections();
});

const envelope = (result: unknown) => ({ message: 'x', metadata: {}, result, status: 'success', version: '1' });

async function seen(method: string, path: string, status: number, body: unknown, sent?: object): Promise<string> {
  answer = { status, body };
  calls += 1;
  const { port } = server.address() as AddressInfo;
  const response = await fetch(`http://127.0.0.1:${port}${path}`, {
    method,
    ...(sent === undefined ? {} : { body: JSON.stringify(sent) }),
  });
  await response.text();
  // The check is made when the last byte has been handed over.
  await until('the response has been checked', () => check.count === calls);
  return check.unintended.join('\n');
}

test('accepts a pod as both documents define it, a list of pods, and an error', async () => {
  const pod = { pod_id: 'mypod', pod_template: 'x', time_to_stop_ts: null };
  expect(await seen('GET', '/v3/pods/mypod', 200, envelope(pod))).toBe('');
  expect(await seen('GET', '/v3/pods', 200, envelope([pod]))).toBe('');
  const refusal = { ...envelope(null), status: 'error', message: ['pod_id: is required'] };
  expect(await seen('GET', '/pods/mypod', 404, refusal)).toBe('');
  // It is no pod.
  expect(await seen('GET', '/v3/pods/certificates', 200, envelope({ anything: 1 }))).toBe('');
});

test.each([
  ['a field that no document has', envelope({ pod_id: 'mypod', colour: 'red' }), '"field":"colour"'],
  ['a field of another type', envelope({ pod_id: 'mypod', description: 7 }), 'PodResponseModel.description'],
  ['one entry of a map', envelope({ pod_id: 'mypod', networking: { default: { port: 'x' } } }), 'Networking.port'],
  ['no field that is required', envelope({}), '"field":"pod_id"'],
  ['no envelope', { pod_id: 'mypod' }, '"field":"message"'],
])('a response with %s is reported', async (_, body, difference) => {
  expect(await seen('GET', '/v3/pods/mypod', 200, body)).toContain(difference);
});

test('fields of a request that are not in the documents are reported once it is accepted', async () => {
  const done = envelope({ pod_id: 'mypod', pod_template: 'x' });
  const sent = { pod_id: 'mypod', pod_template: 'x', colour: 'red' };
  expect(await seen('POST', '/v3/pods', 400, { ...done, status: 'error', result: null }, sent)).toBe('');
  expect(await seen('POST', '/v3/pods', 200, done, sent)).toMatch(/create_pod: .*"colour"/);
});

test('an error without the envelope is reported', async () => {
  expect(await seen('GET', '/v3/pods/mypod', 500, { detail: 'x' })).toContain('not an envelope');
});

test('docs/tapis-compatibility.md names every field that Podgate adds', () => {
  const page = readFileSync(join(import.meta.dirname, '../../../docs/tapis-compatibility.md'), 'utf8');
  const fields = new Set(Object.values(OWN_FIELDS).flat());
  expect([...fields].filter((field) => !page.includes(`\`${field}\``))).toEqual([]);
});
