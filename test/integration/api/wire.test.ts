import { connect, type Socket } from 'node:net';
import { afterEach, beforeEach, expect, test } from 'vitest';

import { DEFAULT_OPERATION_LIMITS } from '../../../control/http/operation.ts';
import { BAD_NEW_PODS, BAD_UPDATES } from '../../unit/control/bad-pods.ts';
import { type Answer, ApiStand } from './api-stand.ts';

const BODY_TIMEOUT_MS = 300;
const BODY_MAX_BYTES = DEFAULT_OPERATION_LIMITS.bodyBytes;

let stand: ApiStand;
beforeEach(async () => {
  stand = await ApiStand.start({ operationLimits: { ...DEFAULT_OPERATION_LIMITS, bodyTimeoutMs: BODY_TIMEOUT_MS } });
});
afterEach(async () => {
  await stand.close();
});

const GOOD = { pod_id: 'mypod', pod_template: 'podgate/process', command: ['node', 'server.js'] };
const post = (body: unknown, headers: Record<string, string> = {}) =>
  stand.call('alice', 'POST', '/v3/pods', body, headers);

/** The sentences of a validation error. */
function sentencesOf({ body }: Answer): readonly string[] {
  return typeof body.message === 'string' ? [] : body.message;
}

/** Neither a record, nor credentials, nor a due key. */
async function expectNothingCreated(): Promise<void> {
  const { store, queue } = stand.database;
  expect(await store.identity()).toMatchObject({ commits: 0 });
  expect(await queue.stats()).toEqual({ due: 0, delayed: 0, leased: 0, parked: 0 });
}

/** All that a raw connection answers until it is closed, with the head apart. */
async function raw(write: (socket: Socket) => void): Promise<{ head: string; body: Record<string, unknown> }> {
  const socket = connect(stand.port, '127.0.0.1');
  let received = '';
  socket.setEncoding('utf8').on('data', (chunk: string) => (received += chunk));
  write(socket);
  await new Promise((resolve) => socket.on('close', resolve).on('error', () => undefined));
  const [head = '', body = ''] = received.split('\r\n\r\n');
  return { head, body: JSON.parse(body === '' ? '{}' : body) as Record<string, unknown> };
}

const headOf = async (...lines: string[]): Promise<string> =>
  ['POST /v3/pods HTTP/1.1', 'Host: localhost', `X-Tapis-Token: ${await stand.token('alice')}`, ...lines, '', ''].join(
    '\r\n',
  );

test('every bad body returns 400 with a list of the fields, and changes nothing', async () => {
  for (const [what, change, ...fields] of BAD_NEW_PODS) {
    const answer = await post({ ...GOOD, ...change });
    expect([what, answer.status, answer.body.status]).toEqual([what, 400, 'error']);
    expect(Object.keys(answer.body).sort()).toEqual(['message', 'metadata', 'result', 'status', 'version']);
    for (const field of fields) {
      expect(
        sentencesOf(answer).some((sentence) => sentence.startsWith(field)),
        `${what}: ${field}`,
      ).toBe(true);
    }
  }
  await expectNothingCreated();
});

test('every bad update returns 400 and leaves the pod unchanged', async () => {
  await post(GOOD);
  const before = await stand.record('mypod');
  for (const [what, change] of BAD_UPDATES) {
    const answer = await stand.call('alice', 'PUT', '/v3/pods/mypod', change);
    expect([what, answer.status, Array.isArray(answer.body.message)]).toEqual([what, 400, true]);
  }
  expect(await stand.record('mypod')).toEqual(before);
});

test.each([
  ['an empty body', '', 'A JSON body is needed.'],
  ['white space', ' \r\n ', 'A JSON body is needed.'],
  ['half a body', '{"pod_id": "my', 'The body is not valid JSON.'],
  ['two bodies', '{}{}', 'The body is not valid JSON.'],
  ['NaN', '{"pod_id": NaN}', 'The body is not valid JSON.'],
  ['a comment', '{/* */}', 'The body is not valid JSON.'],
  ['a form', 'pod_id=mypod', 'The body is not valid JSON.'],
])('%s returns 400 and says that it is not JSON', async (_, body, message) => {
  const answer = await post(body);
  expect([answer.status, answer.body.message]).toEqual([400, message]);
  await expectNothingCreated();
});

test.each([
  ['duplicate names', '{"pod_id":"mypod","pod_template":"podgate/hello","pod_id":"other"}', '"pod_id": is there twice'],
  ['duplicates by an escape', '{"pod_id":"mypod","pod\\u005fid":"other"}', '"pod_id": is there twice'],
  ['duplicates inside', '{"pod_id":"mypod","resources":{"gpus":0,"gpus":1}}', '"gpus": is there twice'],
  ['__proto__', '{"pod_id":"mypod","__proto__":{"pod_template":"neo4j"}}', '"__proto__": this name is not allowed'],
  ['constructor', '{"environment_variables":{"constructor":"x"}}', '"constructor": this name is not allowed'],
  ['prototype inside', '{"a":[{"b":{"prototype":1}}]}', '"prototype": this name is not allowed'],
  ['half a million brackets', '['.repeat(500_000), 'the body is nested deeper than 16 levels'],
  ['depth', `{"pod_id":${'['.repeat(200)}${']'.repeat(200)}}`, 'the body is nested deeper than 16 levels'],
  [
    'a number without end',
    '{"pod_id":"mypod","pod_template":"podgate/hello","time_to_stop_default":1e400}',
    'time_to_stop_default: must be',
  ],
  [
    'a long number',
    `{"pod_id":"mypod","pod_template":"podgate/hello","routing_port":${'9'.repeat(400)}}`,
    'routing_port: must be',
  ],
])('%s returns 400 with its name', async (_, body, sentence) => {
  const answer = await post(body);
  expect(answer.status).toBe(400);
  expect(
    sentencesOf(answer).some((message) => message.startsWith(sentence)),
    JSON.stringify(answer.body),
  ).toBe(true);
  await expectNothingCreated();
  expect(({} as Record<string, unknown>)['pod_template']).toBeUndefined();
});

test('bytes that are not UTF-8 return 400', async () => {
  const response = await fetch(`${stand.url}/v3/pods`, {
    method: 'POST',
    headers: { 'X-Tapis-Token': await stand.token('alice'), 'Content-Type': 'application/json' },
    body: Buffer.from([0x22, 0xff, 0x22]),
  });
  expect([response.status, await response.json()]).toMatchObject([400, { message: 'The body is not valid UTF-8.' }]);
});

test('another content type, charset or encoding returns 415; JSON in any spelling is accepted', async () => {
  for (const type of [
    'text/plain',
    'application/x-www-form-urlencoded',
    'multipart/form-data; boundary=x',
    'application/json; charset=latin1',
  ]) {
    expect([type, (await post(JSON.stringify(GOOD), { 'Content-Type': type })).status]).toEqual([type, 415]);
  }
  expect((await post(GOOD, { 'Content-Encoding': 'gzip' })).status).toBe(415);
  await expectNothingCreated();
  expect((await post(GOOD, { 'Content-Type': 'Application/JSON; charset="UTF-8"' })).status).toBe(200);
  // As many clients write it, though the registered name is utf-8.
  for (const [index, charset] of ['utf8', 'UTF8', '"utf8"'].entries()) {
    const answer = await post(
      { ...GOOD, pod_id: `utf8n${index}` },
      { 'Content-Type': `application/json;charset=${charset}` },
    );
    expect([charset, answer.status]).toEqual([charset, 200]);
  }
});

test('a body that is too large returns 413, declared or not, and a client that sends a megabyte can still read it', async () => {
  const large = await post({ ...GOOD, description: 'x'.repeat(1024 * 1024) });
  expect([large.status, large.body.message]).toEqual([413, `The body is larger than ${BODY_MAX_BYTES} bytes.`]);
  const undeclared = await fetch(`${stand.url}/v3/pods`, {
    method: 'POST',
    headers: { 'X-Tapis-Token': await stand.token('alice'), 'Content-Type': 'application/json' },
    body: new Blob(['x'.repeat(1024 * 1024)]).stream(),
    duplex: 'half',
  });
  expect(undeclared.status).toBe(413);
  await expectNothingCreated();
});

test('a body declared far too large returns 413 before a byte of it is sent', async () => {
  const request = await headOf('Content-Type: application/json', 'Content-Length: 99999999999');
  const { head, body } = await raw((socket) => socket.write(request));
  expect(head).toMatch(/^HTTP\/1\.1 413 /);
  expect(head).toMatch(/connection: close/i);
  expect(body).toMatchObject({ status: 'error', result: null });
});

test('an endless body returns 413 and closes the connection', async () => {
  const request = await headOf('Content-Type: application/json', 'Transfer-Encoding: chunked');
  let sender: ReturnType<typeof setInterval> | undefined;
  const { head } = await raw((socket) => {
    socket.write(request);
    const chunk = `10000\r\n${'x'.repeat(65_536)}\r\n`;
    sender = setInterval(() => {
      if (socket.writable && socket.writableLength < 1_000_000) socket.write(chunk.repeat(8));
    }, 1);
  });
  clearInterval(sender);
  // The connection may break before the answer is read: then at least it is closed.
  expect(head === '' || head.startsWith('HTTP/1.1 413 ')).toBe(true);
  await expectNothingCreated();
});

test('a body that arrives too slowly returns 408, however steadily', async () => {
  const request = await headOf('Content-Type: application/json', 'Content-Length: 1000');
  let sender: ReturnType<typeof setInterval> | undefined;
  const startedMs = performance.now();
  const { head, body } = await raw((socket) => {
    socket.write(request);
    sender = setInterval(() => {
      if (socket.writable) socket.write(' ');
    }, 20);
  });
  clearInterval(sender);
  expect(head).toMatch(/^HTTP\/1\.1 408 /);
  expect(body).toMatchObject({ status: 'error', message: 'The body did not arrive in time.' });
  expect(performance.now() - startedMs).toBeLessThan(5_000);
  await expectNothingCreated();
});

test('a client that leaves in the middle of the body changes nothing', async () => {
  const request = await headOf('Content-Type: application/json', 'Content-Length: 1000');
  const socket = connect(stand.port, '127.0.0.1');
  socket.write(`${request}{"pod_id":"mypod"`);
  await new Promise((resolve) => setTimeout(resolve, 50));
  socket.destroy();
  await expect.poll(() => stand.logLines.filter((line) => line.startsWith('api request')).length).toBe(1);
  await expectNothingCreated();
});

test.each([
  ['TLS', Buffer.from('16030100a5010000a1', 'hex'), 400],
  ['nonsense', Buffer.from('hello\r\n\r\n'), 400],
  [
    'two lengths',
    Buffer.from('POST /v3/pods HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n'),
    400,
  ],
  ['no host', Buffer.from('GET /v3/pods HTTP/1.1\r\n\r\n'), 400],
  ['endless headers', Buffer.from(`GET / HTTP/1.1\r\nHost: a\r\nX: ${'x'.repeat(40_000)}\r\n\r\n`), 431],
])('%s instead of HTTP is answered in HTTP and closed', async (what, bytes, status) => {
  const { head, body } = await raw((socket) => socket.end(bytes));
  expect(head).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
  if (what !== 'no host') expect(body).toMatchObject({ status: 'error', result: null, version: '1.2.3' });
});

test('every response has a request ID, and a valid one of the request is kept', async () => {
  const given = await stand.call(null, 'GET', '/v3/healthcheck', undefined, { 'X-Request-Id': 'abc-1.2_3' });
  expect(given.headers.get('x-request-id')).toBe('abc-1.2_3');
  const odd = await stand.call(null, 'GET', '/v3/nothing', undefined, { 'X-Request-Id': 'a b<script>' });
  expect(odd.headers.get('x-request-id')).toMatch(/^[0-9a-f-]{36}$/);
  expect(odd.headers.get('access-control-allow-origin')).toBeNull();
  expect(odd.headers.get('cache-control')).toBe('no-store');
});

test('health, readiness and the error handler need no token and use the envelope', async () => {
  for (const path of ['/v3/healthcheck', '/healthcheck', '/healthz', '/readyz']) {
    expect([path, (await stand.call(null, 'GET', path)).status]).toEqual([path, 200]);
  }
  expect((await stand.call(null, 'GET', '/v3/healthcheck')).body.message).toBe("I promise I'm healthy.");
  stand.readiness = async () => ({ ok: false, detail: { store: 'suspect' } });
  const unready = await stand.call(null, 'GET', '/readyz');
  expect([unready.status, unready.body]).toMatchObject([503, { status: 'error', result: { store: 'suspect' } }]);
  stand.readiness = async () => {
    throw new Error('secret address');
  };
  const failing = await stand.call(null, 'GET', '/readyz');
  expect(failing.status).toBe(503);
  expect(JSON.stringify(failing.body)).not.toContain('secret');
  expect((await stand.call(null, 'GET', '/healthz')).status).toBe(200);
  const handled = await stand.call(null, 'GET', '/v3/error-handler/502');
  expect([handled.status, handled.body.status, typeof handled.body.result]).toEqual([502, 'error', 'string']);
  for (const status of ['200', '600', 'x', '4040']) {
    expect((await stand.call(null, 'GET', `/v3/error-handler/${status}`)).status).toBe(400);
  }
});

test('without the store, every call returns 503 with the reason and Retry-After', async () => {
  await post(GOOD);
  stand.database.close();
  for (const [method, path, body] of [
    ['GET', '/v3/pods'],
    ['GET', '/v3/pods/mypod'],
    ['PUT', '/v3/pods/mypod', { description: 'x' }],
    ['POST', '/v3/pods', { ...GOOD, pod_id: 'other' }],
    ['GET', '/v3/pods/mypod/stop'],
    ['GET', '/v3/pods/mypod/logs'],
    ['GET', '/v3/pods/mypod/credentials'],
    ['DELETE', '/v3/pods/mypod'],
  ] as const) {
    const answer = await stand.call('alice', method, path, body);
    expect([method, path, answer.status, answer.body.message]).toEqual([
      method,
      path,
      503,
      'The store does not respond. Try again soon.',
    ]);
    expect(answer.headers.get('retry-after')).toBe('2');
  }
  expect((await stand.call(null, 'GET', '/healthz')).status).toBe(200);
});

test('an unexpected error returns 500 without its text, which is logged with the request ID', async () => {
  await post(GOOD);
  stand.routable = async () => {
    throw new Error('the password is xyzzy');
  };
  const answer = await stand.call('alice', 'GET', '/v3/pods/mypod/start?wait=routable');
  expect(answer.status).toBe(500);
  expect(JSON.stringify(answer.body)).not.toContain('xyzzy');
  expect(stand.logLines.some((line) => line.includes('xyzzy'))).toBe(true);
});

test('the OpenAPI document is version 3.1, describes every operation, and has no dangling reference', async () => {
  const response = await fetch(`${stand.url}/openapi.json`);
  const document = (await response.json()) as {
    openapi: string;
    paths: Record<string, Record<string, { operationId: string }>>;
    components: { schemas: Record<string, unknown> };
  };
  expect(document).toEqual(stand.api.openApi);
  expect(document.openapi).toBe('3.1.0');
  const ids = Object.values(document.paths).flatMap((methods) =>
    Object.values(methods).map(({ operationId }) => operationId),
  );
  expect(new Set(ids).size).toBe(ids.length);
  expect(ids).toEqual(
    expect.arrayContaining([
      'get_pods',
      'create_pod',
      'get_pod',
      'update_pod',
      'delete_pod',
      'start_pod',
      'stop_pod',
      'restart_pod',
      'get_pod_logs',
      'get_pod_credentials',
      'get_pod_permissions',
      'set_pod_permission',
      'delete_pod_permission',
      'healthcheck',
    ]),
  );
  const references = [...JSON.stringify(document).matchAll(/"\$ref":"([^"]+)"/g)].map(
    ([, reference]) => reference ?? '',
  );
  expect(references.length).toBeGreaterThan(20);
  for (const reference of references) {
    const name = reference.replace('#/components/schemas/', '');
    expect(Object.keys(document.components.schemas)).toContain(name);
  }
  expect(document.components.schemas['NewPod']).toMatchObject({
    additionalProperties: false,
    required: ['pod_id'],
    properties: { routing_port: { minimum: 10, maximum: 65_535 }, pod_id: { maxLength: 63 } },
  });
});
