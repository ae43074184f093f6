import { randomBytes } from 'node:crypto';
import { request } from 'node:http';
import { connect, type Socket } from 'node:net';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import { once } from 'node:events';
import { afterEach, describe, expect, it } from 'vitest';
import { until } from '../../support/until.ts';
import { makeCertificate } from './support/certificate.ts';
import {
  route,
  runningRoute,
  silentLog,
  startGateway,
  systemClock,
  type FixtureOptions,
  type GatewayFixture,
} from './support/gateway-fixture.ts';
import { closed, openPlain, readAll, readAndEnd, startBackend, type Backend } from './support/streams.ts';

const certificate = makeCertificate(['localhost', '*.pods.localhost']);
const BOLT_HELLO = Buffer.from('6060b017000001ff00080805000204040000 0003'.replace(' ', ''), 'hex');

let fixture: GatewayFixture | null = null;
const backends: Backend[] = [];

async function start(options: Omit<FixtureOptions, 'certificate'>): Promise<GatewayFixture> {
  fixture = await startGateway({ certificate, ...options });
  return fixture;
}

async function echo(): Promise<Backend> {
  const backend = await startBackend((socket) => socket.pipe(socket));
  backends.push(backend);
  return backend;
}

afterEach(async () => {
  await fixture?.stop();
  fixture = null;
  for (const backend of backends.splice(0)) await backend.close();
});

async function echoes(client: TLSSocket, word = 'word'): Promise<boolean> {
  client.write(word);
  const [data] = (await once(client, 'data')) as [Buffer];
  return data.toString() === word;
}

/** One byte, which the other side reads before the next is sent. */
function writeAlone(socket: Socket, byte: number): Promise<void> {
  return new Promise((resolve) => {
    socket.write(Buffer.from([byte]), () => setImmediate(resolve));
  });
}

describe('the one port', () => {
  it('explains itself to plaintext HTTP', async () => {
    const { httpsPort } = await start({ routes: [] });
    const socket = await openPlain(httpsPort);
    socket.write('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n');
    const page = String(await readAndEnd(socket));
    expect(page).toMatch(/^HTTP\/1\.1 400 /);
    expect(page).toContain('TLS');
  });

  it('answers Bolt without TLS in Bolt', async () => {
    const { httpsPort, gateway } = await start({ routes: [] });
    const socket = await openPlain(httpsPort);
    const first = once(socket, 'data') as Promise<[Buffer]>;
    socket.write(BOLT_HELLO);
    expect((await first)[0]).toHaveLength(4);
    expect(gateway.counters.refused['tls.required']).toBe(1);
    socket.destroy();
  });

  it('closes what it does not know, and counts it', async () => {
    const { httpsPort, gateway } = await start({ routes: [] });
    const socket = await openPlain(httpsPort);
    socket.write('SSH-2.0-OpenSSH_9.2\r\n');
    expect(await readAndEnd(socket)).toHaveLength(0);
    expect(gateway.counters.closed.unrecognized).toBe(1);
  });

  it('takes a ClientHello that comes byte by byte', async () => {
    const backend = await echo();
    const { httpsPort } = await start({ routes: [runningRoute('echo.pods.localhost', backend.port)] });
    const slow = await startBackend((near) => {
      const far = connect({ host: '127.0.0.1', port: httpsPort, noDelay: true });
      far.on('error', () => near.destroy()).pipe(near);
      near.on('data', (chunk: Buffer) => {
        for (const byte of chunk) sent = sent.then(() => writeAlone(far, byte));
      });
    });
    backends.push(slow);
    let sent = Promise.resolve();
    const client = connectTls({
      host: '127.0.0.1',
      port: slow.port,
      servername: 'echo.pods.localhost',
      ca: certificate.certificatePem,
    });
    await once(client, 'secureConnect');
    expect(await echoes(client)).toBe(true);
    client.destroy();
  });

  it('gives every TLS version from 1.2 on, and the certificate of the name', async () => {
    const backend = await echo();
    const { connect: open, feed } = await start({ routes: [runningRoute('echo.pods.localhost', backend.port)] });
    for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
      const client = await open('echo.pods.localhost', { minVersion: version, maxVersion: version });
      expect(client.getProtocol()).toBe(version);
      expect(await echoes(client)).toBe(true);
      client.destroy();
    }
    await expect(open('echo.pods.localhost', { minVersion: 'TLSv1', maxVersion: 'TLSv1.1' })).rejects.toThrow();

    const other = makeCertificate(['special.pods.localhost']);
    feed.send({ kind: 'certificates', certificates: [certificate, other] });
    feed.change([runningRoute('special.pods.localhost', backend.port)]);
    await until('the new certificate is served', async () => {
      const client = await open('special.pods.localhost', { ca: [certificate.certificatePem, other.certificatePem] });
      const isOther = client.getPeerX509Certificate()?.subjectAltName === 'DNS:special.pods.localhost';
      client.destroy();
      return isOther;
    });
  });

  it('resumes TLS sessions in another worker with the same ticket keys, and in none with others', async () => {
    const backend = await echo();
    const routes = [runningRoute('echo.pods.localhost', backend.port)];
    const ticketKeys = randomBytes(48);
    const [one, two, stranger] = await Promise.all([
      startGateway({ certificate, routes, ticketKeys }),
      startGateway({ certificate, routes, ticketKeys }),
      startGateway({ certificate, routes }),
    ]);
    for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
      const first = await one.connect('echo.pods.localhost', { maxVersion: version });
      await echoes(first);
      // TLS 1.3 tickets come after the handshake, with or before the first data.
      const session = first.getSession();
      if (session === undefined) throw new Error('no session');
      first.destroy();
      const again = await two.connect('echo.pods.localhost', { session, maxVersion: version });
      expect([version, again.isSessionReused()]).toEqual([version, true]);
      again.destroy();
      const elsewhere = await stranger.connect('echo.pods.localhost', { session, maxVersion: version });
      expect(elsewhere.isSessionReused()).toBe(false);
      elsewhere.destroy();
    }
    for (const worker of [one, two, stranger]) await worker.stop();
  });

  it('resumes TLS sessions of the same name', async () => {
    const backend = await echo();
    const { connect: open } = await start({ routes: [runningRoute('echo.pods.localhost', backend.port)] });
    const first = await open('echo.pods.localhost');
    const session = once(first, 'session') as Promise<[Buffer]>;
    await echoes(first);
    const [ticket] = await session;
    const second = await open('echo.pods.localhost', { session: ticket });
    expect(second.isSessionReused()).toBe(true);
    first.destroy();
    second.destroy();
  });

  it('chooses ALPN by the route, and never answers an offer with an alert', async () => {
    const { connect: open } = await start({
      routes: [
        route('web.pods.localhost', { protocol: 'http' }),
        route('pg.pods.localhost', { protocol: 'postgres' }),
        route('raw.pods.localhost', { protocol: 'tcp' }),
      ],
    });
    const chosen = async (servername: string | null, ALPNProtocols: string[]): Promise<string | false | null> => {
      const client = await open(servername, { ALPNProtocols });
      client.destroy();
      return client.alpnProtocol;
    };
    expect(await chosen('web.pods.localhost', ['h2', 'http/1.1'])).toBe('http/1.1');
    expect(await chosen('localhost', ['http/1.1'])).toBe('http/1.1');
    expect(await chosen('nobody.pods.localhost', ['h2', 'http/1.1'])).toBe('http/1.1');
    expect(await chosen('pg.pods.localhost', ['postgresql'])).toBe('postgresql');
    expect(await chosen('web.pods.localhost', ['h2'])).toBe(false);
    expect(await chosen('raw.pods.localhost', ['h2', 'http/1.1'])).toBe(false);
    expect(await chosen(null, ['spdy'])).toBe(false);
  });

  it('is not held by clients that say nothing, stop in the middle or end their side, before or after the handshake', async () => {
    const {
      httpsPort,
      gateway,
      connect: open,
    } = await start({
      routes: [route('pg.pods.localhost', { protocol: 'postgres' })],
      limits: { handshakeTimeoutMs: 300 },
    });
    const silent = await openPlain(httpsPort);
    const half = await openPlain(httpsPort);
    half.end(Buffer.from([0x16, 3, 1, 2]));
    const stuck = await openPlain(httpsPort);
    stuck.write(Buffer.from([0x16, 3, 1, 2, 0, 1]));
    const afterS = await openPlain(httpsPort);
    afterS.write(Buffer.from('0000000804d2162f', 'hex'));
    const noStartup = await open('pg.pods.localhost');
    noStartup.write(Buffer.from([0, 0, 0]));
    await until('all of them are there', () => gateway.counters.accepted === 5);
    await until('every place is given back', () => gateway.activeConnections() === 0);
    expect(gateway.counters.closed).toMatchObject({ deadline: 4, 'ended-early': 1, 'tls-failed': 0 });
    for (const socket of [silent, half, stuck, afterS, noStartup]) socket.destroy();
  });

  it('survives a client that resets, at any point of the handshake', async () => {
    const backend = await echo();
    const {
      httpsPort,
      gateway,
      connect: open,
    } = await start({
      routes: [runningRoute('echo.pods.localhost', backend.port)],
    });
    for (let round = 0; round < 30; round++) {
      const wire = connect({ host: '127.0.0.1', port: httpsPort });
      wire.on('error', () => undefined);
      const client = connectTls({ socket: wire, servername: 'echo.pods.localhost', ca: certificate.certificatePem });
      client.on('error', () => undefined);
      let left = round % 10;
      const cut = (): void => {
        if (left-- <= 0) wire.resetAndDestroy();
        else setImmediate(cut);
      };
      wire.once('connect', cut);
      await closed(wire);
    }
    // At once, not at the deadline.
    await until('every place is given back', () => gateway.activeConnections() === 0, { timeoutMs: 2_000 });
    const client = await open('echo.pods.localhost');
    expect(await echoes(client)).toBe(true);
    client.destroy();
  });
});

describe('limits', () => {
  it('admits exactly so many connections per address, tells the next in its own protocol, and takes one more when one leaves', async () => {
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

  it('admits exactly so many sessions per pod, whatever the name', async () => {
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

  it('closes at once what is beyond the surplus', async () => {
    const { httpsPort, gateway } = await start({
      routes: [],
      limits: { maxConnections: 1, maxConnectionsPerAddress: 1 },
    });
    const sockets = await Promise.all(Array.from({ length: 12 }, () => openPlain(httpsPort)));
    await Promise.any(sockets.map((socket) => readAll(socket)));
    await until('three are closed', () => gateway.counters.closed['too-many-connections'] === 3);
    expect(gateway.activeConnections()).toBe(9);
    for (const socket of sockets) socket.destroy();
  });
});

describe('a tcp route that cannot be reached', () => {
  it('is dialled again while the client waits, at wherever the pod is by then', async () => {
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

  it("refuses in the client's words once the dial is given up, and at once when the pod is another by then", async () => {
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

  it('says in HTTP, in Bolt, or by closing, that the pod is stopped, and that nobody has the name', async () => {
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

  it("aborts the pod's side when the client resets, and the client's when the pod does, with what was sent before", async () => {
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

describe('the route feed', () => {
  it('may die and come back: the table stays meanwhile, and is replaced as a whole after', async () => {
    const backend = await echo();
    const {
      connect: open,
      feed,
      gateway,
    } = await start({
      routes: [runningRoute('kept.pods.localhost', backend.port), runningRoute('old.pods.localhost', backend.port)],
    });
    await until('it is reported', () => feed.received.some((message) => message.kind === 'applied'));
    expect(feed.received[0]).toEqual({ kind: 'hello', worker: 1, pid: process.pid });
    const running = await open('old.pods.localhost');
    expect(await echoes(running)).toBe(true);
    await feed.stop();
    const during = await open('kept.pods.localhost');
    expect(await echoes(during)).toBe(true);
    feed.routes = [runningRoute('kept.pods.localhost', backend.port), runningRoute('new.pods.localhost', backend.port)];
    feed.received.length = 0;
    await feed.start();
    await until('the new table', () => gateway.table.get('new.pods.localhost') !== undefined);
    expect(gateway.table.get('old.pods.localhost')).toBeUndefined();
    await until('it is reported', () => feed.received.some((message) => message.kind === 'applied'));
    expect(feed.received).toEqual([
      { kind: 'hello', worker: 1, pid: process.pid },
      { kind: 'applied', epoch: 'epoch-2', sequence: 7 },
    ]);
    expect(await echoes(running)).toBe(true);
    running.destroy();
    during.destroy();
  });

  it('may come back half, lost or silent: the table stays until a whole snapshot is there', async () => {
    const { feed, gateway } = await start({ routes: [route('kept.pods.localhost')] });
    await feed.stop();
    let greetings = 0;
    await feed.start((socket) => {
      greetings++;
      const lines: Record<number, string> = {
        1: '{"kind":"hello","epoch":"x","baseHosts":["localhost"]}\n{"kind":"snapshot-begin"}\n{"kind":"routes","routes":[]}\n',
        2: 'no json\n',
        3: '{"kind":"snapshot-end","sequence":1}\n',
        4: '{"kind":"surprise"}\n',
      };
      socket.end(lines[greetings] ?? '');
    });
    await until('all have been tried', () => greetings >= 5);
    expect(gateway.table.get('kept.pods.localhost')).toBeDefined();
    await feed.stop();
  });

  it('applies a change given in pieces of a line', async () => {
    const { feed, gateway } = await start({ routes: [] });
    await feed.stop();
    const text =
      '{"kind":"hello","epoch":"x","baseHosts":["localhost"]}\n{"kind":"snapshot-begin"}\n' +
      `${JSON.stringify({ kind: 'routes', routes: [route('gr\u00f6\u00dfe.pods.localhost')] })}\n{"kind":"snapshot-end","sequence":1}\n`;
    await feed.start((socket) => {
      const bytes = [...Buffer.from(text)];
      const next = (): void => {
        const byte = bytes.shift();
        if (byte !== undefined) socket.write(Buffer.from([byte]), () => setImmediate(next));
      };
      next();
    });
    await until('the route', () => gateway.table.get('gr\u00f6\u00dfe.pods.localhost') !== undefined);
  });

  it('that is away too long makes backends untrusted for new connections, while sessions go on', async () => {
    const backend = await echo();
    let now = 0;
    const {
      connect: open,
      feed,
      gateway,
    } = await start({
      routes: [runningRoute('a.pods.localhost', backend.port)],
      clock: { ...systemClock, monotonicMs: () => now },
      staleAfterMs: 60_000,
    });
    const running = await open('a.pods.localhost');
    expect(await echoes(running)).toBe(true);
    now = 1_000_000;
    expect(gateway.isStale()).toBe(false);
    await feed.stop();
    await until('the loss is noticed', () => {
      now += 1_000;
      return gateway.isStale();
    });
    const client = await open('a.pods.localhost');
    client.write('GET / HTTP/1.1\r\nHost: a.pods.localhost\r\n\r\n');
    expect(String(await readAndEnd(client))).toMatch(/^HTTP\/1\.1 502 /);
    expect(await echoes(running)).toBe(true);
    await feed.start();
    await until('trust is back', () => !gateway.isStale());
    running.destroy();
  });
});

describe('the log', () => {
  it('has a line for each connection, with why it was refused or closed, when asked for', async () => {
    const lines: object[] = [];
    const { connect: open, httpsPort } = await start({
      routes: [route('off.pods.localhost', { status: 'STOPPED' })],
      logConnections: true,
      log: { ...silentLog, debug: (fields, message) => message === 'connection closed' && lines.push(fields) },
    });
    const browser = await open('off.pods.localhost');
    browser.write('GET / HTTP/1.1\r\nHost: off.pods.localhost\r\n\r\n');
    await readAndEnd(browser);
    const stranger = await openPlain(httpsPort);
    stranger.write('SSH-2.0-x\r\n');
    await readAndEnd(stranger);
    await until('both lines', () => lines.length === 2);
    expect(lines).toEqual([
      expect.objectContaining({
        serverName: 'off.pods.localhost',
        refusedFor: 'route.stopped',
        remoteAddress: '127.0.0.1',
      }),
      expect.objectContaining({ serverName: null, closedFor: 'unrecognized', bytesRead: 11, bytesWritten: 0 }),
    ]);
  });
});

describe('the end of a worker', () => {
  it('stops accepting, lets connections end in peace, and closes the rest after the drain time', async () => {
    const backend = await echo();
    const worker = await start({ routes: [runningRoute('a.pods.localhost', backend.port)], drainMs: 400 });
    const [quick, stubborn] = [await worker.connect('a.pods.localhost'), await worker.connect('a.pods.localhost')];
    const stopping = worker.stop();
    fixture = null;
    await until('nobody listens', async () => {
      const socket = await openPlain(worker.httpsPort).catch(() => null);
      socket?.destroy();
      return socket === null;
    });
    expect(await echoes(quick)).toBe(true);
    quick.end();
    await closed(quick);
    expect(await echoes(stubborn)).toBe(true);
    await readAndEnd(stubborn);
    await stopping;
    expect(worker.gateway.activeConnections()).toBe(0);
  });
});

describe('plain HTTP', () => {
  it('sends names of ours on to https, others nowhere, and keeps nobody', async () => {
    const { httpPort, gateway } = await start({ routes: [route('web.pods.localhost', { protocol: 'http' })] });
    const ask = (host: string): Promise<readonly [number, string | undefined]> =>
      new Promise((resolve, reject) => {
        request({ host: '127.0.0.1', port: httpPort, path: '/a?b=c', headers: { host }, agent: false }, (response) => {
          response.resume();
          resolve([response.statusCode ?? 0, response.headers.location]);
        })
          .on('error', reject)
          .end();
      });
    expect(await ask('web.pods.localhost:8080')).toEqual([308, 'https://web.pods.localhost:8443/a?b=c']);
    expect(await ask('localhost')).toEqual([308, 'https://localhost:8443/a?b=c']);
    expect((await ask('elsewhere.example'))[0]).toBe(404);
    await until('every place is given back', () => gateway.activeConnections() === 0);
  });
});
