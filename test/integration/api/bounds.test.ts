import { once } from 'node:events';
import { createServer } from 'node:http';
import { connect, type AddressInfo, type Socket } from 'node:net';
import { afterEach, expect, test } from 'vitest';

import { DEFAULT_CALL_LIMITS } from '../../../control/http/limits/call-admission.ts';
import type { ApiOptions } from '../../../control/api.ts';
import { metricsEndpoint } from '../../../control/metrics/metrics-endpoint.ts';
import { controlHostNames } from '../../../control/http/known-hosts.ts';
import { pause } from '../../../core/abort.ts';
import type { RoutableAnswer } from '../../../core/feed-protocol.ts';
import { PodgateError } from '../../../core/errors.ts';
import { podPut } from '../../../core/pod-put.ts';
import { podRecord } from '../../support/pod-records.ts';
import { until } from '../../support/until.ts';
import { ApiStand } from './api-stand.ts';

const MIB = 1024 * 1024;
let stand: ApiStand;
const ends: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

async function start(change: Partial<ApiOptions> = {}): Promise<void> {
  stand = await ApiStand.start(change);
  ends.push(() => stand.close());
}

/** A connection that has asked and does not read. */
async function askUnread(port: number, path: string, user: string): Promise<Socket> {
  const socket = connect(port, '127.0.0.1');
  ends.push(() => socket.destroy());
  socket.on('error', () => undefined);
  socket.pause();
  socket.write(`GET ${path} HTTP/1.1\r\nHost: localhost\r\nX-Tapis-Token: ${await stand.token(user)}\r\n\r\n`);
  return socket;
}

async function received(socket: Socket): Promise<string> {
  let text = '';
  socket.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
  await Promise.race([once(socket, 'end'), once(socket, 'close')]);
  return text;
}

test('a user with too many waiting calls gets 429, and other users do not', async () => {
  await start({ calls: { ...DEFAULT_CALL_LIMITS, callsPerUser: 3 } });
  await stand.create('alice', 'mypod');
  await stand.create('bob', 'bobs');
  const answered = Promise.withResolvers<RoutableAnswer>();
  stand.routable = () => answered.promise;
  const waiting = [1, 2, 3].map(() => stand.call('alice', 'GET', '/v3/pods/mypod/start?wait=routable'));
  await until('three calls wait', () => stand.api.numbers().calls === 3);
  const fourth = await stand.call('alice', 'GET', '/v3/pods');
  expect(fourth).toMatchObject({ status: 429, body: { status: 'error', result: null } });
  expect(fourth.body.message).toBe('You have 3 calls in progress, the maximum. Wait until one of them ends.');
  expect(fourth.headers.get('retry-after')).toBe('2');
  expect((await stand.call('bob', 'GET', '/v3/pods')).status).toBe(200);
  answered.resolve({ kind: 'timeout', laggards: [] });
  expect((await Promise.all(waiting)).map(({ status }) => status)).toEqual([202, 202, 202]);
  await until('all have left', () => stand.api.numbers().calls === 0);
  expect((await stand.call('alice', 'GET', '/v3/pods')).status).toBe(200);
  expect(stand.api.numbers().refused).toMatchObject({ user: 1 });
});

test('a call counts until its work is done, even when its client has disconnected', async () => {
  await start({ calls: { ...DEFAULT_CALL_LIMITS, callsPerUser: 1 } });
  await stand.create('alice', 'mypod');
  const answered = Promise.withResolvers<RoutableAnswer>();
  let isWaiting = false;
  stand.routable = () => {
    isWaiting = true;
    return answered.promise;
  };
  const socket = await askUnread(stand.port, '/v3/pods/mypod/start?wait=routable', 'alice');
  // A call is counted before it waits, and one whose client leaves before that ends at once.
  await until('it waits', () => isWaiting && stand.api.numbers().calls === 1);
  socket.destroy();
  await until('the server has noticed', async () => (await connectionsOf()) === 0);
  expect(stand.api.numbers().calls).toBe(1);
  expect((await stand.call('alice', 'GET', '/v3/pods')).status).toBe(429);
  answered.resolve({ kind: 'timeout', laggards: [] });
  await until('it has left', () => stand.api.numbers().calls === 0);
});

test('a call that waits for a routable pod stops counting as soon as its client disconnects', async () => {
  await start({ calls: { ...DEFAULT_CALL_LIMITS, callsPerUser: 1 } });
  await stand.create('alice', 'mypod');
  stand.routable = async (_question, timeoutMs, signal = new AbortController().signal) => {
    await pause(timeoutMs, signal);
    return { kind: 'timeout', laggards: [] };
  };
  const socket = await askUnread(stand.port, '/v3/pods/mypod/start?wait=routable', 'alice');
  await until('it waits', () => stand.api.numbers().calls === 1);
  socket.destroy();
  await until('it has left', () => stand.api.numbers().calls === 0, { timeoutMs: 10_000 });
  expect((await stand.call('alice', 'GET', '/v3/pods')).status).toBe(200);
});

async function connectionsOf(): Promise<number> {
  // Without those that fetch keeps.
  stand.server.closeIdleConnections();
  return await new Promise((resolve, reject) =>
    stand.server.getConnections((error, count) => (error === null ? resolve(count) : reject(error))),
  );
}

test('logs that nobody reads count, are limited and time out; logs that are read arrive complete', async () => {
  await start({
    calls: { ...DEFAULT_CALL_LIMITS, bytesPerUser: 48 * MIB },
    slowReaders: { graceMs: 1_500, minimumBytesPerSecond: 0 },
  });
  await stand.create('alice', 'mypod');
  await stand.overwrite('mypod', { status: 'RUNNING' });
  const printed = '\u0001\u20ac'.repeat((10 * MIB) / 4);
  stand.workloadLogs = async () => printed;
  const whole = await stand.call('alice', 'GET', `/v3/pods/mypod/logs?tail_bytes=${10 * MIB}`);
  expect((whole.body.result as { logs: string }).logs === printed).toBe(true);
  await until('it has left', () => stand.api.numbers().bytes === 0);

  const sockets = await Promise.all(
    Array.from({ length: 20 }, () => askUnread(stand.port, `/v3/pods/mypod/logs?tail_bytes=${10 * MIB}`, 'alice')),
  );
  await until('the others are refused', () => (stand.api.numbers().refused['user-bytes'] ?? 0) >= 16);
  expect(stand.api.numbers().bytes).toBeLessThanOrEqual(48 * MIB);
  expect((await stand.call('alice', 'GET', '/v3/pods/mypod/logs?tail_bytes=1000')).status).toBeOneOf([200, 429]);
  await until('those who do not read are let go', () => stand.api.numbers().calls === 0, { timeoutMs: 30_000 });
  expect(stand.api.numbers().slowReaders).toBeGreaterThan(0);
  expect(stand.api.numbers().bytes).toBe(0);
  for (const socket of sockets) socket.destroy();
});

test('a client that reads below the minimum rate is disconnected, and one that reads at that rate is not', async () => {
  await start({ slowReaders: { graceMs: 1_000, minimumBytesPerSecond: 4 * MIB } });
  await stand.create('alice', 'mypod');
  await stand.overwrite('mypod', { status: 'RUNNING' });
  stand.workloadLogs = async () => '\u0001'.repeat(10 * MIB);
  const socket = await askUnread(stand.port, `/v3/pods/mypod/logs?tail_bytes=${10 * MIB}`, 'alice');
  const closed = once(socket, 'close');
  // Some every now and then, so that it never stands still.
  const reading = setInterval(() => {
    socket.read(64 * 1024);
  }, 100);
  await closed;
  clearInterval(reading);
  expect(stand.api.numbers().slowReaders).toBe(1);
  expect((await stand.call('alice', 'GET', `/v3/pods/mypod/logs?tail_bytes=${10 * MIB}`)).status).toBe(200);
  expect(stand.api.numbers().slowReaders).toBe(1);
});

test('a list of 2,000 pods arrives complete and in order, and other calls are served in between', async () => {
  await start();
  const ids = Array.from({ length: 2_000 }, (_, index) => `pod${String(index).padStart(5, '0')}`);
  for (let at = 0; at < ids.length; at += 250) {
    const puts = ids
      .slice(at, at + 250)
      .map((podId) => podPut(podRecord({ podId, uid: `uid-${podId}`, permissions: { alice: 'ADMIN' } }), 'absent'));
    await stand.database.store.commit({ puts });
  }
  const order: string[] = [];
  const listed = stand.call('alice', 'GET', '/v3/pods').then((answer) => {
    order.push('list');
    return answer;
  });
  await until('the list is being made', () => stand.api.numbers().calls === 1, { everyMs: 1 });
  expect((await stand.call('bob', 'GET', '/v3/pods')).body.result).toEqual([]);
  order.push('bob');
  const { status, body } = await listed;
  expect(status).toBe(200);
  expect((body.result as { pod_id: string }[]).map(({ pod_id }) => pod_id)).toEqual(ids);
  expect(order).toEqual(['bob', 'list']);
});

test.each([
  ['Authorization', 'Bearer TOKEN', 'Bearer TOKEN'],
  ['X-Tapis-Token', 'TOKEN', 'other'],
  ['Host', 'localhost', 'localhost'],
  ['Content-Type', 'application/json', 'text/plain'],
])('two %s headers are rejected', async (name, first, second) => {
  await start();
  const token = await stand.token('alice');
  const socket = connect(stand.port, '127.0.0.1');
  const lines = [
    'GET /v3/pods HTTP/1.1',
    ...(name === 'Host' ? [] : ['Host: localhost']),
    ...(name.includes('T') && name !== 'Content-Type' ? [] : [`X-Tapis-Token: ${token}`]),
    `${name}: ${first.replace('TOKEN', token)}`,
    `${name.toLowerCase()}: ${second.replace('TOKEN', token)}`,
    'Connection: close',
  ];
  socket.write(`${lines.join('\r\n')}\r\n\r\n`);
  expect(await received(socket)).toMatch(/^HTTP\/1\.1 400 /);
});

test('different tokens in Authorization and X-Tapis-Token are rejected', async () => {
  await start();
  const authorization = `Bearer ${await stand.token('bob')}`;
  expect((await stand.call('alice', 'GET', '/v3/pods', undefined, { authorization })).status).toBe(401);
});

test('log lines name the client: as reported by a worker for its calls, else as seen on the connection', async () => {
  await start();
  const forwarded = { 'X-Forwarded-For': '203.0.113.9, 10.0.0.1' };
  await stand.call('alice', 'GET', '/v3/pods', undefined, forwarded);
  await stand.call(null, 'GET', '/v3/pods', undefined, forwarded);
  const direct = await until('both are logged', () => {
    const lines = stand.logLines.filter((line) => line.includes('"path":"/pods"'));
    return lines.length === 2 ? lines : null;
  });
  for (const line of direct) expect(line).toMatch(/"remoteAddress":"(::ffff:)?127\.0\.0\.1"/);
  const gateway = createServer(stand.api.serverOptions, stand.api.listenerFor('gateway'));
  await new Promise<void>((resolve) => gateway.listen(0, '127.0.0.1', resolve));
  ends.push(() => gateway.close());
  const url = `http://127.0.0.1:${(gateway.address() as AddressInfo).port}/v3/pods`;
  for (const headers of [forwarded, { 'X-Forwarded-For': 'rubbish' }]) {
    expect((await fetch(url, { headers: { ...headers, connection: 'close' } })).status).toBe(401);
  }
  expect(stand.logLines.at(-2)).toContain('"remoteAddress":"203.0.113.9"');
  expect(stand.logLines.at(-1)).toContain('"remoteAddress":"unknown"');
});

test('an address with repeated failed logins gets 429 and few log lines, and users with a token are not affected', async () => {
  await start({ failedLogins: { perMinute: 60, burst: 5 } });
  const statuses: number[] = [];
  for (let index = 0; index < 100; index += 1) statuses.push((await stand.call(null, 'GET', '/v3/pods')).status);
  expect(statuses.slice(0, 5)).toEqual([401, 401, 401, 401, 401]);
  expect(statuses.slice(5).filter((status) => status === 429).length).toBeGreaterThan(80);
  const unlogged = stand.debugLines.filter((line) => line.startsWith('api request')).length;
  expect(unlogged).toBeGreaterThan(20);
  expect((await stand.call('alice', 'GET', '/v3/pods')).status).toBe(200);
  expect(stand.logLines.at(-1)).toMatch(/"username":"alice","unloggedLines":\d+/);
});

test('failed calls without a valid login leave few log lines, here when the keys of the tenant cannot be read', async () => {
  const authenticate = () => Promise.reject(new PodgateError('api.unavailable', { detail: 'the keys cannot be read' }));
  await start({ authenticator: { authenticate } });
  for (let index = 0; index < 200; index += 1) expect((await stand.call('alice', 'GET', '/v3/pods')).status).toBe(503);
  const failures = stand.logLines.filter((line) => line.includes('the keys cannot be read')).length;
  expect(failures).toBeGreaterThan(0);
  expect(failures).toBeLessThan(100);
});

test.each(['catalog', 'admin', 'docs', 'nodes'])('/pods/%s returns 404 for every method', async (id) => {
  await start();
  for (const [method, path] of [
    ['GET', `/v3/pods/${id}`],
    ['POST', `/v3/pods/${id}`],
    ['PUT', `/v3/pods/${id}`],
    ['DELETE', `/pods/${id}`],
    ['PATCH', `/v3/pods/${id}/`],
    ['GET', `/v3/pods/${id}/start`],
    ['POST', `/v3/pods/${id}/anything/else`],
    ['POST', `/v3/pods/%${id.charCodeAt(0).toString(16)}${id.slice(1)}/permissions`],
  ] as const) {
    const { status, body } = await stand.call('alice', method, path, method === 'GET' ? undefined : {});
    expect([method, path, status, body.message]).toEqual([
      method,
      path,
      404,
      `"${id}" is a reserved word, not a pod; this release has nothing at this path.`,
    ]);
  }
});

test('a reserved path that this release has allows only its own methods', async () => {
  await start({
    certificates: { report: () => ({ certificates: [], budgets: [], accounts: [], counts: { issued: 0, failed: 0 } }) },
  });
  expect((await stand.call('root', 'GET', '/v3/pods/certificates')).status).toBe(200);
  for (const method of ['POST', 'PUT', 'DELETE']) {
    const { status, body } = await stand.call('root', method, '/v3/pods/certificates', {});
    expect([method, status, body.message]).toEqual([method, 405, 'This path takes HEAD, GET.']);
  }
  expect((await stand.call('root', 'GET', '/v3/pods/certificates/more')).status).toBe(404);
});

test('the control port serves only known host names, and metrics need a known name or the token', async () => {
  await start({ controlHosts: ['podgate-control.podgate.svc'] });
  const ask = async (host: string | null, version = '1.1', path = '/v3/healthcheck', port = stand.port) => {
    const socket = connect(port, '127.0.0.1');
    const hostLine = host === null ? '' : `Host: ${host}\r\n`;
    socket.write(`GET ${path} HTTP/${version}\r\n${hostLine}Connection: close\r\n\r\n`);
    return /^HTTP\/1\.1 (\d+)/.exec(await received(socket))?.[1];
  };
  for (const host of ['localhost:8000', '127.0.0.1', 'podgate-control.podgate.svc:8000', 'other.example.org']) {
    expect([host, await ask(host)]).toEqual([host, '200']);
  }
  for (const host of ['rebound.example', '10.0.0.1', 'localhost.rebound.example']) {
    expect([host, await ask(host)]).toEqual([host, '421']);
  }
  expect(await ask(null, '1.0')).toBe('200');

  const metrics = createServer(
    metricsEndpoint({
      metrics: async () => 'podgate_up 1\n',
      controlHosts: controlHostNames([]),
      token: () => 'the-token-of-prometheus',
      version: '1.2.3',
    }),
  );
  await new Promise<void>((resolve) => metrics.listen(0, '127.0.0.1', resolve));
  ends.push(() => metrics.close());
  const { port } = metrics.address() as AddressInfo;
  expect(await ask('localhost', '1.1', '/metrics', port)).toBe('200');
  expect(await ask('rebound.example', '1.1', '/metrics', port)).toBe('401');
  expect(await ask(null, '1.0', '/metrics', port)).toBe('401');
  const withToken = async (token: string) =>
    (
      await fetch(`http://127.0.0.1:${port}/metrics`, {
        headers: { authorization: `Bearer ${token}`, connection: 'close' },
      })
    ).status;
  expect(await withToken('the-token-of-prometheus')).toBe(200);
  expect(await withToken('another')).toBe(401);
});
