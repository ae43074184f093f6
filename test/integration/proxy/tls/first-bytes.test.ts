import { once } from 'node:events';
import type { Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { describe, expect, it } from 'vitest';
import { runningRoute } from '../support/gateway-fixture.ts';
import { BOLT_HELLO, certificate, createStage, echoes } from '../support/stage.ts';
import { openPlain, readAll, readAndEnd } from '../support/streams.ts';

const { start, echo } = createStage();

const SSL_REQUEST = Buffer.from('0000000804d2162f', 'hex');
const GSSENC_REQUEST = Buffer.from('0000000804d21630', 'hex');
const STARTUP = Buffer.concat([Buffer.from('0000001300030000', 'hex'), Buffer.from('user\0name\0\0')]);

/** Byte by byte, each on its way before the next. */
async function dribble(socket: Socket, bytes: Buffer): Promise<void> {
  for (const byte of bytes) {
    await new Promise<void>((resolve) => socket.write(Buffer.from([byte]), () => setImmediate(resolve)));
  }
}

async function answerTo(socket: Socket): Promise<string> {
  const [answer] = (await once(socket, 'data')) as [Buffer];
  return answer.toString('latin1');
}

describe('first bytes that arrive one by one', () => {
  it.each([
    ['HTTP/1.1', Buffer.from('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n'), /^HTTP\/1\.1 400 [\s\S]*TLS/],
    ['HTTP/2', Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'), /^HTTP\/1\.1 400 /],
    ['a StartupMessage', STARTUP, /^E[\s\S]*C28000\0[\s\S]*sslmode=require/],
  ])('of plaintext %s get a reply in the same protocol', async (_what, bytes, expected) => {
    const { httpsPort, gateway } = await start({ routes: [] });
    const socket = await openPlain(httpsPort);
    const answered = readAndEnd(socket);
    await dribble(socket, bytes);
    expect((await answered).toString('latin1')).toMatch(expected);
    expect(gateway.counters.refused['tls.required']).toBe(1);
  });

  it('of Bolt without TLS get a reply in Bolt', async () => {
    const { httpsPort } = await start({ routes: [] });
    const socket = await openPlain(httpsPort);
    const answered = answerTo(socket);
    await dribble(socket, BOLT_HELLO);
    expect(await answered).toHaveLength(4);
    socket.destroy();
  });

  it.each([
    ['SSH', Buffer.from('SSH-2.0-OpenSSH_9.2\r\n')],
    ['zeros', Buffer.alloc(16)],
    ['a Postgres of version 2', Buffer.from('0000012800020000', 'hex')],
    ['rubbish', Buffer.from('f0e1d2c3b4a59687', 'hex')],
  ])('of %s are closed silently, and counted', async (_what, bytes) => {
    const { httpsPort, gateway } = await start({ routes: [] });
    const socket = await openPlain(httpsPort);
    const heard = readAll(socket);
    await dribble(socket, bytes);
    expect(await heard).toHaveLength(0);
    socket.destroy();
    expect(gateway.counters.closed.unrecognized).toBe(1);
  });
});

describe('requests for encryption', () => {
  it('get replies with any split: GSSENCRequest with N, SSLRequest with S, then TLS', async () => {
    const { httpsPort } = await start({ routes: [runningRoute('echo.pods.localhost', (await echo()).port)] });
    const socket = await openPlain(httpsPort);
    for (const [request, answer] of [
      [GSSENC_REQUEST, 'N'],
      [SSL_REQUEST, 'S'],
    ] as const) {
      const answered = answerTo(socket);
      await dribble(socket, request);
      expect(await answered).toBe(answer);
    }
    // A tcp route: what follows the handshake is nobody's but the pod's.
    const client = connectTls({ socket, servername: 'echo.pods.localhost', ca: certificate.certificatePem });
    await once(client, 'secureConnect');
    expect(await echoes(client)).toBe(true);
    client.destroy();
  });

  it.each([
    ['GSSENCRequest', GSSENC_REQUEST, 'N'],
    ['SSLRequest', SSL_REQUEST, 'S'],
  ])('are accepted once: a second %s closes the connection', async (_what, request, answer) => {
    const { httpsPort, gateway } = await start({ routes: [] });
    const socket = await openPlain(httpsPort);
    const answered = answerTo(socket);
    socket.write(request);
    expect(await answered).toBe(answer);
    socket.write(request);
    expect(await readAndEnd(socket)).toHaveLength(0);
    expect(gateway.counters.closed.unrecognized).toBe(1);
  });

  it.each([1, 8, 30])('are closed if %i bytes arrive before the reply', async (bytes) => {
    const { httpsPort, gateway } = await start({ routes: [] });
    const socket = await openPlain(httpsPort);
    socket.write(Buffer.concat([SSL_REQUEST, Buffer.alloc(bytes, 0x16)]));
    expect(await readAndEnd(socket)).toHaveLength(0);
    expect(gateway.counters.closed['early-bytes']).toBe(1);
  });

  it('are not followed by plaintext: a StartupMessage after S reaches no pod', async () => {
    const { httpsPort, gateway } = await start({ routes: [] });
    const socket = await openPlain(httpsPort);
    const answered = answerTo(socket);
    socket.write(SSL_REQUEST);
    expect(await answered).toBe('S');
    socket.write(STARTUP);
    expect(await readAndEnd(socket)).toHaveLength(0);
    expect(gateway.counters.closed.unrecognized).toBe(1);
  });
});
