import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import { connect as connectHttp2 } from 'node:http2';
import { createHash } from 'node:crypto';
import type { AddressInfo, Socket } from 'node:net';
import { connect as connectTls, createServer as createTlsServer } from 'node:tls';
import { afterAll, afterEach, describe, expect, it } from 'vitest';
import { until } from '../../support/until.ts';
import { runningRoute, type GatewayFixture } from './support/gateway-fixture.ts';
import { certificate, createStage } from './support/stage.ts';
import { closed, startBackend } from './support/streams.ts';
import { openLossyNetwork } from './support/lossy-network.ts';

const { start, backends } = createStage();
const pods: Server[] = [];
afterEach(() => {
  for (const pod of pods.splice(0)) {
    pod.closeAllConnections();
    pod.close();
  }
});

/** Ignores the end of its clients, as Node's HTTP server does with upgraded sockets. */
async function startDeafPod(): Promise<number> {
  const pod = await startBackend((socket) => socket.on('data', (data) => socket.write(data)));
  backends.push(pod);
  return pod.port;
}

async function startWebSocketPod(): Promise<number> {
  const pod = createServer();
  pod.on('upgrade', (request, socket) => {
    socket.on('error', () => undefined);
    const key = `${request.headers['sec-websocket-key'] ?? ''}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`;
    const accept = createHash('sha1').update(key).digest('base64');
    socket.write(
      `HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`,
    );
    socket.on('data', (data) => socket.write(data));
  });
  pods.push(pod);
  await once(pod.listen(0, '127.0.0.1'), 'listening');
  return (pod.address() as AddressInfo).port;
}

const UPGRADE = [
  'GET / HTTP/1.1',
  'Host: web.pods.localhost',
  'Connection: Upgrade',
  'Upgrade: websocket',
  'Sec-WebSocket-Version: 13',
  'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
  '\r\n',
].join('\r\n');
const STARTUP = Buffer.concat([Buffer.from('0000001300030000', 'hex'), Buffer.from('user\0name\0\0')]);
const HALF_CLOSED_MS = 1_000;

async function requestsNow({ gateway, feed }: GatewayFixture): Promise<number> {
  const before = feed.received.length;
  gateway.reportCounts({ cpuSeconds: 0, residentBytes: 0, eventLoopDelaySeconds: 0, eventLoopDelayMaxSeconds: 0 });
  return until('the counts', () => {
    const told = feed.received.slice(before).find((message) => message.kind === 'counts');
    return told === undefined ? null : { requests: told.counts.requestsNow };
  }).then(({ requests }) => requests);
}

/** Opens TLS with each [server name, ALPN, words, ends] of the JSON given, hears something, ends where it is to, and stays. */
const STAYING_CLIENTS = `
const [port, host, list] = process.argv.slice(1);
let open = 0;
for (const [servername, alpn, words, ends] of JSON.parse(list)) {
  const options = { host, port, servername, rejectUnauthorized: false, allowHalfOpen: true, ALPNProtocols: alpn };
  const client = require('node:tls').connect(options, () => client.write(Buffer.from(words, 'latin1')));
  client.once('data', () => {
    if (ends) client.end();
    if (++open === JSON.parse(list).length) setTimeout(() => console.log('all'), 300);
  });
}
`;

describe('a session whose client has ended its side, at a pod that ignores it', () => {
  it.each([
    ['tcp', 'raw', [], Buffer.from('word')],
    ['Postgres', 'pg', ['postgresql'], STARTUP],
    ['WebSocket', 'web', ['http/1.1'], Buffer.from(UPGRADE)],
  ])('is closed when it is quiet: %s', async (_what, name, ALPNProtocols, words) => {
    const port = await startDeafPod();
    const worker = await start({
      routes: [
        runningRoute('raw.pods.localhost', port),
        runningRoute('pg.pods.localhost', port, { protocol: 'postgres' }),
        runningRoute('web.pods.localhost', await startWebSocketPod(), { protocol: 'http' }),
      ],
      limits: { halfClosedMs: HALF_CLOSED_MS },
    });
    const client = await worker.connect(`${name}.pods.localhost`, { ALPNProtocols });
    client.write(words);
    await once(client, 'data');
    const fromMs = performance.now();
    client.end();
    await closed(client.resume());
    expect(performance.now() - fromMs).toBeGreaterThan(HALF_CLOSED_MS - 100);
    await until('the place is free', () => worker.gateway.activeConnections() === 0);
    expect(worker.gateway.counters.ended['idle-half-closed']).toBe(name === 'web' ? 0 : 1);
  });

  it('is closed when it is quiet: WebSocket over HTTP/2', async () => {
    const worker = await start({
      routes: [runningRoute('web.pods.localhost', await startWebSocketPod(), { protocol: 'http' })],
      limits: { halfClosedMs: HALF_CLOSED_MS },
    });
    const socket = await worker.connect('web.pods.localhost', { ALPNProtocols: ['h2'] });
    const session = connectHttp2('https://web.pods.localhost', { createConnection: () => socket });
    session.on('error', () => undefined);
    await once(session, 'remoteSettings');
    const path = { ':path': '/', 'sec-websocket-version': '13' };
    const stream = session.request({ ':method': 'CONNECT', ':protocol': 'websocket', ...path }, { endStream: false });
    stream.on('error', () => undefined);
    await once(stream, 'response');
    expect(await requestsNow(worker)).toBe(1);
    stream.end();
    await new Promise((resolve) => stream.resume().once('close', resolve));
    await until('the place is free', async () => (await requestsNow(worker)) === 0);
    session.destroy();
  });

  it('is closed when the client process was killed, which sends no close in TLS', async () => {
    const port = await startDeafPod();
    const worker = await start({
      routes: [
        runningRoute('raw.pods.localhost', port),
        runningRoute('pg.pods.localhost', port, { protocol: 'postgres' }),
        runningRoute('web.pods.localhost', await startWebSocketPod(), { protocol: 'http' }),
      ],
      limits: { halfClosedMs: HALF_CLOSED_MS },
    });
    const sessions = [
      ['raw.pods.localhost', [], 'word', false],
      ['pg.pods.localhost', ['postgresql'], STARTUP.toString('latin1'), false],
      ['web.pods.localhost', ['http/1.1'], UPGRADE, false],
    ];
    const clients = Array.from({ length: 30 }, (_, index) => sessions[index % sessions.length]);
    const listening = await worker.gateway.listen('https', { host: '127.0.0.1', port: 0 });
    const words = ['-e', STAYING_CLIENTS, String(listening.port), '127.0.0.1', JSON.stringify(clients)];
    const child = spawn(process.execPath, words, { stdio: ['ignore', 'pipe', 'inherit'] });
    await once(child.stdout, 'data');
    expect(worker.gateway.activeConnections()).toBe(clients.length);
    child.kill('SIGKILL');
    await until('all places are free', () => worker.gateway.activeConnections() === 0);
  });

  it('continues while there is traffic, and a client may wait for its response', async () => {
    const slow = await startBackend((socket) => {
      socket.resume().once('end', () => {
        let words = 6;
        const talking = setInterval(() => {
          socket.write('word ');
          if (--words > 0) return;
          clearInterval(talking);
          socket.end();
        }, HALF_CLOSED_MS / 3);
      });
    });
    backends.push(slow);
    const worker = await start({
      routes: [runningRoute('slow.pods.localhost', slow.port)],
      limits: { halfClosedMs: HALF_CLOSED_MS },
    });
    const client = await worker.connect('slow.pods.localhost');
    client.end('question');
    let answer = '';
    client.on('data', (data: Buffer) => (answer += data.toString()));
    await closed(client);
    expect(answer).toBe('word '.repeat(6));
  });
});

const network = await openLossyNetwork();
afterAll(() => network?.close());

describe.skipIf(network === null)('clients that are cut off from the network (network namespaces need root)', () => {
  it('free their places once keep-alive has failed, even after they had ended their side', async () => {
    if (network === null) return;
    const port = await startDeafPod();
    const own = createTlsServer({
      key: certificate.privateKeyPem,
      cert: certificate.certificatePem,
      allowHalfOpen: true,
    });
    own.on('secureConnection', (socket) =>
      socket.on('error', () => undefined).on('data', (data) => socket.write(data)),
    );
    await once(own.listen(0, '127.0.0.1'), 'listening');
    const web = runningRoute('web.pods.localhost', await startWebSocketPod(), { protocol: 'http' });
    const { gateway } = await start({
      routes: [
        runningRoute('raw.pods.localhost', port),
        runningRoute('pg.pods.localhost', port, { protocol: 'postgres' }),
        runningRoute('pass.pods.localhost', (own.address() as AddressInfo).port, { tls: 'passthrough' }),
        web,
      ],
      limits: { keepAliveMs: 1_000, halfClosedMs: 3_600_000, handshakeTimeoutMs: 3_600_000 },
    });
    const listening = await gateway.listen('https', { host: network.address, port: 0 });
    const clients = [true, false].flatMap((ends) => [
      ['raw.pods.localhost', [], 'word', ends],
      ['pg.pods.localhost', ['postgresql'], STARTUP.toString('latin1'), ends],
      ['pass.pods.localhost', [], 'word', ends],
      ['web.pods.localhost', ['http/1.1'], UPGRADE, ends],
    ]);
    const command = [process.execPath, '-e', STAYING_CLIENTS, `${listening.port}`, network.address];
    const child = network.spawn([...command, JSON.stringify(clients)]);
    await once(child.stdout ?? child, 'data');
    expect(gateway.activeConnections()).toBe(clients.length);
    await network.cut();
    // Keep-alive asks ten times, once a second.
    await until('all places are free', () => gateway.activeConnections() === 0, { timeoutMs: 40_000 });
    own.close();
  });

  it('free their places while data is unacknowledged; a client that is alive but does not read stays', async () => {
    if (network === null) return;
    const words = Buffer.from('more');
    const sockets: Socket[] = [];
    const talkative = await startBackend((socket) => {
      sockets.push(socket);
      socket.on('error', () => undefined).on('data', (data) => socket.write(data));
    });
    backends.push(talkative);
    const { gateway } = await start({
      routes: [
        runningRoute('raw.pods.localhost', talkative.port),
        runningRoute('pg.pods.localhost', talkative.port, { protocol: 'postgres' }),
      ],
      limits: { keepAliveMs: 1_000, handshakeTimeoutMs: 3_600_000 },
    });
    await network.mend();
    const listening = await gateway.listen('https', { host: network.address, port: 0 });
    const near = connectTls({
      host: network.address,
      port: listening.port,
      servername: 'raw.pods.localhost',
      ca: certificate.certificatePem,
    });
    near.on('error', () => undefined);
    near.write('word');
    await once(near, 'data');
    near.pause();
    const clients = [
      ['raw.pods.localhost', [], 'word', false],
      ['pg.pods.localhost', ['postgresql'], STARTUP.toString('latin1'), false],
    ];
    const command = [process.execPath, '-e', STAYING_CLIENTS, `${listening.port}`, network.address];
    const child = network.spawn([...command, JSON.stringify(clients)]);
    await once(child.stdout ?? child, 'data');
    expect(gateway.activeConnections()).toBe(1 + clients.length);
    await network.cut();
    // To the clients that are cut off, and far more than its window has room for to the one that is not.
    for (const [index, socket] of sockets.entries()) socket.write(index === 0 ? Buffer.alloc(16 << 20) : words);
    await until('only the living client is left', () => gateway.activeConnections() === 1, { timeoutMs: 40_000 });
    expect(gateway.counters.closed.vanished).toBe(clients.length);
    let received = 0;
    near.on('data', (data: Buffer) => (received += data.length)).resume();
    await until('its data', () => received === 16 << 20);
    near.destroy();
  });
});
