import { randomBytes, X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { createServer as createHttpServer, type IncomingHttpHeaders } from 'node:http';
import { connect as connectHttp2 } from 'node:http2';
import type { AddressInfo } from 'node:net';
import type { ConnectionOptions, TLSSocket } from 'node:tls';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { chunked, packMessage, type PackValue } from '../../../../proxy/protocols/bolt/packstream.ts';
import { createClientAuthority } from '../../../support/client-authority.ts';
import { run } from '../../../support/run.ts';
import { until } from '../../../support/until.ts';
import { runningRoute, type GatewayFixture } from '../support/gateway-fixture.ts';
import { BOLT_HELLO, createStage, echoes } from '../support/stage.ts';
import { readAndEnd } from '../support/streams.ts';

const { start, echo } = createStage();

const lab = createClientAuthority('Lab');
const other = createClientAuthority('Other');
const alice = lab.issue('/O=Lab, Ltd/CN=alice');
const expired = lab.issue('/CN=late', { days: -1 });
const server = lab.issue('/CN=server', { usage: 'serverAuth' });
const stranger = other.issue('/CN=mallory');

/** What the last request had. */
let seen: IncomingHttpHeaders = {};
const web = createHttpServer((request, response) => {
  seen = request.headers;
  response.end('the pod');
});
let webPort = 0;
beforeAll(async () => {
  await once(web.listen(0, '127.0.0.1'), 'listening');
  webPort = (web.address() as AddressInfo).port;
});
afterAll(() => {
  web.close();
  lab.remove();
  other.remove();
});

async function startAsking(): Promise<GatewayFixture> {
  const { port } = await echo();
  return start({
    routes: [
      runningRoute('tcp.pods.localhost', port, { clientCa: lab.ca }),
      runningRoute('open.pods.localhost', port),
      runningRoute('other.pods.localhost', port, { clientCa: other.ca }),
      runningRoute('both.pods.localhost', port, { clientCa: `${lab.ca}${other.ca}` }),
      runningRoute('pg.pods.localhost', port, { clientCa: lab.ca, protocol: 'postgres' }),
      runningRoute('web.pods.localhost', webPort, { clientCa: lab.ca, protocol: 'http' }),
      runningRoute('openweb.pods.localhost', webPort, { protocol: 'http' }),
    ],
    ticketKeys: [randomBytes(48).toString('base64')],
  });
}

/** Of the last request, those that speak of certificates. */
function certificateFields(): IncomingHttpHeaders {
  return Object.fromEntries(Object.entries(seen).filter(([name]) => /cert|ssl/.test(name)));
}

async function ask(client: TLSSocket, host: string, fields = ''): Promise<string> {
  client.write(`GET / HTTP/1.1\r\nHost: ${host}\r\nAccept: text/html\r\n${fields}Connection: close\r\n\r\n`);
  return String(await readAndEnd(client));
}

/** HELLO is 0x01, LOGON 0x6a. */
function boltMessage(tag: number, field: PackValue): Buffer {
  return chunked(Buffer.concat([Buffer.from([0xb1, tag]), packMessage(0, field).subarray(2)]));
}

const BAD: readonly (readonly [string, ConnectionOptions, string])[] = [
  ['no certificate', {}, 'requires a client certificate, but your client sent none'],
  ['one of another authority', stranger, 'it was not issued by a CA that the pod trusts'],
  ['an expired one', expired, 'it has expired'],
  ['one of a server', server, 'it is not a client certificate'],
];

describe.each(['TLSv1.2', 'TLSv1.3'] as const)('a route that requires client certificates, over %s', (version) => {
  const only = { minVersion: version, maxVersion: version };

  it('admits clients with a certificate of one of its CAs', async () => {
    const { connect: open } = await startAsking();
    for (const host of ['tcp.pods.localhost', 'both.pods.localhost']) {
      const client = await open(host, { ...alice, ...only });
      expect(await echoes(client)).toBe(true);
      client.destroy();
    }
    const client = await open('both.pods.localhost', { ...stranger, ...only });
    expect(await echoes(client)).toBe(true);
    client.destroy();
  });

  it.each(BAD)(
    'explains to a client with %s why, in HTTP, Postgres and Bolt, and the pod gets nothing',
    async (_what, pair, why) => {
      const { connect: open, gateway } = await startAsking();
      const page = await ask(await open('web.pods.localhost', { ...pair, ...only }), 'web.pods.localhost');
      expect(page).toMatch(/^HTTP\/1\.1 403 /);
      expect(page).toContain(why);

      const postgres = await open('pg.pods.localhost', { ...pair, ...only });
      postgres.write(Buffer.concat([Buffer.from('0000001300030000', 'hex'), Buffer.from('user\0name\0\0')]));
      const error = (await readAndEnd(postgres)).toString();
      expect(error).toContain('C28000\0');
      expect(error).toContain(why);

      const bolt = await open('tcp.pods.localhost', { ...pair, ...only });
      bolt.write(BOLT_HELLO);
      await once(bolt, 'data');
      bolt.write(Buffer.concat([boltMessage(0x01, { user_agent: 'test/1' }), boltMessage(0x6a, { scheme: 'none' })]));
      let said = '';
      bolt.on('data', (chunk: Buffer) => (said += chunk.toString('latin1')));
      await until(
        'it is refused in Bolt',
        () => said.includes('Neo.ClientError.Security.Forbidden') && said.includes(why),
      );
      bolt.destroy();
      expect(gateway.counters.refused['route.certificate']).toBe(3);
      expect(gateway.counters.sessions).toBe(0);
    },
  );

  it('does not rely on a resumed session for it', async () => {
    const { connect: open } = await startAsking();
    const sessionOf = async (host: string, pair: ConnectionOptions): Promise<Buffer | undefined> => {
      const client = await open(host, { ...pair, ...only });
      let ticket: Buffer | undefined;
      client.once('session', (session: Buffer) => (ticket = session));
      expect(await echoes(client)).toBe(true);
      const session = ticket ?? client.getSession();
      client.destroy();
      return session;
    };
    const sessions = [
      await sessionOf('open.pods.localhost', {}),
      await sessionOf('tcp.pods.localhost', alice),
      await sessionOf('other.pods.localhost', stranger),
      await sessionOf('both.pods.localhost', stranger),
    ];
    for (const session of sessions) {
      for (const host of ['tcp.pods.localhost', 'both.pods.localhost']) {
        const client = await open(host, { ...only, ...(session === undefined ? {} : { session }) });
        expect(client.isSessionReused()).toBe(false);
        client.write('GET / HTTP/1.1\r\n\r\n');
        expect(String(await readAndEnd(client))).toMatch(/^HTTP\/1\.1 403 /);
      }
    }
    // Without certificates sessions go on being resumed.
    const again = await open('open.pods.localhost', {
      ...only,
      ...(sessions[0] === undefined ? {} : { session: sessions[0] }),
    });
    expect(again.isSessionReused()).toBe(true);
    again.destroy();
  });
});

describe('client certificates', () => {
  it('are requested only for names of such routes, with the acceptable CAs', async () => {
    const { httpsPort } = await startAsking();
    const asked = async (host: string): Promise<readonly string[]> => {
      const target = ['-connect', `127.0.0.1:${httpsPort}`, '-servername', host];
      const { stdout } = await run('openssl', ['s_client', ...target], { input: 'Q\n' });
      expect(stdout).toMatch(/client certificate CA names/);
      return [
        ...(/^Acceptable client certificate CA names\n((?:CN = .*\n)+)/m.exec(stdout)?.[1] ?? '').matchAll(
          /CN = (.*)/g,
        ),
      ].map(([, name = '']) => name);
    };
    expect(await asked('tcp.pods.localhost')).toEqual(['Lab']);
    expect(await asked('both.pods.localhost')).toEqual(['Lab', 'Other']);
    for (const host of ['open.pods.localhost', 'openweb.pods.localhost', 'localhost', 'nobody.pods.localhost']) {
      expect([host, await asked(host)]).toEqual([host, []]);
    }
  });

  it('are passed on to the pod, which never gets those that a client has made up', async () => {
    const { connect: open } = await startAsking();
    const lies = [
      'Client-Cert: :AAAA:',
      'Client_Cert: :AAAA:',
      'X-Forwarded-Client-Cert: Subject="CN=root"',
      'X-Client-Cert-Subject: CN=root',
      'X-SSL-Client-Verify: SUCCESS',
    ].join('\r\n');
    expect(await ask(await open('web.pods.localhost', alice), 'web.pods.localhost', `${lies}\r\n`)).toContain(' 200 ');
    const { raw, fingerprint256 } = new X509Certificate(alice.cert);
    const hash = fingerprint256.replaceAll(':', '').toLowerCase();
    expect(certificateFields()).toEqual({
      'client-cert': `:${raw.toString('base64')}:`,
      'x-forwarded-client-cert': `Hash=${hash};Subject="CN=alice,O=Lab\\\\, Ltd"`,
    });
    expect(await ask(await open('openweb.pods.localhost'), 'openweb.pods.localhost', `${lies}\r\n`)).toContain(' 200 ');
    expect(certificateFields()).toEqual({});
  });

  it('are the same over HTTP/2', async () => {
    const { connect: open } = await startAsking();
    const over2 = async (host: string, pair: ConnectionOptions): Promise<unknown> => {
      const socket = await open(host, { ...pair, ALPNProtocols: ['h2'] });
      const session = connectHttp2(`https://${host}`, { createConnection: () => socket });
      const stream = session.request({ ':path': '/', 'client-cert': ':AAAA:', 'x-ssl-client-verify': 'SUCCESS' });
      const [headers] = (await once(stream.resume(), 'response')) as [IncomingHttpHeaders & { ':status'?: number }];
      session.destroy();
      return headers[':status'];
    };
    expect(await over2('web.pods.localhost', {})).toBe(403);
    expect(await over2('web.pods.localhost', expired)).toBe(403);
    expect(await over2('web.pods.localhost', alice)).toBe(200);
    expect(certificateFields()['client-cert']).toBe(`:${new X509Certificate(alice.cert).raw.toString('base64')}:`);
    expect(Object.keys(certificateFields())).toEqual(['client-cert', 'x-forwarded-client-cert']);
    expect(await over2('openweb.pods.localhost', {})).toBe(200);
    expect(certificateFields()).toEqual({});
  });

  it('must be of the CAs that the route names now, also on a kept connection', async () => {
    const { connect: open, feed, gateway } = await startAsking();
    const client = await open('web.pods.localhost', alice);
    client.write('GET / HTTP/1.1\r\nHost: web.pods.localhost\r\n\r\n');
    const [first] = (await once(client, 'data')) as [Buffer];
    expect(String(first)).toContain('HTTP/1.1 200 ');
    feed.change([runningRoute('web.pods.localhost', webPort, { clientCa: other.ca, protocol: 'http' })]);
    await until('the change is there', () => gateway.table.get('web.pods.localhost')?.clientCa === other.ca);
    const page = await ask(client, 'web.pods.localhost');
    expect(page).toMatch(/^HTTP\/1\.1 421 /);
    expect(page).toContain('have changed since you opened this connection');
    expect(await ask(await open('web.pods.localhost', alice), 'web.pods.localhost')).toMatch(/^HTTP\/1\.1 403 /);
    expect(await ask(await open('web.pods.localhost', stranger), 'web.pods.localhost')).toMatch(/^HTTP\/1\.1 200 /);
  });
});
