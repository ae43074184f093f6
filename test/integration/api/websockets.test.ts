import { createServer, type Server } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { WebSocket } from 'ws';
import { z } from 'zod';

import { type Application, createApplication } from '../../../control/http/application.ts';
import type { MessageSocket, Operation } from '../../../control/http/operation.ts';
import { PodgateError } from '../../../core/errors.ts';
import { silentLog } from '../../support/silent-log.ts';
import { until } from '../../support/until.ts';
import { HttpGateway } from '../proxy/http/http-gateway.ts';

const ECHO = 'echo.v1';
const API_ANSWER_MS = 400;
const IDLE_MS = 300;
/** Messages that the operation has taken. */
let taken = 0;

/** Sends back what comes; "bye" ends it, and "fail" breaks it. */
async function echo(socket: MessageSocket) {
  for await (const message of socket.messages()) {
    taken += 1;
    if (message.kind === 'binary') await socket.send(message.bytes);
    else if (message.text === 'bye') break;
    else if (message.text === 'fail') throw new Error('a secret');
    else await socket.send(message.text);
  }
  return { code: 1000, reason: 'You said bye.' };
}

const OPEN = { tag: 'Test', summary: 'For tests.', result: z.unknown(), access: 'open', methods: ['get'] } as const;
let released = 0;
const operation = (path: string, limits: Operation['limits'] = {}): Operation => ({
  ...OPEN,
  ...{ operationId: path.slice(1), path, subprotocol: ECHO, limits },
  replies: 'upgrade',
  handle: async () => ({ kind: 'upgrade' as const, protocol: ECHO, serve: echo, release: () => void (released += 1) }),
});

let application: Application;
let server: Server;
let viaGateway: Server;
let gateway: HttpGateway;

beforeAll(async () => {
  application = createApplication(
    [
      operation('/echo', { messageBytes: 100_000 }),
      operation('/idle', { idleMs: IDLE_MS }),
      operation('/short', { lifetimeMs: IDLE_MS }),
      {
        ...OPEN,
        ...{ operationId: 'page', path: '/page' },
        replies: 'html',
        handle: async () => ({ kind: 'html' as const, status: 403, html: '<!doctype html><title>No</title>' }),
      },
      {
        ...OPEN,
        ...{ operationId: 'elsewhere', path: '/elsewhere' },
        replies: 'redirect',
        handle: async () => ({
          kind: 'redirect' as const,
          status: 303 as const,
          location: '/page',
          setCookie: 'a=b; Secure',
        }),
      },
    ],
    {
      authenticator: { authenticate: () => Promise.reject(new PodgateError('api.unauthenticated')) },
      version: '1.2.3',
      reserved: { collection: 'none', ids: new Set(), notFound: () => new PodgateError('api.not-found') },
      controlHosts: new Set(['localhost', '127.0.0.1']),
      monotonicMs: () => performance.now(),
      log: silentLog,
    },
  );
  const { serverOptions, listenerFor, upgrades } = application;
  server = createServer(serverOptions, listenerFor('control-port'));
  server.on('upgrade', upgrades.listenerFor('control-port'));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  gateway = await HttpGateway.start({ apiAnswerMs: API_ANSWER_MS });
  viaGateway = createServer(serverOptions, listenerFor('gateway'));
  viaGateway.on('upgrade', upgrades.listenerFor('gateway'));
  await new Promise<void>((resolve) => viaGateway.listen(gateway.apiSocketPath, resolve));
});

const opened = new Set<WebSocket>();
afterEach(async () => {
  for (const socket of opened) socket.terminate();
  opened.clear();
  await until('no WebSocket is open', () => application.numbers().webSockets === 0);
});
afterAll(async () => {
  await gateway.close();
  for (const each of [server, viaGateway]) {
    each.closeAllConnections();
    await new Promise((resolve) => each.close(resolve));
  }
});

const port = () => (server.address() as AddressInfo).port;
const open = (path: string, options: { origin?: string; protocol?: string } = {}) =>
  watch(new WebSocket(`ws://127.0.0.1:${port()}${path}`, options.protocol ?? ECHO, { origin: options.origin ?? '' }));

/** Keeps what a client is told. */
function watch(socket: WebSocket) {
  opened.add(socket);
  const messages: string[] = [];
  socket.on('message', (data) => messages.push((data as Buffer).toString()));
  const ready = new Promise<void>((resolve, reject) => socket.once('open', resolve).once('error', reject));
  // Not of interest where it is refused.
  ready.catch(() => undefined);
  const refused = new Promise<number>((resolve) => {
    socket.once('unexpected-response', (request, response) => {
      resolve(response.statusCode ?? 0);
      request.destroy();
    });
  });
  const closed = new Promise<string>((resolve) => {
    socket.once('close', (code, reason) => resolve(`${code} ${reason.toString()}`));
  });
  return { socket, messages, ready, refused, closed };
}

test('an operation may reply with a WebSocket, which no longer counts as a call', async () => {
  const { socket, messages, ready, closed } = open('/v3/echo');
  await ready;
  expect(socket.protocol).toBe(ECHO);
  await until('the call is over', () => application.numbers().calls === 0);
  expect(application.numbers().webSockets).toBe(1);
  socket.send('hello');
  socket.send(Buffer.alloc(70_000, 'x'));
  await until('both have come back', () => messages.length === 2);
  expect([messages[0], messages[1]?.length]).toEqual(['hello', 70_000]);
  socket.send('bye');
  expect(await closed).toBe('1000 You said bye.');
});

test('a message in more than 64 fragments ends the connection, one in 64 does not', async () => {
  const { socket, messages, ready, closed } = open('/v3/echo');
  await ready;
  const fragments = (count: number): void => {
    for (let part = 1; part <= count; part += 1) socket.send('x', { fin: part === count });
  };
  fragments(64);
  await until('it has come back', () => messages.length === 1);
  expect(messages[0]).toBe('x'.repeat(64));
  fragments(65);
  expect(await closed).toMatch(/^1008 /);
});

test('through the gateway, it outlives the time limit of API responses, over both versions of HTTP', async () => {
  const tls = await gateway.connect('localhost');
  const one = watch(new WebSocket(`wss://localhost/v3/echo`, ECHO, { createConnection: () => tls }));
  await one.ready;
  const session = await gateway.connectHttp2('localhost', { settings: { enablePush: false } });
  await new Promise((resolve) => session.once('remoteSettings', resolve));
  const stream = session.request(
    {
      ':method': 'CONNECT',
      ':protocol': 'websocket',
      ':scheme': 'https',
      ':path': '/v3/echo',
      ':authority': 'localhost',
      'sec-websocket-version': '13',
      'sec-websocket-protocol': ECHO,
    },
    { endStream: false },
  );
  const response = await new Promise<Record<string, unknown>>((resolve) => stream.once('response', resolve));
  expect([response[':status'], response['sec-websocket-protocol']]).toEqual([200, ECHO]);
  await new Promise((resolve) => setTimeout(resolve, 3 * API_ANSWER_MS));
  one.socket.send('over HTTP/1.1');
  let bytes = Buffer.alloc(0);
  stream.on('error', () => undefined).on('data', (piece: Buffer) => (bytes = Buffer.concat([bytes, piece])));
  // A masked text frame, with a mask of zeros.
  stream.write(Buffer.concat([Buffer.from([0x81, 0x80 | 6, 0, 0, 0, 0]), Buffer.from('HTTP/2')]));
  await until('both have come back', () => one.messages.length === 1 && bytes.length === 8);
  expect([one.messages[0], bytes.subarray(2).toString()]).toEqual(['over HTTP/1.1', 'HTTP/2']);
  // Both break off: the gateway ends their connections to the API, which are Unix sockets and cannot be reset.
  one.socket.terminate();
  session.destroy();
  await until('no WebSocket is open', () => application.numbers().webSockets === 0);
});

test('rejects requests without a valid upgrade, with another subprotocol, or from a page of another origin', async () => {
  const plain = await fetch(`http://127.0.0.1:${port()}/v3/echo`);
  expect([plain.status, plain.headers.get('upgrade')]).toEqual([426, 'websocket']);
  expect(await plain.json()).toMatchObject({
    status: 'error',
    message: expect.stringContaining('WebSocket') as string,
  });
  expect(await open('/v3/echo', { protocol: 'other.v1' }).refused).toBe(400);
  expect(await open('/v3/nothing').refused).toBe(404);
  expect(await open('/v3/echo', { origin: 'https://pod.pods.localhost' }).refused).toBe(403);
  expect(await open('/v3/echo', { origin: `http://127.0.0.1:${port() + 1}` }).refused).toBe(403);
  const own = open('/v3/echo', { origin: `http://127.0.0.1:${port()}` });
  await own.ready;
  expect(released).toBe(0);
});

test('a request with another Upgrade or an invalid handshake gets an HTTP error, and the connection closes', async () => {
  const send = (upgrade: string, version: string) =>
    new Promise<string>((resolve) => {
      const socket = connect(port(), '127.0.0.1');
      let text = '';
      socket.on('data', (chunk: Buffer) => (text += chunk.toString())).once('close', () => resolve(text));
      const fields = `Upgrade: ${upgrade}\r\nSec-WebSocket-Version: ${version}\r\nSec-WebSocket-Key: ${'a'.repeat(22)}==`;
      socket.write(`GET /echo HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade, close\r\n${fields}\r\n\r\n`);
    });
  expect(await send('h2c', '13')).toMatch(/^HTTP\/1\.1 426 /);
  expect(await send('websocket', '12')).toMatch(/^HTTP\/1\.1 426 /);
  expect(await send('websocket', '13')).toMatch(/^HTTP\/1\.1 400 (?:.|\r\n)*Connection: close/);
});

test('closes when idle, at the end of its lifetime, on a message that is too large, and on a failure', async () => {
  const idle = open('/idle');
  await idle.ready;
  expect(await idle.closed).toBe('1008 Nothing was sent either way for 0 s.');
  const short = open('/short');
  await short.ready;
  const chatting = setInterval(() => short.socket.send('still here'), IDLE_MS / 10);
  expect(await short.closed).toMatch(/^1008 This connection has been open for 0 s/);
  clearInterval(chatting);
  const large = open('/echo');
  await large.ready;
  large.socket.send(Buffer.alloc(100_001));
  expect(await large.closed).toMatch(/^1009 /);
  const failing = open('/echo');
  await failing.ready;
  failing.socket.send('fail');
  const why = await failing.closed;
  expect(why).toMatch(/^1011 /);
  expect(why).not.toContain('secret');
});

test('a client that does not read makes the operation wait, and loses nothing', async () => {
  const { socket, messages, ready } = open('/echo');
  await ready;
  socket.pause();
  const piece = Buffer.alloc(60_000, 'y');
  // More than the buffers of the kernel hold on the way back.
  const count = 1_500;
  taken = 0;
  for (let sent = 0; sent < count; sent++) socket.send(piece);
  let before = 0;
  await until(
    'the operation waits',
    () => {
      const isWaiting = taken > 0 && taken === before;
      before = taken;
      return isWaiting;
    },
    { everyMs: 300 },
  );
  expect(taken).toBeLessThan(count);
  socket.resume();
  await until('all of it has come back', () => messages.length === count);
  expect(taken).toBe(count);
});

test('a process that ends notifies its clients', async () => {
  const { ready, closed } = open('/echo');
  await ready;
  application.upgrades.close();
  expect(await closed).toBe('1001 Podgate is restarting. Connect again.');
});

test('an operation may reply with a page without scripts, and with a redirect', async () => {
  const page = await fetch(`http://127.0.0.1:${port()}/page`);
  expect([page.status, page.headers.get('content-type')]).toEqual([403, 'text/html; charset=utf-8']);
  expect(page.headers.get('content-security-policy')).toContain("default-src 'none'");
  expect(await page.text()).toBe('<!doctype html><title>No</title>');
  const elsewhere = await fetch(`http://127.0.0.1:${port()}/elsewhere`, { redirect: 'manual' });
  expect(elsewhere.status).toBe(303);
  expect(elsewhere.headers.get('location')).toBe('/page');
  expect(elsewhere.headers.get('set-cookie')).toBe('a=b; Secure');
});
