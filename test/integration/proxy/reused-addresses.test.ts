import { once } from 'node:events';
import http from 'node:http';
import { createServer, type AddressInfo, type Server } from 'node:net';
import { PassThrough } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, describe, expect, it } from 'vitest';
import type { Backend, Route } from '../../../core/route.ts';
import { examineRequest } from '../../../proxy/protocols/http/exchange/examine.ts';
import { Exchange } from '../../../proxy/protocols/http/exchange/exchange.ts';
import { DEFAULT_HTTP_LIMITS } from '../../../proxy/protocols/http/exchange/limits.ts';
import { ConnectionPool } from '../../../proxy/protocols/http/http1/connection-pool.ts';
import { forwardedRequest } from '../../../proxy/protocols/http/exchange/forwarded-request.ts';
import { dialBackend } from '../../../proxy/session/dial-backend.ts';
import { until } from '../../support/until.ts';
import { runningRoute, systemClock, type GatewayFixture } from './support/gateway-fixture.ts';
import { createStage } from './support/stage.ts';
import { readAll, readAndEnd, startBackend } from './support/streams.ts';

const { start, backends } = createStage();

/** Says its name to whoever connects, and keeps what it was sent. */
async function namedBackend(name: string): Promise<{ readonly port: number; readonly received: Buffer[] }> {
  const received: Buffer[] = [];
  const backend = await startBackend((socket) => {
    socket.on('data', (chunk: Buffer) => received.push(chunk));
    socket.end(name);
  });
  backends.push(backend);
  return { port: backend.port, received };
}

function servedRoute(host: string, port: number, servicePort: number, changes: Partial<Route> = {}): Route {
  const base = runningRoute(host, port, changes);
  const service = { address: '127.0.0.1', port: servicePort };
  return { ...base, backend: base.backend === null ? null : { ...base.backend, service } };
}

async function hear({ connect: open }: GatewayFixture, host: string): Promise<string> {
  const client = await open(host);
  client.write('x');
  return String(await readAndEnd(client));
}

describe('the address of a pod', () => {
  it('is only dialed while control reports a fresh watch, and has done so recently', async () => {
    const [pod, service] = [await namedBackend('pod'), await namedBackend('service')];
    let now = 0;
    const fixture = await start({
      routes: [servedRoute('a.pods.localhost', pod.port, service.port)],
      clock: { ...systemClock, monotonicMs: () => now },
    });
    const say = async (isWatchFresh: boolean, heard: string): Promise<void> => {
      fixture.feed.send({ kind: 'alive', isWatchFresh });
      await until(`${heard} is dialled`, async () => (await hear(fixture, 'a.pods.localhost')) === heard);
    };
    // Nobody has said anything yet.
    expect(await hear(fixture, 'a.pods.localhost')).toBe('service');
    await say(true, 'pod');
    await say(false, 'service');
    await say(true, 'pod');
    now += 2_900;
    expect(await hear(fixture, 'a.pods.localhost')).toBe('pod');
    now += 200;
    expect(await hear(fixture, 'a.pods.localhost')).toBe('service');
    await say(true, 'pod');
    await fixture.feed.stop();
    await until('the loss is noticed', async () => (await hear(fixture, 'a.pods.localhost')) === 'service');
  });

  it('is checked for each request on a kept connection, which goes where the table says now', async () => {
    const answering = (name: string) => http.createServer((_request, response) => response.end(name));
    const servers = [answering('pod'), answering('service')];
    const ports: number[] = [];
    for (const server of servers) {
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
      ports.push((server.address() as AddressInfo).port);
    }
    const [podPort = 0, servicePort = 0] = ports;
    const fixture = await start({
      routes: [servedRoute('a.pods.localhost', podPort, servicePort, { protocol: 'http' })],
    });
    const client = await fixture.connect('a.pods.localhost', { ALPNProtocols: ['http/1.1'] });
    const ask = async (): Promise<string> => {
      client.write('GET / HTTP/1.1\r\nHost: a.pods.localhost\r\n\r\n');
      const [data] = (await once(client, 'data')) as [Buffer];
      return String(data).split('\r\n\r\n')[1] ?? '';
    };
    for (const [isWatchFresh, name] of [
      [true, 'pod'],
      [false, 'service'],
      [true, 'pod'],
    ] as const) {
      fixture.feed.send({ kind: 'alive', isWatchFresh });
      await until(`${name} answers`, async () => (await ask()).includes(name));
    }
    client.destroy();
    for (const server of servers) {
      server.closeAllConnections();
      server.close();
    }
  });
});

describe('a dial that succeeds just after its route was withdrawn', () => {
  const server = createServer();
  afterEach(() => new Promise<void>((resolve) => server.close(() => resolve())));

  async function listening(): Promise<{ readonly backend: Backend; readonly received: Promise<Buffer> }> {
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const received = once(server, 'connection').then(([socket]) => readAll(socket as never));
    const { port } = server.address() as AddressInfo;
    return { backend: { uid: 'uid-1', address: '127.0.0.1', port, service: null }, received };
  }

  it('sends nothing, and the client gets the reason', async () => {
    const { backend, received } = await listening();
    const answers: (Backend | 'route.stopped')[] = [backend];
    const dialled = await dialBackend(new PassThrough(), () => answers.shift() ?? 'route.stopped');
    expect(dialled).toEqual({ kind: 'refused', code: 'route.stopped' });
    expect(await received).toHaveLength(0);
  });

  it('sends nothing to an address that now belongs to another pod', async () => {
    const { backend, received } = await listening();
    const answers: Backend[] = [backend, { ...backend, uid: 'uid-2' }];
    const dialled = await dialBackend(new PassThrough(), () => answers.shift() ?? 'route.stopped');
    expect(dialled.kind).toBe('refused');
    expect(await received).toHaveLength(0);
  });

  it('sends nothing of an HTTP request', async () => {
    const { backend, received } = await listening();
    const { address, port } = backend;
    const head = { method: 'GET', url: '/', httpVersion: '1.1', rawHeaders: ['Host', 'a.b'] } as const;
    const request = examineRequest(head, 'a.b');
    if (request.kind !== 'good') throw new Error(request.kind);
    const route = runningRoute('a.b', port);
    const pool = new ConnectionPool('key', { kind: 'address', address, port }, DEFAULT_HTTP_LIMITS);
    const client = { address: '127.0.0.1', passedOn: null };
    const accepted = { kind: 'pod', request, requestId: 'id', client, route, backend, visitor: null } as const;
    const info = { id: 'id', remoteAddress: '127.0.0.1', remotePort: 1, serverName: 'a.b', proof: null, tls: null };
    const pools = [pool, pool];
    const code = await new Promise<string>((resolve) => {
      const exchange = new Exchange(forwardedRequest(head, accepted, info, null), {
        hasAnswered: false,
        // There when a kept connection is looked for and when it is dialed; gone after that.
        poolNow: () => pools.shift() ?? null,
        notYet: () => null,
        wantsBody: () => undefined,
        onInterim: () => resolve('interim'),
        onHead: () => resolve('answered'),
        onData: () => true,
        onFlush: () => undefined,
        onEnd: () => resolve('answered'),
        onUnreachable: ({ code }) => resolve(code),
        onBroken: ({ code }) => resolve(code),
        onUpgraded: () => resolve('upgraded'),
      });
      exchange.start();
    });
    expect(code).toBe('route.unreachable');
    expect(await received).toHaveLength(0);
  });
});

describe('addresses that are immediately reused by the next pod', () => {
  it('never lead a byte to another pod, over kept connections, new ones or dials in progress', async () => {
    const names = ['a', 'b', 'c', 'd', 'e', 'f'];
    const strays: string[] = [];
    const answered = { requests: 0, sessions: 0 };
    const fixture = await start({ routes: [] });
    const stop = new AbortController();

    /** Everything that is sent here must name this pod: HTTP in Host, a session in its first bytes. */
    const podServer = (name: string): Server =>
      createServer((socket) => {
        let isFirst = true;
        socket
          .on('error', () => undefined)
          .on('data', (chunk) => {
            const text = chunk.toString('latin1');
            const isHttp = text.startsWith('GET ');
            if (isHttp ? !text.includes(`host: ${name}-web.pods.localhost`) : text !== name && isFirst) {
              strays.push(`${name} got ${JSON.stringify(text.slice(0, 80))}`);
            }
            isFirst = false;
            if (isHttp) answered.requests++;
            else answered.sessions++;
            socket.write(isHttp ? `HTTP/1.1 200 OK\r\nContent-Length: ${name.length}\r\n\r\n${name}` : name);
          });
      });

    async function live(name: string, port: number): Promise<void> {
      const server = podServer(name);
      const sockets = new Set<{ destroy(): void }>();
      server.on('connection', (socket) => sockets.add(socket));
      await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
      fixture.feed.change([
        runningRoute(`${name}-web.pods.localhost`, port, { protocol: 'http', uid: `uid-${name}` }),
        runningRoute(`${name}.pods.localhost`, port, { uid: `uid-${name}` }),
      ]);
      await delay(80);
      fixture.feed.change([], [`${name}-web.pods.localhost`, `${name}.pods.localhost`]);
      // As a pod's end takes some moments, and the word of it some less.
      await until('it is withdrawn', () => fixture.gateway.table.get(`${name}.pods.localhost`) === undefined, {
        everyMs: 1,
      });
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    }

    /** Two addresses for six pods: each is the next one's in the same moment. */
    async function turns(mine: readonly string[], port: number): Promise<void> {
      for (let round = 0; round < 8; round++) for (const name of mine) await live(name, port);
    }

    async function browse(name: string): Promise<void> {
      while (!stop.signal.aborted) {
        const client = await fixture.connect(`${name}-web.pods.localhost`, { ALPNProtocols: ['http/1.1'] });
        for (let request = 0; request < 20 && !client.destroyed; request++) {
          client.write(`GET /${request} HTTP/1.1\r\nHost: ${name}-web.pods.localhost\r\n\r\n`);
          await once(client, 'data', { signal: AbortSignal.timeout(200) }).catch(() => undefined);
        }
        client.destroy();
      }
    }
    async function talk(name: string): Promise<void> {
      while (!stop.signal.aborted) {
        const client = await fixture.connect(`${name}.pods.localhost`);
        client.write(name);
        await once(client, 'data', { signal: AbortSignal.timeout(50) }).catch(() => undefined);
        client.destroy();
      }
    }

    const [first = 0, second = 0] = await freePorts();
    const clients = names.flatMap((name) => [browse(name), talk(name)]);
    await Promise.all([turns(['a', 'b', 'c'], first), turns(['d', 'e', 'f'], second)]);
    stop.abort();
    await Promise.all(clients);
    expect(strays).toEqual([]);
    expect(answered.requests).toBeGreaterThan(20);
    expect(answered.sessions).toBeGreaterThan(5);
  });
});

async function freePorts(): Promise<readonly number[]> {
  const servers = [createServer(), createServer()];
  for (const server of servers) await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const ports = servers.map((server) => (server.address() as AddressInfo).port);
  for (const server of servers) await new Promise((resolve) => server.close(resolve));
  return ports;
}
