import { once } from 'node:events';
import { request } from 'node:http';
import { connect, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { describe, expect, it } from 'vitest';
import { until } from '../../support/until.ts';
import { makeCertificate } from './support/certificate.ts';
import { route, runningRoute, silentLog, startGateway } from './support/gateway-fixture.ts';
import { BOLT_HELLO, certificate, createStage, echoes } from './support/stage.ts';
import { closed, openPlain, readAndEnd, startBackend } from './support/streams.ts';
import { served } from '../../support/served-certificate.ts';

const { start, echo, backends } = createStage();

/** One byte, which the other side reads before the next is sent. */
function writeAlone(socket: Socket, byte: number): Promise<void> {
  return new Promise((resolve) => {
    socket.write(Buffer.from([byte]), () => setImmediate(resolve));
  });
}

describe('the TLS port', () => {
  it('explains itself to plaintext HTTP', async () => {
    const { httpsPort } = await start({ routes: [] });
    const socket = await openPlain(httpsPort);
    socket.write('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n');
    const page = String(await readAndEnd(socket));
    expect(page).toMatch(/^HTTP\/1\.1 400 /);
    expect(page).toContain('TLS');
  });

  it('replies to Bolt without TLS in Bolt', async () => {
    const { httpsPort, gateway } = await start({ routes: [] });
    const socket = await openPlain(httpsPort);
    const first = once(socket, 'data') as Promise<[Buffer]>;
    socket.write(BOLT_HELLO);
    expect((await first)[0]).toHaveLength(4);
    expect(gateway.counters.refused['tls.required']).toBe(1);
    socket.destroy();
  });

  it('closes unknown protocols, and counts them', async () => {
    const { httpsPort, gateway } = await start({ routes: [] });
    const socket = await openPlain(httpsPort);
    socket.write('SSH-2.0-OpenSSH_9.2\r\n');
    expect(await readAndEnd(socket)).toHaveLength(0);
    expect(gateway.counters.closed.unrecognized).toBe(1);
  });

  it('accepts a ClientHello that arrives byte by byte', async () => {
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

  it('supports every TLS version from 1.2 on, and serves the certificate of the name', async () => {
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
    feed.send({ kind: 'certificates', set: [served(other)], removed: [] });
    feed.change([runningRoute('special.pods.localhost', backend.port)]);
    await until('the new certificate is served', async () => {
      const client = await open('special.pods.localhost', { ca: [certificate.certificatePem, other.certificatePem] });
      const isOther = client.getPeerX509Certificate()?.subjectAltName === 'DNS:special.pods.localhost';
      client.destroy();
      return isOther;
    });
  });

  it('chooses ALPN by the route, and ends a handshake without a common protocol with the alert of RFC 7301', async () => {
    const { connect: open, gateway } = await start({
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
    expect(await chosen('web.pods.localhost', ['http/1.1', 'h2'])).toBe('h2');
    expect(await chosen('web.pods.localhost', ['http/1.1'])).toBe('http/1.1');
    expect(await chosen('localhost', ['h2', 'http/1.1'])).toBe('h2');
    expect(await chosen('localhost', ['http/1.1'])).toBe('http/1.1');
    expect(await chosen('nobody.pods.localhost', ['h2', 'http/1.1'])).toBe('http/1.1');
    expect(await chosen('pg.pods.localhost', ['postgresql'])).toBe('postgresql');
    expect(await chosen('nobody.pods.localhost', ['h2'])).toBe('h2');
    expect(await chosen('raw.pods.localhost', ['h2', 'http/1.1'])).toBe('http/1.1');
    expect(await chosen('raw.pods.localhost', [])).toBe(false);
    const offers: readonly (readonly [string | null, string])[] = [
      ['raw.pods.localhost', 'h2'],
      ['web.pods.localhost', 'spdy'],
      ['pg.pods.localhost', 'mqtt'],
      [null, 'spdy'],
    ];
    for (const [name, protocol] of offers) {
      await expect(chosen(name, [protocol])).rejects.toThrow(/alert number 120/);
    }
    await until('they are counted', () => gateway.counters.closed['no-common-protocol'] === offers.length);
  });

  it('never passes a browser’s bytes on to a Postgres, whatever they look like', async () => {
    const heard: Buffer[] = [];
    const backend = await startBackend((socket) => socket.on('data', (data: Buffer) => heard.push(data)));
    backends.push(backend);
    const { connect: open } = await start({
      routes: [runningRoute('pg.pods.localhost', backend.port, { protocol: 'postgres' })],
    });
    const startup = Buffer.concat([Buffer.from('0000001300030000', 'hex'), Buffer.from('user\0name\0\0')]);
    for (const [bytes, answer] of [
      [Buffer.from('GET / HTTP/1.1\r\nHost: pg.pods.localhost\r\n\r\n'), /^HTTP\/1\.1 421 [\s\S]*not a web site/],
      [startup, /^E[\s\S]*not a web site/],
    ] as const) {
      const client = await open('pg.pods.localhost', { ALPNProtocols: ['http/1.1'] });
      client.write(bytes);
      expect(String(await readAndEnd(client))).toMatch(answer);
    }
    expect(heard).toEqual([]);
  });

  it('is not blocked by clients that are silent, stop midway or end their side, before or after the handshake', async () => {
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

describe('the log', () => {
  it('has a line for each connection on request, with the reason why it was refused or closed', async () => {
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
  it('stops accepting, lets connections finish, and closes the rest after the drain time', async () => {
    const backend = await echo();
    const worker = await startGateway({
      certificate,
      routes: [runningRoute('a.pods.localhost', backend.port)],
      drainMs: 400,
    });
    const [quick, stubborn] = [await worker.connect('a.pods.localhost'), await worker.connect('a.pods.localhost')];
    const stopping = worker.stop();
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
  it('redirects known names to https, and no others, and closes the connection', async () => {
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
