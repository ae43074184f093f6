import http from 'node:http';
import http2 from 'node:http2';
import { once } from 'node:events';
import { createServer, type AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { until } from '../../support/until.ts';
import { exchange } from './http2/http2-client.ts';
import { makeCertificate } from './support/certificate.ts';
import { route, runningRoute, startGateway, type GatewayFixture } from './support/gateway-fixture.ts';
import { readAll, readAndEnd } from './support/streams.ts';

const certificate = makeCertificate(['localhost', '*.pods.localhost']);

/** What the gateway hands to the HTTP protocol, and in what state; what HTTP does with it is tested beside it. */
describe('HTTP on the TLS port', () => {
  let pod: http.Server;
  let fixture: GatewayFixture;

  beforeAll(async () => {
    pod = http.createServer((request, response) => {
      response.end(`hello ${request.headers.host ?? ''} from ${request.url ?? ''}`);
    });
    await new Promise<void>((resolve) => pod.listen(0, '127.0.0.1', resolve));
    fixture = await startGateway({
      certificate,
      routes: [
        runningRoute('web.pods.localhost', (pod.address() as AddressInfo).port, { protocol: 'http' }),
        route('off.pods.localhost', { protocol: 'http', status: 'STOPPED' }),
      ],
    });
  });
  afterAll(async () => {
    await fixture.stop();
    pod.closeAllConnections();
    await new Promise((resolve) => pod.close(resolve));
  });

  async function ask(servername: string | null, host: string, alpn: string[]): Promise<string> {
    const client = await fixture.connect(servername, { ALPNProtocols: alpn });
    client.write(`GET /path HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`);
    return String(await readAndEnd(client));
  }

  it.each([
    ['with ALPN', ['http/1.1']],
    ['without ALPN', []],
  ])('reaches the pod %s', async (_what, alpn) => {
    const answer = await ask('web.pods.localhost', 'web.pods.localhost', alpn);
    expect(answer).toMatch(/^HTTP\/1\.1 200 /);
    expect(answer).toContain('hello web.pods.localhost from /path');
  });

  it('reaches the pod over HTTP/2, and a client of an unknown name, or beyond the limit, gets the reason', async () => {
    const askHttp2 = async (to: GatewayFixture, name: string): Promise<string> => {
      const socket = await to.connect(name, { ALPNProtocols: ['h2'] });
      const session = http2.connect(`https://${name}`, { createConnection: () => socket });
      session.on('error', () => undefined);
      const { status, body } = await exchange(session, { ':authority': name, ':path': '/path' });
      session.destroy();
      return `${String(status)} ${String(body)}`;
    };
    expect(await askHttp2(fixture, 'web.pods.localhost')).toBe('200 hello web.pods.localhost from /path');
    expect(await askHttp2(fixture, 'nobody.pods.localhost')).toMatch(/^404 .*route\.unknown/);
    const full = await startGateway({ certificate, routes: [], limits: { maxConnections: 0 } });
    expect(await askHttp2(full, 'web.pods.localhost')).toMatch(/^503 .*route\.full/);
    await full.stop();
  });

  it.each([
    ['off.pods.localhost', 503],
    ['nobody.pods.localhost', 404],
    [null, 404],
  ] as const)(
    'responds to %s with a page, whether the protocol is known from ALPN or from the first bytes',
    async (name, status) => {
      for (const alpn of [['http/1.1'], []]) {
        expect(await ask(name, name ?? 'localhost', alpn)).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `));
      }
    },
  );

  it('keeps a connection open for many requests, and frees its place at the end', async () => {
    const client = await fixture.connect('web.pods.localhost', { ALPNProtocols: ['http/1.1'] });
    for (let round = 0; round < 5; round++) {
      client.write(`GET /${round} HTTP/1.1\r\nHost: web.pods.localhost\r\n\r\n`);
      const [data] = (await once(client, 'data')) as [Buffer];
      expect(String(data)).toMatch(/^HTTP\/1\.1 200 /);
    }
    client.end();
    await readAll(client);
    await until('every place is given back', () => fixture.gateway.activeConnections() === 0);
  });

  it('listens on a handle or file descriptor of another process, several times, each closed separately', async () => {
    const first = createServer();
    await new Promise<void>((resolve) => first.listen(0, '127.0.0.1', resolve));
    const { port } = first.address() as AddressInfo;
    const handle = (first as unknown as { _handle: object })._handle;
    const listening = await fixture.gateway.listen('http', handle);
    const second = await fixture.gateway.listen('http', { host: '127.0.0.1', port: 0 });
    expect(listening.port).toBe(port);
    const status = (at: number): Promise<number> =>
      new Promise((resolve, reject) => {
        http
          .get({ host: '127.0.0.1', port: at, headers: { host: 'web.pods.localhost' }, agent: false }, (response) => {
            response.resume();
            resolve(response.statusCode ?? 0);
          })
          .on('error', reject);
      });
    expect(await status(port)).toBe(308);
    listening.close();
    await expect(status(port)).rejects.toThrow();
    expect(await status(second.port)).toBe(308);
    second.close();
    await expect(fixture.gateway.listen('http', { host: '127.0.0.1', port: fixture.httpPort })).rejects.toThrow(
      'EADDRINUSE',
    );
  });
});
