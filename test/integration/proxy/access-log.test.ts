import { createHash } from 'node:crypto';
import { once } from 'node:events';
import http, { type IncomingMessage } from 'node:http';
import http2 from 'node:http2';
import type { AddressInfo, Socket } from 'node:net';
import { dirname, join } from 'node:path';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import { afterEach, describe, expect, it } from 'vitest';
import { until } from '../../support/until.ts';
import { route, runningRoute } from './support/gateway-fixture.ts';
import { createStage, echoes } from './support/stage.ts';
import { openPlain, readAll, readAndEnd, startBackend } from './support/streams.ts';

const { start, echo, backends } = createStage();
const pods: http.Server[] = [];
afterEach(() => {
  for (const pod of pods.splice(0)) {
    pod.closeAllConnections();
    pod.close();
  }
});

type Line = Readonly<Record<string, unknown>>;

function createLog() {
  const texts: string[] = [];
  return {
    texts,
    lines: (): Line[] => texts.map((text) => JSON.parse(text) as Line),
    sink: { write: (line: string): void => void texts.push(line), dropped: 0 },
  };
}

async function startPod(handler: http.RequestListener): Promise<number> {
  const pod = http.createServer(handler);
  pods.push(pod);
  await new Promise<void>((resolve) => pod.listen(0, '127.0.0.1', resolve));
  return (pod.address() as AddressInfo).port;
}

async function ask(client: TLSSocket, request: string): Promise<string> {
  client.write(request, 'latin1');
  return String(await readAndEnd(client));
}

describe('the access log of HTTP', () => {
  it('has a line for each request with client, pod, duration and size, but neither query nor credentials', async () => {
    const port = await startPod((request, response) => {
      request.resume().on('end', () => response.writeHead(201).end('created'));
    });
    const log = createLog();
    const { connect: open } = await start({
      routes: [runningRoute('web.pods.localhost', port, { protocol: 'http', tenant: 'dev' })],
      accessLog: log.sink,
    });
    const client = await open('web.pods.localhost', { ALPNProtocols: ['http/1.1'] });
    const { localPort } = client;
    await ask(
      client,
      'POST /a/b;jsessionid=SECRET1?token=SECRET2 HTTP/1.1\r\nHost: web.pods.localhost\r\nAuthorization: Bearer SECRET3\r\n' +
        'Cookie: SECRET4\r\nUser-Agent: test "quoted"/1\u009b\r\nContent-Length: 5\r\n\r\n12345' +
        'GET /second HTTP/1.1\r\nHost: web.pods.localhost\r\nConnection: close\r\n\r\n',
    );
    await until('both are told', () => log.texts.length === 2);
    const [first, second] = log.lines();
    const handshakeMs: unknown = expect.any(Number);
    const time: unknown = expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
    const ms: unknown = expect.any(Number);
    const id: unknown = expect.stringMatching(/^[\w-]{12}$/);
    expect(first).toEqual({
      ...{ time, kind: 'request', id, worker: 1, connection: id },
      ...{ address: '127.0.0.1', port: localPort, serverName: 'web.pods.localhost' },
      ...{ tls: 'TLSv1.3', cipher: expect.stringMatching(/^TLS_/) as unknown, alpn: 'http/1.1', resumed: false },
      ...{ handshakeMs, protocol: 'http/1.1', to: 'pod', host: 'web.pods.localhost' },
      ...{ tenant: 'dev', pod: 'web', stanza: 'default', method: 'POST', path: '/a/b', status: 201 },
      ...{ bytesIn: 5, bytesOut: 7, connectMs: ms, firstByteMs: ms, totalMs: ms, end: 'answered', refused: null },
      brokenRule: null,
      userAgent: 'test "quoted"/1\u009b',
    });
    // The pod's connection is kept for it, and its id says which request of the connection it was.
    expect(second).toMatchObject({ connection: first?.['id'], id: `${String(first?.['id'])}-2`, connectMs: null });
    expect(second).toMatchObject({ path: '/second', userAgent: null, bytesIn: 0 });
    expect(log.texts.join('')).not.toContain('SECRET');
    // One line each, in ASCII.
    for (const text of log.texts) expect(text).toMatch(/^[ -~]*\n$/);
  });

  it('records why a request was refused, and requests that their client abandoned', async () => {
    const port = await startPod((_, response) => {
      response.writeHead(200).write('begun');
    });
    const log = createLog();
    const { connect: open, gateway } = await start({
      routes: [
        runningRoute('web.pods.localhost', port, { protocol: 'http' }),
        route('off.pods.localhost', { protocol: 'http', status: 'STOPPED' }),
      ],
      accessLog: log.sink,
    });
    const off = await open('off.pods.localhost');
    await ask(off, 'GET / HTTP/1.1\r\nHost: off.pods.localhost\r\nConnection: close\r\n\r\n');
    const bad = await open('web.pods.localhost');
    await ask(bad, 'GET http://user:SECRET@web.pods.localhost/ HTTP/1.1\r\nHost: web.pods.localhost\r\n\r\n');
    const worse = await open('web.pods.localhost');
    await ask(worse, 'rubbish\r\n\r\n');
    const unknown = await open('nobody.pods.localhost', { ALPNProtocols: ['http/1.1'] });
    await ask(unknown, 'GET / HTTP/1.1\r\nHost: nobody.pods.localhost\r\nConnection: close\r\n\r\n');
    const leaving = await open('web.pods.localhost');
    leaving.write('GET /long HTTP/1.1\r\nHost: web.pods.localhost\r\n\r\n');
    await new Promise((resolve) => leaving.once('data', resolve));
    leaving.destroy();
    await until('five are told', () => log.texts.length === 5);
    expect(log.lines()).toMatchObject([
      { status: 503, end: 'refused', refused: 'route.stopped', pod: 'off', firstByteMs: null },
      { status: 400, end: 'refused', refused: 'request.malformed', path: null },
      { status: 400, end: 'refused', refused: 'request.malformed', method: null, path: null },
      { status: 404, end: 'refused', refused: 'route.unknown', pod: null, serverName: 'nobody.pods.localhost' },
      { status: 200, end: 'client', refused: null, path: '/long', bytesOut: 5 },
    ]);
    expect(log.texts.join('')).not.toContain('SECRET');
    expect(gateway.counters.refused['request.malformed']).toBe(2);
    expect(gateway.counters.requests).toMatchObject({ '2xx': 1, '4xx': 3, '5xx': 1 });
  });

  it('includes plaintext requests that are redirected to https', async () => {
    const log = createLog();
    const { httpPort } = await start({
      routes: [route('web.pods.localhost', { protocol: 'http' })],
      accessLog: log.sink,
    });
    for (const host of ['web.pods.localhost', 'nobody.pods.localhost']) {
      const client = await openPlain(httpPort);
      client.write(`GET /x?token=SECRET HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`);
      await readAndEnd(client);
    }
    await until('both are told', () => log.texts.length === 2);
    expect(log.lines()).toMatchObject([
      { kind: 'request', status: 308, tls: null, path: '/x', end: 'answered', address: '127.0.0.1' },
      { kind: 'request', status: 404, pod: null },
    ]);
    expect(log.texts.join('')).not.toContain('SECRET');
  });

  it('records a tunnel when it ends, with its bytes', async () => {
    const port = await startPod(() => undefined);
    pods[0]?.on('upgrade', (_, socket: Socket) => {
      socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: chat\r\n\r\n');
      socket.pipe(socket);
    });
    const log = createLog();
    const { connect: open } = await start({
      routes: [runningRoute('web.pods.localhost', port, { protocol: 'http' })],
      accessLog: log.sink,
    });
    const client = await open('web.pods.localhost');
    client.write('GET /chat HTTP/1.1\r\nHost: web.pods.localhost\r\nConnection: Upgrade\r\nUpgrade: chat\r\n\r\n');
    await new Promise((resolve) => client.once('data', resolve));
    expect(await echoes(client, 'through')).toBe(true);
    expect(log.texts).toEqual([]);
    client.end();
    await readAll(client);
    await until('it is told', () => log.texts.length === 1);
    expect(log.lines()[0]).toMatchObject({ path: '/chat', status: 101, end: 'tunnel', refused: null });
  });

  it('records a WebSocket over HTTP/2 like any tunnel', async () => {
    const port = await startPod(() => undefined);
    pods[0]?.on('upgrade', ({ headers }: IncomingMessage, socket: Socket) => {
      const key = `${headers['sec-websocket-key'] ?? ''}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`;
      const accept = createHash('sha1').update(key).digest('base64');
      socket.write(
        `HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`,
      );
      socket.pipe(socket);
    });
    const log = createLog();
    const { connect: open } = await start({
      routes: [runningRoute('web.pods.localhost', port, { protocol: 'http' })],
      accessLog: log.sink,
    });
    const socket = await open('web.pods.localhost', { ALPNProtocols: ['h2'] });
    const session = http2.connect('https://web.pods.localhost', { createConnection: () => socket });
    session.on('error', () => undefined);
    await once(session, 'remoteSettings');
    const fields = { ':method': 'CONNECT', ':protocol': 'websocket', ':scheme': 'https', ':path': '/chat' };
    const stream = session.request({ ...fields, ':authority': 'web.pods.localhost' }, { endStream: false });
    stream.write('through');
    expect(String((await once(stream, 'data'))[0])).toBe('through');
    expect(log.texts).toEqual([]);
    stream.end();
    await once(stream.resume(), 'close');
    await until('it is told', () => log.texts.length === 1);
    const line = log.lines()[0] as unknown as { bytesIn: number; bytesOut: number };
    expect(line).toMatchObject({ path: '/chat', status: 200, end: 'tunnel', refused: null });
    expect(Math.min(line.bytesIn, line.bytesOut)).toBeGreaterThanOrEqual('through'.length);
    session.destroy();
  });
});

describe('the access log of sessions', () => {
  it('has a line for each, with bytes in both directions, durations, and how it ended', async () => {
    const backend = await echo();
    const resetting = await startBackend((socket) => socket.once('data', () => socket.resetAndDestroy()));
    backends.push(resetting);
    const log = createLog();
    const { connect: open } = await start({
      routes: [
        runningRoute('echo.pods.localhost', backend.port),
        runningRoute('reset.pods.localhost', resetting.port),
        route('off.pods.localhost', { status: 'STOPPED' }),
      ],
      accessLog: log.sink,
    });
    const client = await open('echo.pods.localhost');
    expect(await echoes(client, 'twelve bytes')).toBe(true);
    client.end();
    await readAll(client);
    const broken = await open('reset.pods.localhost');
    broken.write('four');
    await readAll(broken);
    await until('two are told', () => log.texts.length === 2);
    const refused = await open('off.pods.localhost');
    refused.write('GET / HTTP/1.1\r\nHost: off.pods.localhost\r\n\r\n');
    await readAndEnd(refused);
    await until('three are told', () => log.texts.length === 3);
    const ms: unknown = expect.any(Number);
    expect(log.lines()).toMatchObject([
      {
        ...{ kind: 'session', protocol: 'tcp', pod: 'echo', tls: 'TLSv1.3', resumed: false, end: 'finished' },
        ...{ bytesIn: 12, bytesOut: 12, handshakeMs: ms, connectMs: ms, firstByteMs: ms, totalMs: ms },
      },
      { pod: 'reset', end: 'backend-failed', bytesIn: 4, bytesOut: 0, firstByteMs: null },
      { end: 'refused', refused: 'route.stopped', pod: 'off', protocol: 'tcp', bytesIn: 0, connectMs: null },
    ]);
  });

  it('includes connections that did not become sessions: garbage, plaintext, failed handshakes', async () => {
    const log = createLog();
    const { httpsPort } = await start({ routes: [], accessLog: log.sink });
    const rubbish = await openPlain(httpsPort);
    rubbish.write('\u0001\u0002\u0003');
    await readAll(rubbish);
    const plain = await openPlain(httpsPort);
    plain.write('GET / HTTP/1.1\r\n\r\n');
    await readAndEnd(plain);
    const distrusting = connectTls({ host: '127.0.0.1', port: httpsPort, servername: 'localhost' });
    await new Promise((resolve) => distrusting.once('error', resolve));
    await until('three are told', () => log.texts.length === 3);
    expect(log.lines()).toMatchObject([
      { kind: 'session', end: 'unrecognized', tls: null, serverName: null },
      { end: 'refused', refused: 'tls.required', tls: null },
      { end: expect.stringMatching(/^(tls-failed|client)$/) as unknown, serverName: 'localhost' },
    ]);
  });

  it('records that a session was cut at the end of the drain time', async () => {
    const backend = await echo();
    const log = createLog();
    const fixture = await start({
      routes: [runningRoute('echo.pods.localhost', backend.port)],
      accessLog: log.sink,
    });
    const client = await fixture.connect('echo.pods.localhost');
    expect(await echoes(client)).toBe(true);
    fixture.gateway.closeAll();
    await until('it is told', () => log.texts.length === 1);
    expect(log.lines()[0]).toMatchObject({ end: 'drained', bytesIn: 4 });
  });
});

describe('the access log of probes', () => {
  it('has only failed ones: no successful /healthz or /readyz, and no connections without a byte', async () => {
    const log = createLog();
    const fixture = await start({ routes: [], accessLog: log.sink, limits: { handshakeTimeoutMs: 150 } });
    let status = 200;
    const api = http.createServer((_request, response) => response.writeHead(status).end());
    pods.push(api);
    await new Promise<void>((resolve) => api.listen(join(dirname(fixture.feed.path), 'api.sock'), resolve));
    const probe = async (path: string): Promise<string> => {
      const client = await fixture.connect('localhost', { ALPNProtocols: ['http/1.1'] });
      return ask(client, `GET ${path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`);
    };
    for (const path of ['/readyz', '/v3/healthz', '/v3/readyz?verbose'])
      expect(await probe(path)).toMatch(/^HTTP\/1.1 200/);
    const { closed } = fixture.gateway.counters;
    (await openPlain(fixture.httpsPort)).destroy();
    await until('the TCP check is counted', () => closed['ended-early'] === 1);
    // What is no probe, and probes that fail.
    await probe('/v3/pods');
    status = 503;
    await probe('/readyz');
    await readAll(await openPlain(fixture.httpsPort));
    await until('three lines', () => log.texts.length >= 3);
    expect(log.lines()).toMatchObject([{ path: '/v3/pods' }, { path: '/readyz', status: 503 }, { end: 'deadline' }]);
  });
});

describe('the last refusals of a pod', () => {
  it('are reported to the control process on request, without those of other pods', async () => {
    const off = route('off.pods.localhost', { protocol: 'postgres', status: 'STOPPED' });
    const { connect: open, feed, gateway } = await start({ routes: [off] });
    for (const application of ['psql', 'pg_isready']) {
      const client = await open(off.host);
      client.write(startupMessage({ user: 'alice', application_name: application }));
      expect(String(await readAndEnd(client))).toContain('57P03');
    }
    feed.send({ kind: 'pod-asked', id: 7, uid: off.uid });
    feed.send({ kind: 'pod-asked', id: 8, uid: 'of nobody' });
    const told = await until('both are answered', () => {
      const answers = feed.received.filter(({ kind }) => kind === 'pod-told');
      return answers.length === 2 ? answers : null;
    });
    expect(told).toMatchObject([
      {
        id: 7,
        connections: { refusals: [{ code: 'route.stopped', address: '127.0.0.1', protocol: 'postgres' }, {}] },
      },
      { id: 8, connections: null },
    ]);
    expect(gateway.counters.refused['route.stopped']).toBe(2);
  });
});

function startupMessage(parameters: Readonly<Record<string, string>>): Buffer {
  const text = Object.entries(parameters).map(([name, value]) => `${name}\0${value}\0`);
  const body = Buffer.from(`${text.join('')}\0`);
  const head = Buffer.alloc(8);
  head.writeInt32BE(8 + body.length, 0);
  head.writeInt32BE(196_608, 4);
  return Buffer.concat([head, body]);
}

describe('X-Forwarded-For of a trusted proxy', () => {
  it('identifies the client for the pod, allow lists and the log; that of other clients is ignored', async () => {
    const port = await startPod((request, response) => {
      const { 'x-forwarded-for': from, 'x-forwarded-proto': proto } = request.headers;
      response.end(JSON.stringify({ from, proto }));
    });
    const routes = [
      runningRoute('web.pods.localhost', port, { protocol: 'http' }),
      runningRoute('own.pods.localhost', port, { protocol: 'http', ipAllowList: ['198.51.100.7'] }),
    ];
    const request = (host: string): string =>
      `GET / HTTP/1.1\r\nHost: ${host}\r\nX-Forwarded-For: 6.6.6.6, 198.51.100.7\r\nX-Forwarded-For: 10.0.0.1\r\n` +
      'X-Forwarded-Proto: http\r\nConnection: close\r\n\r\n';
    const log = createLog();
    const trusting = await start({ routes, accessLog: log.sink, trustedProxies: ['127.0.0.0/8', '10.0.0.0/8'] });
    const answer = await ask(await trusting.connect('web.pods.localhost'), request('web.pods.localhost'));
    expect(answer).toContain('{"from":"198.51.100.7, 10.0.0.1, 127.0.0.1","proto":"http"}');
    expect(await ask(await trusting.connect('own.pods.localhost'), request('own.pods.localhost'))).toContain(' 200 ');
    await until('both are told', () => log.texts.length === 2);
    expect(log.lines()[0]).toMatchObject({ address: '127.0.0.1', client: '198.51.100.7' });

    const other = await start({ routes });
    expect(await ask(await other.connect('web.pods.localhost'), request('web.pods.localhost'))).toContain(
      '{"from":"127.0.0.1","proto":"https"}',
    );
    expect(await ask(await other.connect('own.pods.localhost'), request('own.pods.localhost'))).toContain(' 403 ');
  });
});
