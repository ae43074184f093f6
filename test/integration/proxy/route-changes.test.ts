import { once } from 'node:events';
import { createServer, type AddressInfo } from 'node:net';
import { type Server, createServer as createHttpServer } from 'node:http';
import type { ConnectionOptions, TLSSocket } from 'node:tls';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { SessionPolicy } from '../../../proxy/session/running-sessions.ts';
import { until } from '../../support/until.ts';
import { makeCertificate } from './support/certificate.ts';
import { route, runningRoute, startGateway, type GatewayFixture } from './support/gateway-fixture.ts';
import { closed, startBackend, type Backend } from './support/streams.ts';

const certificate = makeCertificate(['localhost', '*.pods.localhost']);
const HOST = 'echo.pods.localhost';
const WEB = 'web.pods.localhost';
/** As nearly all clients are: what ends for them is closed. */
const CLOSES: ConnectionOptions & { readonly allowHalfOpen: boolean } = { allowHalfOpen: false };
const ELSEWHERE = ['192.0.2.0/24'];

let echo: Backend;
let web: Server;
let webConnections = 0;
let fixture: GatewayFixture;

beforeEach(async () => {
  echo = await startBackend((socket) => socket.pipe(socket));
  webConnections = 0;
  web = createHttpServer((request, response) => {
    if (request.url === '/') response.end('here');
    // An answer that goes on for ever, or does not begin.
    if (request.url === '/begun') response.write('begun');
  });
  web.on('upgrade', (_request, socket) => {
    socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n');
    socket.on('error', () => undefined).pipe(socket);
  });
  web.on('connection', (socket) => {
    webConnections++;
    socket.on('close', () => webConnections--).on('error', () => undefined);
  });
  await once(web.listen(0, '127.0.0.1'), 'listening');
});
afterEach(async () => {
  await fixture.stop();
  await echo.close();
  web.closeAllConnections();
  await new Promise((resolve) => web.close(resolve));
});

const webPort = (): number => (web.address() as AddressInfo).port;

async function start(sessions: SessionPolicy): Promise<void> {
  const routes = [runningRoute(HOST, echo.port), runningRoute(WEB, webPort(), { protocol: 'http' })];
  fixture = await startGateway({ certificate, routes, sessions });
}

async function echoes(client: TLSSocket, word: string): Promise<boolean> {
  client.write(word);
  const [data] = (await once(client, 'data')) as [Buffer];
  return data.toString() === word;
}

/** A session that has carried bytes. */
async function open(): Promise<TLSSocket> {
  const client = await fixture.connect(HOST, CLOSES);
  expect(await echoes(client, 'first')).toBe(true);
  return client;
}

async function ask(path: string, fields = ''): Promise<TLSSocket> {
  const client = await fixture.connect(WEB, { ...CLOSES, ALPNProtocols: ['http/1.1'] });
  client.write(`GET ${path} HTTP/1.1\r\nHost: ${WEB}\r\n${fields}\r\n`);
  return client;
}

async function said(client: TLSSocket, part: string): Promise<void> {
  let text = '';
  client.on('data', (data: Buffer) => (text += data.toString()));
  await until(`the answer has ${part}`, () => text.includes(part));
}

describe('a route that is removed', () => {
  it('cuts its sessions at once if so configured', async () => {
    await start({ onRouteGone: 'cut', onClientRefused: 'drain', drainMs: 60_000 });
    const sessions = [await open(), await open()];
    fixture.feed.change([], [HOST]);
    for (const client of sessions) await closed(client);
    await until('it is counted', () => fixture.gateway.counters.ended['route-gone'] === 2);
    await until('every place is given back', () => fixture.gateway.activeConnections() === 0);
  });

  it('keeps its sessions for the drain time, if their pod runs, and then cuts them', async () => {
    await start({ onRouteGone: 'drain', onClientRefused: 'cut', drainMs: 1_500 });
    const client = await open();
    const changedMs = performance.now();
    fixture.feed.change([route(HOST, { status: 'SHUTTING_DOWN' })]);
    await until('the change arrives', () => fixture.gateway.table.get(HOST)?.status === 'SHUTTING_DOWN');
    expect(await echoes(client, 'while it drains')).toBe(true);
    fixture.feed.change([], [HOST]);
    await until('the route is gone', () => fixture.gateway.table.get(HOST) === undefined);
    expect(await echoes(client, 'without a route')).toBe(true);
    await closed(client);
    expect(performance.now() - changedMs).toBeGreaterThanOrEqual(1_490);
    await until('it is counted', () => fixture.gateway.counters.ended['route-gone'] === 1);
  });

  it('cancels the drain of sessions whose route is back', async () => {
    await start({ onRouteGone: 'drain', onClientRefused: 'cut', drainMs: 400 });
    const client = await open();
    fixture.feed.change([], [HOST]);
    fixture.feed.change([runningRoute(HOST, echo.port)]);
    await until('the route is back', () => fixture.gateway.table.get(HOST) !== undefined);
    await new Promise((resolve) => setTimeout(resolve, 800));
    expect(await echoes(client, 'still here')).toBe(true);
    client.destroy();
  });

  it('ends sessions of a pod that was deleted and created anew, also in a new table', async () => {
    await start({ onRouteGone: 'cut', onClientRefused: 'cut', drainMs: 60_000 });
    const old = await open();
    fixture.feed.routes = [runningRoute(HOST, echo.port, { uid: 'the next' })];
    await fixture.feed.stop();
    await fixture.feed.start();
    await closed(old);
    const next = await open();
    next.destroy();
  });

  it('ends HTTP responses and tunnels in progress, with the reason if no response has begun', async () => {
    await start({ onRouteGone: 'cut', onClientRefused: 'cut', drainMs: 60_000 });
    const begun = await ask('/begun');
    await said(begun, 'begun');
    const tunnel = await ask('/tunnel', 'Connection: Upgrade\r\nUpgrade: websocket\r\n');
    await said(tunnel, '101');
    expect(await echoes(tunnel, 'frame')).toBe(true);
    const silent = await ask('/silent');
    await until('all have come to the pod', () => webConnections === 3);
    fixture.feed.change([route(WEB, { status: 'STOPPED', protocol: 'http' })]);
    await Promise.all([closed(begun), closed(tunnel), said(silent, '503 Service Unavailable')]);
    await until('the pod is rid of all', () => webConnections === 0);
    silent.destroy();
  });

  it('drops kept connections to the former pod: the next request reaches the new one', async () => {
    await start({ onRouteGone: 'drain', onClientRefused: 'cut', drainMs: 60_000 });
    const client = await ask('/');
    await said(client, 'here');
    const other = createServer((socket) => {
      socket.on('error', () => undefined);
      socket.on('data', () => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nother'));
    });
    await once(other.listen(0, '127.0.0.1'), 'listening');
    const { port } = other.address() as AddressInfo;
    fixture.feed.change([runningRoute(WEB, port, { uid: 'the next', protocol: 'http' })]);
    await until('the change arrives', () => fixture.gateway.table.get(WEB)?.uid === 'the next');
    client.write(`GET / HTTP/1.1\r\nHost: ${WEB}\r\n\r\n`);
    await said(client, 'other');
    await until('the connection to the former pod is closed', () => webConnections === 0);
    client.destroy();
    other.close();
  });
});

describe('an allow list that no longer admits a client', () => {
  it('cuts its sessions at once, and no others', async () => {
    await start({ onRouteGone: 'drain', onClientRefused: 'cut', drainMs: 60_000 });
    const client = await open();
    const other = await ask('/begun');
    await said(other, 'begun');
    fixture.feed.change([runningRoute(HOST, echo.port, { ipAllowList: ['127.0.0.0/8'] })]);
    await until('the list arrives', () => fixture.gateway.table.get(HOST)?.ipAllowList.length === 1);
    expect(await echoes(client, 'still let in')).toBe(true);
    fixture.feed.change([runningRoute(HOST, echo.port, { ipAllowList: ELSEWHERE })]);
    await closed(client);
    await until('it is counted', () => fixture.gateway.counters.ended['client-refused'] === 1);
    expect(other.closed).toBe(false);
    other.destroy();
  });

  it('keeps them for a while if so configured, and refuses the next request and connection at once', async () => {
    await start({ onRouteGone: 'cut', onClientRefused: 'drain', drainMs: 2_000 });
    const begun = await ask('/begun');
    await said(begun, 'begun');
    const kept = await ask('/');
    await said(kept, 'here');
    fixture.feed.change([runningRoute(WEB, webPort(), { protocol: 'http', ipAllowList: ELSEWHERE })]);
    await until('the list arrives', () => fixture.gateway.table.get(WEB)?.ipAllowList.length === 1);
    const sinceMs = performance.now();
    kept.write(`GET / HTTP/1.1\r\nHost: ${WEB}\r\n\r\n`);
    await said(kept, '403 Forbidden');
    expect(begun.closed).toBe(false);
    await closed(begun);
    expect(performance.now() - sinceMs).toBeGreaterThan(1_500);
    kept.destroy();
  });
});

it('counts sessions that are cut when the gateway ends', async () => {
  await start({ onRouteGone: 'drain', onClientRefused: 'cut', drainMs: 60_000 });
  const client = await open();
  fixture.gateway.closeAll();
  await closed(client);
  await until('it is counted', () => fixture.gateway.counters.ended.drained === 1);
});
