import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { until } from '../../../support/until.ts';
import { HttpGateway, POD_HOST } from '../http/http-gateway.ts';
import { exchange, replyOf } from './http2-client.ts';

const CONNECT = {
  ':method': 'CONNECT',
  ':protocol': 'websocket',
  ':scheme': 'https',
  ':path': '/chat',
  ':authority': POD_HOST,
  'sec-websocket-version': '13',
  'sec-websocket-protocol': 'chat',
} as const;

/** RFC 8441: the pod sees an ordinary upgrade of HTTP/1.1. */
describe('a WebSocket over HTTP/2', () => {
  let gateway: HttpGateway;
  let pod: Server;
  let upgraded: Socket[] = [];
  let seen: IncomingMessage | null = null;
  let onUpgrade: (request: IncomingMessage, socket: Socket) => void;

  const accept = (request: IncomingMessage): string =>
    createHash('sha1')
      .update(`${request.headers['sec-websocket-key'] ?? ''}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`)
      .digest('base64');

  beforeEach(async () => {
    gateway = await HttpGateway.start();
    upgraded = [];
    onUpgrade = (request, socket) => {
      socket.write(
        'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n' +
          `Sec-WebSocket-Accept: ${accept(request)}\r\nSec-WebSocket-Protocol: chat\r\n\r\nhello `,
      );
      socket.pipe(socket);
    };
    pod = createServer((_request, response) => response.end('pod'));
    pod.on('upgrade', (request: IncomingMessage, socket: Socket) => {
      seen = request;
      upgraded.push(socket.on('error', () => undefined));
      onUpgrade(request, socket);
    });
    await new Promise<void>((resolve) => pod.listen(0, '127.0.0.1', resolve));
    gateway.route((pod.address() as AddressInfo).port);
  });
  afterEach(async () => {
    await gateway.close();
    for (const socket of upgraded) socket.destroy();
    pod.closeAllConnections();
    await new Promise((resolve) => pod.close(resolve));
  });

  async function open(): Promise<Awaited<ReturnType<HttpGateway['connectHttp2']>>> {
    const session = await gateway.connectHttp2();
    const [settings] = (await once(session, 'remoteSettings')) as [{ enableConnectProtocol?: boolean }];
    expect(settings.enableConnectProtocol).toBe(true);
    return session;
  }

  it('is passed on in both directions, beside other requests of its connection, and ends when either side ends', async () => {
    const session = await open();
    const stream = session.request({ ...CONNECT, 'sec-websocket-key': 'of the client' }, { endStream: false });
    const [headers] = (await once(stream, 'response')) as [Record<string, unknown>];
    expect(headers).toMatchObject({ ':status': 200, 'sec-websocket-protocol': 'chat' });
    expect(Object.keys(headers)).not.toContain('upgrade');
    expect(seen?.headers).toMatchObject({ upgrade: 'websocket', connection: 'upgrade', 'sec-websocket-version': '13' });
    expect(seen?.headers['sec-websocket-key']).not.toBe('of the client');
    expect(seen?.url).toBe('/chat');
    let text = '';
    stream.on('data', (chunk: Buffer) => (text += String(chunk)));
    stream.write('one ');
    await until('it comes back', () => text === 'hello one ');
    expect(String((await exchange(session, { ':authority': POD_HOST })).body)).toBe('pod');
    stream.end('two');
    await once(stream, 'close');
    expect(text).toBe('hello one two');
    await until('its place is free', () => gateway.protocol.activeRequests() === 0 && gateway.held.get('uid-1') === 0);
    session.close();
  });

  it('that its client resets is reset at the pod, and the reverse', async () => {
    const session = await open();
    const first = session.request(CONNECT, { endStream: false });
    first.on('error', () => undefined);
    await once(first, 'response');
    first.destroy();
    await until('the pod has lost it', () => upgraded[0]?.destroyed === true);
    const second = session.request(CONNECT, { endStream: false });
    second.on('error', () => undefined);
    await once(second, 'response');
    upgraded[1]?.resetAndDestroy();
    await new Promise((resolve) => second.once('close', resolve));
    await until('its place is free', () => gateway.protocol.activeRequests() === 0);
    session.close();
  });

  it('whose client ends its side, then its connection, is closed even if the pod never ends its own', async () => {
    onUpgrade = (request, socket) => {
      socket.resume();
      socket.write(
        'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n' +
          `Sec-WebSocket-Accept: ${accept(request)}\r\n\r\n`,
      );
      // Whoever has heard the end hears of nothing more unless he speaks.
      const speaking = setInterval(() => socket.write('more'), 20);
      socket.once('close', () => clearInterval(speaking));
    };
    const session = await open();
    const stream = session.request(CONNECT, { endStream: false });
    stream.on('error', () => undefined).resume();
    await once(stream, 'response');
    stream.end('last');
    await until('the pod has heard the end', () => upgraded[0]?.readableEnded === true);
    session.destroy();
    await until('the pod has lost it', () => upgraded[0]?.destroyed === true);
    await until('its place is free', () => gateway.protocol.activeRequests() === 0);
  });

  it.each([
    ['refuses', 'HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno', 403],
    ['answers as if it were a page', 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok', 502],
    ['changes the protocol without proof', 'HTTP/1.1 101 X\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n', 502],
  ])('is not opened where the pod %s', async (_what, answer, status) => {
    onUpgrade = (_request, socket) => socket.end(answer);
    const session = await open();
    const reply = await replyOf(session.request(CONNECT, { endStream: false }));
    expect(reply.status).toBe(status);
    session.close();
  });
});
