import { once } from 'node:events';
import type { ConnectionOptions } from 'node:tls';
import { describe, expect, it } from 'vitest';
import { until } from '../../support/until.ts';
import { route, runningRoute, systemClock } from './support/gateway-fixture.ts';
import { BOLT_HELLO, createStage, echoes } from './support/stage.ts';
import { openPlain, readAll, readAndEnd, startBackend } from './support/streams.ts';

const { start, echo, backends } = createStage();

describe('limits', () => {
  it('admits exactly that many connections per address, refuses the next in its own protocol, and admits one more when one closes', async () => {
    const backend = await echo();
    const { connect: open, gateway } = await start({
      routes: [runningRoute('echo.pods.localhost', backend.port)],
      limits: { maxConnectionsPerAddress: 3 },
    });
    const clients = await Promise.all([1, 2, 3].map(() => open('echo.pods.localhost')));
    for (const client of clients) expect(await echoes(client)).toBe(true);
    const surplus = await open('echo.pods.localhost');
    surplus.write('GET / HTTP/1.1\r\nHost: echo.pods.localhost\r\n\r\n');
    expect(String(await readAndEnd(surplus))).toMatch(/^HTTP\/1\.1 503 /);
    expect(gateway.counters.refused['route.full']).toBe(1);
    clients[0]?.destroy();
    await until('the place is given back', () => gateway.activeConnections() === 2);
    const next = await open('echo.pods.localhost');
    expect(await echoes(next)).toBe(true);
    for (const client of [...clients, next]) client.destroy();
  });

  it('reserve half of a pod for others: one address is refused, in its protocol, and another is admitted', async () => {
    const backend = await echo();
    const { connect: open, gateway } = await start({
      routes: [runningRoute('echo.pods.localhost', backend.port)],
      limits: { maxConnectionsPerPod: 4, maxConnectionsPerAddressAtPod: 2 },
    });
    const others: ConnectionOptions & { readonly localAddress: string } = { localAddress: '127.0.0.9' };
    const clients = [await open('echo.pods.localhost'), await open('echo.pods.localhost')];
    for (const client of clients) expect(await echoes(client)).toBe(true);
    const third = await open('echo.pods.localhost');
    third.write('GET / HTTP/1.1\r\nHost: echo.pods.localhost\r\n\r\n');
    expect(String(await readAndEnd(third))).toMatch(/^HTTP\/1\.1 503 /);
    expect(gateway.counters.limited['pod-address']).toBe(1);
    for (let count = 0; count < 2; count++) {
      const client = await open('echo.pods.localhost', others);
      clients.push(client);
      expect(await echoes(client)).toBe(true);
    }
    for (const client of clients) client.destroy();
  });

  it('admits exactly that many sessions per pod, under any name', async () => {
    const backend = await echo();
    const { connect: open, gateway } = await start({
      routes: [
        runningRoute('a.pods.localhost', backend.port, { uid: 'same' }),
        runningRoute('a-more.pods.localhost', backend.port, { uid: 'same' }),
      ],
      limits: { maxConnectionsPerPod: 2 },
    });
    const one = await open('a.pods.localhost');
    const two = await open('a-more.pods.localhost');
    expect([await echoes(one), await echoes(two)]).toEqual([true, true]);
    const three = await open('a.pods.localhost');
    three.write('GET / HTTP/1.1\r\nHost: a.pods.localhost\r\n\r\n');
    expect(String(await readAndEnd(three))).toMatch(/^HTTP\/1\.1 503 /);
    one.destroy();
    await until('the place is given back', () => gateway.activeConnections() === 1);
    const four = await open('a.pods.localhost');
    expect(await echoes(four)).toBe(true);
    two.destroy();
    four.destroy();
  });

  it('closes connections beyond the surplus at once', async () => {
    const { httpsPort, gateway } = await start({
      routes: [],
      limits: { maxConnectionsPerAddress: 1 },
    });
    const sockets = await Promise.all(Array.from({ length: 12 }, () => openPlain(httpsPort)));
    await Promise.any(sockets.map((socket) => readAll(socket)));
    await until('three are closed', () => gateway.counters.closed['too-many-connections'] === 3);
    expect(gateway.activeConnections()).toBe(9);
    for (const socket of sockets) socket.destroy();
  });
});

describe('a tcp route that cannot be reached', () => {
  it('is dialed again while the client waits, at the pod’s current address', async () => {
    const gone = await echo();
    await gone.close();
    const { connect: open, feed } = await start({ routes: [runningRoute('late.pods.localhost', gone.port)] });
    const client = await open('late.pods.localhost');
    client.write('early');
    const answer = once(client, 'data') as Promise<[Buffer]>;
    const backend = await echo();
    feed.change([runningRoute('late.pods.localhost', backend.port)]);
    expect(String((await answer)[0])).toBe('early');
    client.destroy();
  });

  it('refuses in the client’s protocol once dialing is given up, and at once when the pod has been replaced', async () => {
    const gone = await echo();
    await gone.close();
    const worker = await start({
      routes: [runningRoute('gone.pods.localhost', gone.port)],
      // Twenty times as fast as the clock on the wall.
      clock: { ...systemClock, monotonicMs: () => performance.now() * 20 },
    });
    const { connect: open, feed, gateway } = worker;
    const client = await open('gone.pods.localhost');
    client.write('GET / HTTP/1.1\r\nHost: gone.pods.localhost\r\n\r\n');
    expect(String(await readAndEnd(client))).toMatch(/^HTTP\/1\.1 502 /);
    const second = await open('gone.pods.localhost');
    second.write(BOLT_HELLO);
    const first = once(second, 'data') as Promise<[Buffer]>;
    feed.change([runningRoute('gone.pods.localhost', gone.port, { uid: 'another' })]);
    expect((await first)[0]).toHaveLength(4);
    expect(gateway.counters.refused['route.unreachable']).toBe(2);
    second.destroy();
  });

  it('reports in HTTP, in Bolt, or by closing, that the pod is stopped or the name unknown', async () => {
    const { connect: open } = await start({ routes: [route('off.pods.localhost', { status: 'STOPPED' })] });
    for (const [name, status] of [
      ['off.pods.localhost', 503],
      ['nobody.pods.localhost', 404],
    ] as const) {
      const browser = await open(name);
      browser.write(`GET / HTTP/1.1\r\nHost: ${name}\r\nConnection: close\r\n\r\n`);
      expect(String(await readAndEnd(browser))).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `));
      const driver = await open(name);
      const answer = once(driver, 'data') as Promise<[Buffer]>;
      driver.write(BOLT_HELLO);
      expect((await answer)[0]).toHaveLength(4);
      driver.destroy();
      const other = await open(name);
      other.write('SSH-2.0-x\r\n');
      expect(await readAndEnd(other)).toHaveLength(0);
    }
  });

  it('resets the pod’s side when the client resets, and the reverse, after what was sent before', async () => {
    const ends: string[] = [];
    const backend = await startBackend((socket) => {
      socket.on('error', () => ends.push('error')).on('end', () => ends.push('end'));
      socket.on('data', (data) => {
        if (String(data) === 'die') socket.write('last words', () => setTimeout(() => socket.resetAndDestroy(), 50));
      });
    });
    backends.push(backend);
    const { connect: open, gateway } = await start({ routes: [runningRoute('raw.pods.localhost', backend.port)] });
    const leaving = await open('raw.pods.localhost');
    leaving.write('hello');
    await until('the session is there', () => gateway.counters.sessions === 1);
    (leaving as unknown as { _handle: { _parent: { reset: (done: () => void) => void } } })._handle._parent.reset(
      () => undefined,
    );
    await until('the pod sees an error, no end', () => ends.length === 1);
    expect(ends).toEqual(['error']);

    const staying = await open('raw.pods.localhost');
    staying.write('die');
    expect(String(await readAndEnd(staying))).toBe('last words');
    await until('counted', () => gateway.counters.ended['backend-failed'] === 1);
  });
});
