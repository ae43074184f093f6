import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect, type AddressInfo } from 'node:net';
import { createServer, type Server } from 'node:tls';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { TLS_SETTINGS } from '../../../../proxy/tls/tls-settings.ts';
import { inRecords, realHello } from '../../../support/client-hellos.ts';
import { until } from '../../../support/until.ts';
import { runningRoute } from '../support/gateway-fixture.ts';
import { certificate, createStage } from '../support/stage.ts';
import { readAndEnd } from '../support/streams.ts';

const { start, echo } = createStage();
const HOST = 'echo.pods.localhost';
const SNI = Buffer.from(HOST);

/** OpenSSL itself, with our settings. */
let openssl: Server;
beforeAll(async () => {
  const { certificatePem: cert, privateKeyPem: key } = certificate;
  openssl = createServer({ cert, key, ...TLS_SETTINGS });
  openssl.on('tlsClientError', (_error, socket) => socket.destroy());
  await once(openssl.listen(0, '127.0.0.1'), 'listening');
});
afterAll(() => openssl.close());

async function answerOf(port: number, bytes: Buffer): Promise<Buffer> {
  const socket = connect({ host: '127.0.0.1', port });
  socket.on('error', () => undefined);
  await once(socket, 'connect');
  socket.write(bytes);
  return readAndEnd(socket);
}

/** A real hello in which the first `from` is replaced by as many bytes. */
async function changed(from: Buffer, to: Buffer, alpn = ['http/1.1']): Promise<Buffer> {
  const hello = Buffer.from(await realHello({ servername: HOST, ALPNProtocols: alpn }));
  const at = hello.indexOf(from);
  if (at < 0 || from.length !== to.length) throw new Error('nothing to change');
  to.copy(hello, at);
  return hello;
}

/** Records as no client starts with. */
async function outOfOrder(type: number): Promise<Buffer> {
  const hello = Buffer.from(await realHello({ servername: HOST }));
  hello[5] = type;
  return hello;
}

/** RFC 5246 E.2: a ClientHello of TLS in a record of SSLv2. */
function sslv2Hello(version: number): Buffer {
  const hello = Buffer.alloc(2 + 9 + 3 + 16);
  hello.writeUInt16BE(0x8000 | (hello.length - 2), 0);
  hello.writeUInt8(1, 2);
  hello.writeUInt16BE(version, 3);
  hello.writeUInt16BE(3, 5);
  hello.writeUInt16BE(16, 9);
  hello.writeUIntBE(0x00002f, 11, 3);
  return hello;
}

const KINDS: readonly (readonly [string, () => Promise<Buffer>])[] = [
  ['an empty ALPN name', () => changed(Buffer.from('\x08http/1.1'), Buffer.from('\0\x07ttp/1.1'))],
  ['an ALPN list that is cut short', () => changed(Buffer.from('\x08http/1.1'), Buffer.from('\x09http/1.1'))],
  ['NUL in the server name', () => changed(SNI, Buffer.from('echo\0pods.localhost'))],
  [
    'a server name of another type',
    () => changed(Buffer.concat([Buffer.from([0, 0, 19]), SNI]), Buffer.concat([Buffer.from([1, 0, 19]), SNI])),
  ],
  [
    'a server name that is cut short',
    () => changed(Buffer.concat([Buffer.from([0, 0, 19]), SNI]), Buffer.concat([Buffer.from([0, 0, 99]), SNI])),
  ],
  ['ServerHello first', () => outOfOrder(2)],
  ['Finished first', () => outOfOrder(20)],
  ['ClientKeyExchange first', () => outOfOrder(16)],
  ['application data first', () => Promise.resolve(Buffer.from('17030300100102030405060708090a0b0c0d0e0f10', 'hex'))],
  ['ChangeCipherSpec first', () => Promise.resolve(Buffer.from('140303000101', 'hex'))],
  ['an alert first', () => Promise.resolve(Buffer.from('15030300020228', 'hex'))],
  ['heartbeat first', () => Promise.resolve(Buffer.from('1803030003010000', 'hex'))],
  ['a record of 17 KB', () => Promise.resolve(Buffer.concat([Buffer.from('1603014400', 'hex'), Buffer.alloc(0x4400)]))],
  ['a hello of SSLv2 that offers SSLv2', () => Promise.resolve(sslv2Hello(0x0002))],
  ['a hello of SSLv2 that offers SSLv3', () => Promise.resolve(sslv2Hello(0x0300))],
  ['a hello of SSLv2 that offers TLS 1.0', () => Promise.resolve(sslv2Hello(0x0301))],
  ['a hello that is cut short', () => Promise.resolve(Buffer.from('16030100060100000203030000', 'hex'))],
];

describe('a first flight that is malformed or out of order', () => {
  it.each(KINDS)('gets the response of OpenSSL: %s', async (_what, make) => {
    const { httpsPort, gateway } = await start({ routes: [runningRoute(HOST, (await echo()).port)] });
    const bytes = await make();
    const expected = await answerOf((openssl.address() as AddressInfo).port, bytes);
    expect(expected.toString('hex')).toMatch(/^1503/);
    expect((await answerOf(httpsPort, bytes)).toString('hex')).toBe(expected.toString('hex'));
    await until(
      'it is counted, once',
      () => gateway.counters.closed['malformed-hello'] + gateway.counters.closed['tls-failed'] === 1,
    );
    expect(gateway.activeConnections()).toBe(0);
  });

  it('gets an alert from the gateway when it is larger than any client sends', async () => {
    const { httpsPort, gateway } = await start({ routes: [] });
    const tooMany = Buffer.concat([
      Buffer.from('160301000401000400', 'hex'),
      ...Array.from({ length: 1_100 }, () => Buffer.from('160301000101', 'hex')),
    ]);
    const tooLong = inRecords(
      Buffer.concat([Buffer.alloc(5), Buffer.from([1, 2, 0, 0]), Buffer.alloc(131_072)]),
      16_384,
    );
    for (const [index, bytes] of [tooMany, tooLong].entries()) {
      expect((await answerOf(httpsPort, bytes)).toString('hex')).toBe('1503030002022f');
      await until('it is counted', () => gateway.counters.closed['malformed-hello'] === index + 1);
    }
  });
});

/** By openssl, which sends any name. */
async function askAs(port: number, name: string, alpn: string, words: Buffer): Promise<string> {
  const args = ['s_client', '-quiet', '-connect', `127.0.0.1:${port}`, '-servername', name, '-alpn', alpn];
  const child = spawn('openssl', args, { stdio: ['pipe', 'pipe', 'ignore'] });
  const chunks: Buffer[] = [];
  child.stdout.on('data', (chunk: Buffer) => chunks.push(chunk));
  child.stdin.write(words);
  await once(child, 'close');
  return Buffer.concat(chunks).toString();
}

describe('a server name that no pod can have', () => {
  const startup = Buffer.concat([Buffer.from('0000001300030000', 'hex'), Buffer.from('user\0name\0\0')]);

  it.each(['127.0.0.1', '::1', `${HOST}:443`, 'b\u00fccher.pods.localhost', 'two words', '-'])(
    'is an unknown name, to HTTP and to Postgres: %s',
    async (name) => {
      const { httpsPort, gateway } = await start({ routes: [runningRoute(HOST, (await echo()).port)] });
      const page = Buffer.from(`GET / HTTP/1.1\r\nHost: ${name}\r\nConnection: close\r\n\r\n`);
      expect(await askAs(httpsPort, name, 'http/1.1', page)).toMatch(/^HTTP\/1\.1 404 /);
      expect(await askAs(httpsPort, name, 'postgresql', startup)).toMatch(/^E[\s\S]*C3D000/);
      expect(gateway.counters.refused['route.unknown']).toBe(2);
    },
  );
});
