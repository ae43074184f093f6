import { once } from 'node:events';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { type ClientHttp2Session, type ClientHttp2Stream, connect as connectHttp2, type Settings } from 'node:http2';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, describe, expect, it } from 'vitest';
import { DEFAULT_HTTP_LIMITS } from '../../../proxy/protocols/http/http-protocol.ts';
import { until } from '../../support/until.ts';
import { type GatewayFixture, runningRoute } from './support/gateway-fixture.ts';
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

const HOST = 'web.pods.localhost';
const http1 = { ALPNProtocols: ['http/1.1'] };
const STALLED_MS = 700;
const limits = {
  handshakeTimeoutMs: 500,
  http: { ...DEFAULT_HTTP_LIMITS, headersTimeoutMs: 600, stalledClientMs: STALLED_MS, minClientBytesPerSecond: 5 },
};

async function startPod(handler: http.RequestListener): Promise<number> {
  const pod = http.createServer(handler);
  pods.push(pod);
  await new Promise<void>((resolve) => pod.listen(0, '127.0.0.1', resolve));
  return (pod.address() as AddressInfo).port;
}

/** An answer without end, as fast as it is taken. */
const pourOut: http.RequestListener = (_, response) => {
  const piece = Buffer.alloc(64 * 1024);
  const pour = (): void => {
    while (!response.destroyed && response.write(piece));
  };
  response.on('drain', pour);
  pour();
};

/** At least 100 bytes a second. */
const pace = { ...limits, http: { ...limits.http, minClientBytesPerSecond: 100 } };

async function openHttp2(fixture: GatewayFixture, settings: Settings = {}): Promise<ClientHttp2Session> {
  const socket = await fixture.connect(HOST, { ALPNProtocols: ['h2'] });
  const session = connectHttp2(`https://${HOST}`, { createConnection: () => socket, settings });
  session.on('error', () => undefined);
  await once(session, 'remoteSettings');
  return session;
}

/** Not events.once: a reset is an 'error', too. */
function closing(stream: ClientHttp2Stream): Promise<unknown> {
  stream.on('error', () => undefined);
  return new Promise((resolve) => stream.once('close', resolve));
}

describe('a client with an unfinished transfer', () => {
  const takesBodies: http.RequestListener = (request, response) => {
    request.resume().on('end', () => response.end('all of it'));
  };

  it('gets 408 when it sends its body byte by byte', async () => {
    const port = await startPod(takesBodies);
    const fixture = await start({ routes: [runningRoute(HOST, port, { protocol: 'http' })], limits: pace });
    const client = await fixture.connect(HOST, http1);
    client.write(`POST / HTTP/1.1\r\nHost: ${HOST}\r\nTransfer-Encoding: chunked\r\n\r\n`);
    const session = await openHttp2(fixture);
    const stream = session.request({ ':path': '/', ':method': 'POST' });
    const status = new Promise((resolve) => stream.once('response', (head) => resolve(head[':status'])));
    const gone = closing(stream.resume());
    const dripping = setInterval(() => {
      client.write('1\r\nx\r\n');
      if (!stream.destroyed) stream.write('x');
    }, STALLED_MS / 7);
    expect(String(await readAndEnd(client))).toMatch(/^HTTP\/1\.1 408 /);
    expect(await status).toBe(408);
    await gone;
    clearInterval(dripping);
    session.destroy();
  });

  it('gets the id of its later request on the connection, in the format that it accepts', async () => {
    const ids: unknown[] = [];
    const port = await startPod((request, response) => {
      ids.push(request.headers['x-request-id']);
      takesBodies(request, response);
    });
    const fixture = await start({ routes: [runningRoute(HOST, port, { protocol: 'http' })], limits: pace });
    const client = await fixture.connect(HOST, http1);
    client.write(`GET / HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`);
    await once(client, 'data');
    client.write(`POST / HTTP/1.1\r\nHost: ${HOST}\r\nAccept: application/json\r\nContent-Length: 10\r\n\r\nx`);
    const text = String(await readAndEnd(client));
    expect(text).toMatch(/^HTTP\/1\.1 408 [^]*\r\ncontent-type: application\/json/i);
    expect(ids).toHaveLength(2);
    expect(text).toContain(String(ids[1]));
    expect(text.replaceAll(String(ids[1]), '')).not.toContain(String(ids[0]));
  });

  it('loses streams whose window stays closed, however short the responses, and frees the places at the pod', async () => {
    const port = await startPod((request, response) => {
      // The one comes to its end, the other is a stream of events that goes on.
      if (request.url === '/short') response.end('short');
      else response.write('event');
    });
    const fixture = await start({
      routes: [runningRoute(HOST, port, { protocol: 'http' })],
      limits: { ...pace, maxConnectionsPerPod: 20 },
    });
    const session = await openHttp2(fixture, { initialWindowSize: 0 });
    const streams = Array.from({ length: 20 }, (_, index) => session.request({ ':path': index % 2 ? '/short' : '/' }));
    const gone = streams.map(closing);
    await Promise.all(streams.map((stream) => once(stream, 'response')));
    const full = await fixture.connect(HOST, http1);
    full.write(`GET / HTTP/1.1\r\nHost: ${HOST}\r\nConnection: close\r\n\r\n`);
    expect(String(await readAndEnd(full))).toMatch(/^HTTP\/1\.1 503 /);
    await Promise.all(gone);
    const next = await fixture.connect(HOST, http1);
    next.write(`GET /short HTTP/1.1\r\nHost: ${HOST}\r\nConnection: close\r\n\r\n`);
    expect(String(await readAndEnd(next))).toMatch(/^HTTP\/1\.1 200 /);
    session.destroy();
  });

  it('may listen to rare events, or wait for a late response', async () => {
    const port = await startPod((request, response) => {
      if (request.url === '/events') response.write('first');
      setTimeout(() => response.end('last'), STALLED_MS * 3);
    });
    const fixture = await start({ routes: [runningRoute(HOST, port, { protocol: 'http' })], limits: pace });
    const session = await openHttp2(fixture);
    const ends = ['/events', '/poll'].flatMap(async (path) => {
      const client = await fixture.connect(HOST, http1);
      client.write(`GET ${path} HTTP/1.1\r\nHost: ${HOST}\r\nConnection: close\r\n\r\n`);
      const stream = session.request({ ':path': path }).setEncoding('utf8');
      let text = '';
      stream.on('data', (data: string) => (text += data));
      await closing(stream);
      return [text, String(await readAndEnd(client))];
    });
    for (const text of (await Promise.all(ends)).flat()) expect(text).toContain('last');
    session.destroy();
  });

  it('has at most as many concurrent requests on an HTTP/2 connection as connections', async () => {
    const port = await startPod(() => undefined);
    const fixture = await start({
      routes: [runningRoute(HOST, port, { protocol: 'http' })],
      limits: { ...pace, maxConnectionsPerAddress: 3 },
    });
    const session = await openHttp2(fixture);
    const waiting = [1, 2, 3].map(() => session.request({ ':path': '/' }));
    const gone = waiting.map(closing);
    const refused = session.request({ ':path': '/' });
    const [head] = (await once(refused, 'response')) as [{ ':status': number }];
    expect(head[':status']).toBe(503);
    await closing(refused.resume());
    waiting[2]?.close();
    await gone[2];
    await until('the place is free', async () => {
      const next = session.request({ ':path': '/' }).resume();
      const isRefused = await Promise.race([once(next, 'response').then(() => true), delay(200, false)]);
      next.close();
      return !isRefused;
    });
    session.destroy();
  });
});

describe('a deliberately slow client', () => {
  it('has no more than the handshake time: silent, or byte by byte', async () => {
    const { httpsPort, gateway } = await start({ routes: [], limits });
    const silent = await openPlain(httpsPort);
    const drip = await openPlain(httpsPort);
    const hello = Buffer.from('16030100c8010000c40303', 'hex');
    const dripping = (async () => {
      for (const byte of hello) {
        drip.write(Buffer.from([byte]));
        await delay(100);
      }
    })();
    await Promise.all([readAll(silent), readAll(drip)]);
    await until('both are gone', () => gateway.activeConnections() === 0);
    expect(gateway.counters.closed.deadline).toBe(2);
    await dripping;
    silent.destroy();
    drip.destroy();
  });

  it('has no more than the time of a request head, however it sends', async () => {
    const { connect: open, gateway } = await start({
      routes: [runningRoute(HOST, await startPod((_, response) => response.end()), { protocol: 'http' })],
      limits,
    });
    const client = await open(HOST, http1);
    client.write(`GET / HTTP/1.1\r\nHost: ${HOST}\r\n`);
    const dripping = setInterval(() => client.write('X-A: b\r\n'), 50);
    expect(String(await readAndEnd(client))).toMatch(/^HTTP\/1\.1 408 /);
    clearInterval(dripping);
    expect(gateway.counters.refused['request.timeout']).toBe(1);
  });

  it('gets 408 when it stops midway in a body that its pod waits for; one that continues slowly is served', async () => {
    const port = await startPod((request, response) => {
      request.resume().on('end', () => response.end('all of it'));
    });
    const { connect: open } = await start({ routes: [runningRoute(HOST, port, { protocol: 'http' })], limits });
    const head = `POST / HTTP/1.1\r\nHost: ${HOST}\r\nContent-Length: 12\r\n\r\n`;
    const stopping = await open(HOST, http1);
    stopping.write(`${head}123456`);
    const fromMs = performance.now();
    expect(String(await readAndEnd(stopping))).toMatch(/^HTTP\/1\.1 408 /);
    expect(performance.now() - fromMs).toBeGreaterThan(STALLED_MS);
    const slow = await open(HOST, http1);
    slow.write(head);
    const answer = once(slow, 'data');
    for (const byte of '123456789012') {
      slow.write(byte);
      await delay(STALLED_MS / 6);
    }
    expect(String((await answer)[0])).toMatch(/^HTTP\/1\.1 200 /);
    slow.destroy();
  });

  it('is disconnected when it does not read its response, within limited memory; a slow pod is waited for', async () => {
    const port = await startPod((request, response) => {
      if (request.url === '/endless') pourOut(request, response);
      else setTimeout(() => response.end('late'), STALLED_MS * 3);
    });
    const { connect: open, gateway } = await start({
      routes: [runningRoute(HOST, port, { protocol: 'http' })],
      limits,
    });
    const patient = await open(HOST, http1);
    patient.write(`GET /late HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`);
    const late = once(patient, 'data');
    const greedy = await Promise.all(Array.from({ length: 40 }, () => open(HOST, http1)));
    const before = process.memoryUsage().rss;
    for (const client of greedy) {
      client.pause();
      client.write(`GET /endless HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`);
    }
    await until('all are cut', () => gateway.activeConnections() === 1);
    // Of which most is the test's own clients' and pod's.
    expect(process.memoryUsage().rss - before).toBeLessThan(300 * 1024 * 1024);
    expect(String((await late)[0])).toMatch(/^HTTP\/1\.1 200 /);
    patient.destroy();
    for (const client of greedy) client.destroy();
  });

  it('is cut, stream by stream, in HTTP/2, too', async () => {
    const port = await startPod(pourOut);
    const { httpsPort, certificate, gateway } = await start({
      routes: [runningRoute(HOST, port, { protocol: 'http' })],
      limits,
    });
    const session = connectHttp2(`https://${HOST}:${httpsPort}`, {
      ca: certificate.certificatePem,
      servername: HOST,
      lookup: (_name, options, callback) => {
        if (options.all === true) callback(null, [{ address: '127.0.0.1', family: 4 }]);
        else callback(null, '127.0.0.1', 4);
      },
    });
    session.on('error', () => undefined);
    const stream = session.request({ ':path': '/' });
    stream.on('error', () => undefined);
    await once(stream, 'response');
    stream.pause();
    // Not events.once: the reset is an 'error', too.
    await new Promise((resolve) => stream.once('close', resolve));
    expect(stream.rstCode).not.toBe(0);
    expect(gateway.activeConnections()).toBe(1);
    session.destroy();
  });

  it('loses its session after the idle time, if one is set; so does a client that never reads', async () => {
    const backend = await echo();
    const pouring = await startBackend((socket) => {
      const piece = Buffer.alloc(64 * 1024);
      const pour = (): void => {
        while (!socket.destroyed && socket.write(piece));
      };
      socket.on('drain', pour);
      pour();
    });
    backends.push(pouring);
    const { connect: open, gateway } = await start({
      routes: [runningRoute('echo.pods.localhost', backend.port), runningRoute('pour.pods.localhost', pouring.port)],
      limits: { ...limits, sessionIdleMs: 1_000 },
    });
    const busy = await open('echo.pods.localhost');
    const idle = await open('echo.pods.localhost');
    expect(await echoes(idle)).toBe(true);
    const deaf = await open('pour.pods.localhost');
    deaf.pause();
    const talking = setInterval(() => busy.write('x'), 100);
    busy.resume();
    await until('two are closed', () => gateway.counters.closed.idle === 2);
    await until('one is left', () => gateway.activeConnections() === 1);
    clearInterval(talking);
    expect(busy.destroyed).toBe(false);
    for (const client of [busy, idle, deaf]) client.destroy();
  });
});
