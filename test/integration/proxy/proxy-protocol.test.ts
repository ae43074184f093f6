import http from 'node:http';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect as connectPlain, type AddressInfo, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { Logger } from '../../../core/logger.ts';
import type { Route } from '../../../core/route.ts';
import { run } from '../../support/run.ts';
import { until } from '../../support/until.ts';
import { runningRoute, silentLog, type GatewayFixture } from './support/gateway-fixture.ts';
import { startHaproxy, type Haproxy } from './support/haproxy.ts';
import { certificate, createStage } from './support/stage.ts';
import { closed, openPlain, readAll, readAndEnd } from './support/streams.ts';

const { start, echo } = createStage();

const V1 = 'PROXY TCP4 203.0.113.7 192.0.2.1 4711 443\r\n';
const V1_IPV6 = 'PROXY TCP6 2001:DB8::7 2001:db8::1 4711 443\r\n';
const V2_LOCAL = Buffer.from('0d0a0d0a000d0a515549540a20000000', 'hex');
const V2_UNIX = Buffer.concat([Buffer.from('0d0a0d0a000d0a515549540a213100d8', 'hex'), Buffer.alloc(216)]);
/** 203.0.113.7:4711, with an AUTHORITY vector. */
const V2 = Buffer.from(
  '0d0a0d0a000d0a515549540a21110012cb007107c00002011267 01bb 020003616263'.replaceAll(' ', ''),
  'hex',
);

let pod: http.Server;
let web: Route;
let fenced: Route;

beforeAll(async () => {
  pod = http.createServer((request, response) => response.end(String(request.headers['x-forwarded-for'])));
  await new Promise<void>((resolve) => pod.listen(0, '127.0.0.1', resolve));
  const { port } = pod.address() as AddressInfo;
  web = runningRoute('web.pods.localhost', port, { protocol: 'http' });
  fenced = runningRoute('fenced.pods.localhost', port, { protocol: 'http', ipAllowList: ['203.0.113.0/24'] });
});
afterAll(() => {
  pod.closeAllConnections();
  return new Promise((resolve) => pod.close(resolve));
});

/** A log that keeps its warnings. */
function keepingLog(): Logger & { readonly warnings: { readonly fields: object; readonly message: string }[] } {
  const warnings: { fields: object; message: string }[] = [];
  return { ...silentLog, warnings, warn: (fields: object, message: string) => void warnings.push({ fields, message }) };
}

async function secure(raw: Socket, servername: string): Promise<TLSSocket> {
  const client = connectTls({ socket: raw, servername, ca: certificate.certificatePem });
  await new Promise<void>((resolve, reject) => client.once('secureConnect', resolve).once('error', reject));
  return client.on('error', () => undefined);
}

/** Status and body of a request on a connection that begins with these bytes. */
async function ask(port: number, header: string | Buffer, servername = 'web.pods.localhost'): Promise<string> {
  const raw = await openPlain(port);
  raw.write(header);
  const client = await secure(raw, servername);
  client.write(`GET / HTTP/1.1\r\nHost: ${servername}\r\nConnection: close\r\n\r\n`);
  const answer = String(await readAndEnd(client));
  return `${answer.slice(9, 12)} ${answer.split('\r\n\r\n')[1] ?? ''}`;
}

const TRUSTED = { from: ['127.0.0.0/8'], policy: 'require' } as const;

describe('PROXY headers on the TLS port', () => {
  it.each([
    ['version 1', V1, '203.0.113.7'],
    ['version 1 with IPv6, in its canonical form', V1_IPV6, '2001:db8::7'],
    ['version 2', V2, '203.0.113.7'],
    ['LOCAL: the sender itself', V2_LOCAL, '127.0.0.1'],
    ['UNKNOWN: the sender itself', 'PROXY UNKNOWN\r\n', '127.0.0.1'],
    ['a UNIX socket: the sender itself', V2_UNIX, '127.0.0.1'],
  ])('tell the pod its client: %s', async (_name, header, address) => {
    const { httpsPort } = await start({ routes: [web], proxyProtocol: TRUSTED });
    expect(await ask(httpsPort, header)).toMatch(new RegExp(`^200 (1\\S+\\s+)?${address}`));
  });

  it('may arrive in single bytes, and together with the bytes after them', async () => {
    const { httpsPort } = await start({ routes: [web], proxyProtocol: TRUSTED });
    const raw = await openPlain(httpsPort);
    raw.setNoDelay(true);
    for (const byte of V2) {
      raw.write(Buffer.from([byte]));
      await new Promise((resolve) => setImmediate(resolve));
    }
    const client = await secure(raw, 'web.pods.localhost');
    client.write('GET / HTTP/1.1\r\nHost: web.pods.localhost\r\nConnection: close\r\n\r\n');
    expect(String(await readAndEnd(client))).toContain('203.0.113.7');
  });

  it('decide who is admitted and who is counted', async () => {
    const { httpsPort } = await start({
      routes: [fenced],
      proxyProtocol: TRUSTED,
      limits: { maxConnectionsPerAddress: 1 },
    });
    expect(await ask(httpsPort, V1, 'fenced.pods.localhost')).toMatch(/^200 /);
    expect(await ask(httpsPort, V1_IPV6, 'fenced.pods.localhost')).toMatch(/^403 /);
    // Two at a time from one load balancer, and each client has its own place; a second of the same client has none.
    const first = await openPlain(httpsPort);
    first.write(V1);
    await until('it has its place', async () => (await ask(httpsPort, V1, 'fenced.pods.localhost')).startsWith('503'));
    expect(await ask(httpsPort, V1.replace('203.0.113.7', '203.0.113.8'), 'fenced.pods.localhost')).toMatch(/^200 /);
    first.destroy();
  });

  it('are rejected from untrusted senders, which are closed, counted and logged once a minute', async () => {
    const log = keepingLog();
    const { httpsPort, gateway } = await start({
      routes: [web],
      proxyProtocol: { from: ['192.0.2.0/24'], policy: 'use' },
      log,
    });
    for (const header of [V1, V2]) {
      const raw = await openPlain(httpsPort);
      raw.write(header);
      expect(await readAll(raw)).toHaveLength(0);
    }
    expect(gateway.counters.closed['untrusted-proxy-header']).toBe(2);
    expect(log.warnings).toEqual([
      { fields: { sender: '127.0.0.1' }, message: expect.stringContaining('not in proxyProtocol.from') as string },
    ]);
    expect(await ask(httpsPort, '')).toContain('127.0.0.1');
  });

  it.each([
    ['require', '', 'closed'],
    ['use', '', '127.0.0.1'],
    ['ignore', '', '127.0.0.1'],
    ['require', V1, '203.0.113.7'],
    ['use', V1, '203.0.113.7'],
    ['ignore', V1, '127.0.0.1'],
  ] as const)('under the policy %s and with the header %j: %s', async (policy, header, outcome) => {
    const { httpsPort, gateway } = await start({
      routes: [web],
      proxyProtocol: { from: ['127.0.0.1'], policy },
    });
    if (outcome === 'closed') {
      await expect(ask(httpsPort, header)).rejects.toThrow();
      expect(gateway.counters.closed['proxy-header']).toBe(1);
    } else expect(await ask(httpsPort, header)).toContain(outcome);
  });

  it('that are malformed close the connection without a reply', async () => {
    const { httpsPort, gateway } = await start({ routes: [web], proxyProtocol: TRUSTED });
    for (const bad of ['PROXY TCP4 1 2 3 4\r\n', 'PROXY TCP9 ', V2.subarray(0, 20)]) {
      const raw = await openPlain(httpsPort);
      raw.end(bad);
      expect(await readAll(raw)).toHaveLength(0);
    }
    await until('each is counted', () => gateway.counters.closed['proxy-header'] === 3);
  });

  it('may take no longer than a handshake, and use no more places than there are', async () => {
    const { httpsPort, gateway } = await start({
      routes: [web],
      proxyProtocol: TRUSTED,
      limits: { handshakeTimeoutMs: 300, maxConnections: 4 },
    });
    const sockets = await Promise.all(Array.from({ length: 6 }, () => openPlain(httpsPort)));
    sockets[0]?.write('PROXY TCP4 1.2.3.4 ');
    await Promise.all(sockets.map((socket) => readAll(socket)));
    await until('every place is given back', () => gateway.activeConnections() === 0);
    expect(gateway.counters.closed.deadline).toBe(4);
    expect(gateway.counters.closed['too-many-connections']).toBe(2);
  });

  it('leave only a count of probes', async () => {
    const log = keepingLog();
    const lines: string[] = [];
    const { httpsPort, gateway } = await start({
      routes: [web],
      proxyProtocol: TRUSTED,
      log: { ...log, debug: (_fields: object, message: string) => void lines.push(message) },
      logConnections: true,
    });
    lines.length = 0;
    for (const probe of ['', V2_LOCAL]) {
      const raw = connectPlain({ host: '127.0.0.1', port: httpsPort });
      raw.end(probe);
      raw.resume();
      await closed(raw);
    }
    await until('both are counted', () => gateway.counters.closed.probe === 2);
    expect(gateway.counters.closed['ended-early']).toBe(0);
    expect([lines, log.warnings]).toEqual([[], []]);
  });
});

describe('PROXY headers on the HTTP port', () => {
  it('are read, and the redirect is sent', async () => {
    const { httpPort, gateway } = await start({ routes: [web], proxyProtocol: TRUSTED });
    for (const header of [V1, V2]) {
      const raw = await openPlain(httpPort);
      raw.write(header);
      raw.write('GET /x HTTP/1.1\r\nHost: web.pods.localhost\r\nConnection: close\r\n\r\n');
      const answer = String(await readAndEnd(raw));
      expect(answer).toMatch(/^HTTP\/1\.1 308 /);
      expect(answer).toContain('https://web.pods.localhost:8443/x');
    }
    const without = await openPlain(httpPort);
    without.write('GET /x HTTP/1.1\r\nHost: web.pods.localhost\r\n\r\n');
    expect(await readAll(without)).toHaveLength(0);
    expect(gateway.counters.closed['proxy-header']).toBe(1);
  });

  it.each(['/readyz', '/healthz', '/metrics', '/v3/pods'])(
    'is not served for %s, which belongs to the inside',
    async (path) => {
      const { httpPort } = await start({ routes: [web] });
      for (const host of ['localhost', 'nobody.example']) {
        const raw = await openPlain(httpPort);
        raw.write(`GET ${path} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`);
        expect(String(await readAndEnd(raw))).toMatch(host === 'localhost' ? /^HTTP\/1\.1 308 / : /^HTTP\/1\.1 404 /);
      }
    },
  );
});

describe('real senders', () => {
  let haproxy: Haproxy | null = null;
  const dir = mkdtempSync(join(tmpdir(), 'podgate-proxy-'));
  const ca = join(dir, 'ca.pem');
  beforeAll(() => writeFileSync(ca, certificate.certificatePem));
  afterAll(() => rmSync(dir, { recursive: true }));
  afterEach(async () => {
    await haproxy?.stop();
    haproxy = null;
  });

  /** What curl says of the pod, from an address of loopback. */
  async function curl(port: number, name: string, ...more: readonly string[]): Promise<string> {
    const resolve = `${name}:${port}:127.0.0.1`;
    const answer = await run('curl', [
      '-sS',
      '--cacert',
      ca,
      '--resolve',
      resolve,
      `https://${name}:${port}/`,
      ...more,
    ]);
    return answer.stdout + answer.stderr;
  }

  async function behindHaproxy(options: string, fixture: GatewayFixture): Promise<Haproxy> {
    haproxy = await startHaproxy([{ name: 'one', port: fixture.httpsPort, controlPort: null, options }]);
    return haproxy;
  }

  it('curl --haproxy-protocol (version 1)', async () => {
    const { httpsPort } = await start({ routes: [web], proxyProtocol: { from: ['127.0.0.0/8'], policy: 'require' } });
    expect(await curl(httpsPort, 'web.pods.localhost', '--haproxy-protocol', '--interface', '127.0.0.9')).toBe(
      '127.0.0.9',
    );
  });

  it.each(['send-proxy', 'send-proxy-v2', 'send-proxy-v2 proxy-v2-options crc32c,unique-id,authority'])(
    'HAProxy with %s: the pod and the allow lists see the client, and checks count as probes',
    async (options) => {
      const fixture = await start({
        routes: [web, { ...fenced, ipAllowList: ['127.0.0.9'] }],
        proxyProtocol: { from: ['127.0.0.1'], policy: 'require' },
      });
      const { port } = await behindHaproxy(`${options} check-send-proxy`, fixture);
      expect(await curl(port, 'web.pods.localhost', '--interface', '127.0.0.9')).toBe('127.0.0.9');
      expect(await curl(port, 'fenced.pods.localhost', '--interface', '127.0.0.9')).toBe('127.0.0.9');
      expect(await curl(port, 'fenced.pods.localhost', '--interface', '127.0.0.8')).toContain('403');
      // Three are curl's. Not their number as probes: HAProxy resets its checks, and one that is reset before it is accepted
      // has no address any more.
      await until('checks have come', () => fixture.gateway.counters.accepted >= 3 + 5);
      expect(fixture.gateway.counters.closed['proxy-header']).toBe(0);
      expect(fixture.gateway.counters.closed['ended-early']).toBe(0);
    },
  );

  it('HAProxy and the allow list of a Postgres pod: a client not on it gets the reason', async () => {
    const backend = await echo();
    const fixture = await start({
      routes: [runningRoute('pg.pods.localhost', backend.port, { protocol: 'postgres', ipAllowList: ['127.0.0.9'] })],
      proxyProtocol: { from: ['127.0.0.1'], policy: 'require' },
    });
    const { port } = await behindHaproxy('send-proxy-v2', fixture);
    const talk = async (localAddress: string): Promise<string> => {
      const raw = connectPlain({ host: '127.0.0.1', port, localAddress });
      const client = connectTls({
        socket: raw,
        servername: 'pg.pods.localhost',
        ca: certificate.certificatePem,
        ALPNProtocols: ['postgresql'],
      });
      client.on('error', () => undefined);
      // A StartupMessage: length, protocol 3.0, user "a", end.
      client.write(Buffer.from('00000010000300007573657200610000', 'hex'));
      const [data] = await new Promise<[Buffer]>((resolve) => client.once('data', (bytes: Buffer) => resolve([bytes])));
      client.destroy();
      return data.toString('latin1');
    };
    expect(await talk('127.0.0.8')).toContain('C28000');
    // The echo behind it says the packet back.
    expect(await talk('127.0.0.9')).toContain('user');
  });
});
