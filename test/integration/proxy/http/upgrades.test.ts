import { createHash, randomBytes } from 'node:crypto';
import type http from 'node:http';
import type net from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { until } from '../../../support/until.ts';
import { HttpGateway, POD_HOST, readToEnd, readUntil, startBackend } from './http-gateway.ts';

type Backend = Awaited<ReturnType<typeof startBackend>>;

let gateway: HttpGateway;
let backends: Backend[];

beforeEach(async () => {
  gateway = await HttpGateway.start();
  backends = [];
});

afterEach(async () => {
  await gateway.close();
  for (const backend of backends) await backend.close();
});

/** A pod that is routed at once. */
async function serve(listener: http.RequestListener, uid = 'uid-1'): Promise<Backend> {
  const backend = await startBackend(listener);
  backends.push(backend);
  gateway.route(backend.port, { uid });
  return backend;
}

const echoHead: http.RequestListener = (request, response) => {
  response.end(JSON.stringify({ method: request.method, url: request.url, headers: request.headers }));
};

describe('upgrades', () => {
  /** A hand-made WebSocket server: accepts, greets in the same write, then echoes frames as they are. */
  function acceptUpgrades(server: http.Server): void {
    server.on('upgrade', (request: http.IncomingMessage, socket: net.Socket) => {
      const key = request.headers['sec-websocket-key'] ?? '';
      const accept = createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64');
      socket.write(
        `HTTP/1.1 101 Switching Protocols\r\nUpgrade: ${request.headers.upgrade ?? ''}\r\nConnection: Upgrade\r\n` +
          `Sec-WebSocket-Accept: ${accept}\r\n\r\nhello `,
      );
      socket.on('data', (chunk) => socket.write(chunk));
      socket.on('end', () => socket.end('bye'));
      socket.on('error', () => undefined);
    });
  }

  it('become a tunnel in both directions, with half-close, and count as in progress until both have ended', async () => {
    acceptUpgrades((await serve((_request, response) => response.end())).server);
    const socket = await gateway.connect();
    socket.write(
      `GET /ws HTTP/1.1\r\nHost: ${POD_HOST}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n` +
        'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\nearly ',
    );
    const text = await readUntil(socket, 'early ');
    expect(text).toMatch(/^HTTP\/1\.1 101 Switching Protocols\r\n/);
    expect(text).toMatch(/sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK\+xOo=\r\n/i);
    expect(text).toContain('\r\n\r\nhello early ');
    expect(gateway.protocol.activeRequests()).toBe(1);
    const rest = readToEnd(socket);
    socket.end('last words ');
    expect(await rest).toBe('last words bye');
    await until('nothing is under way', () => gateway.protocol.activeRequests() === 0);
    expect(gateway.held.get('uid-1')).toBe(0);
  });

  it('carry megabytes of WebSocket traffic unchanged', async () => {
    acceptUpgrades((await serve((_request, response) => response.end())).server);
    const socket = await gateway.connect();
    socket.write(`GET / HTTP/1.1\r\nHost: ${POD_HOST}\r\nConnection: upgrade\r\nUpgrade: odd/1\r\n\r\n`);
    await readUntil(socket, 'hello ');
    const bytes = randomBytes(4 * 1024 * 1024);
    const received = readToEnd(socket);
    socket.end(bytes);
    const echoed = Buffer.from(await received, 'latin1');
    expect(echoed.subarray(0, bytes.length).equals(bytes)).toBe(true);
    expect(echoed.subarray(bytes.length).toString()).toBe('bye');
  });

  it('that the pod refuses return the pod\u2019s response', async () => {
    const { server } = await serve((_request, response) => response.end());
    server.on('upgrade', (_request: http.IncomingMessage, socket: net.Socket) => {
      socket.end('HTTP/1.1 403 Forbidden\r\nContent-Length: 4\r\nConnection: close\r\n\r\nno! ');
    });
    const socket = await gateway.connect();
    socket.write(`GET / HTTP/1.1\r\nHost: ${POD_HOST}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n`);
    const text = await readToEnd(socket);
    expect(text).toMatch(/^HTTP\/1\.1 403 Forbidden\r\n/);
    expect(text).toMatch(/\r\n\r\nno! $/);
  });

  it('end on both sides when the pod dies', async () => {
    const { server } = await serve((_request, response) => response.end());
    let pod: net.Socket | undefined;
    server.on('upgrade', (_request: http.IncomingMessage, socket: net.Socket) => {
      pod = socket;
      socket.write('HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nhi');
    });
    const socket = await gateway.connect();
    socket.write(`GET / HTTP/1.1\r\nHost: ${POD_HOST}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n`);
    await readUntil(socket, 'hi');
    const closed = new Promise((resolve) => socket.once('close', resolve));
    socket.on('error', () => undefined);
    pod?.resetAndDestroy();
    await closed;
    await until('nothing is under way', () => gateway.protocol.activeRequests() === 0);
  });

  it('to h2c are ignored: the request is served normally', async () => {
    await serve(echoHead);
    const { status, body } = await gateway.request({
      headers: { connection: 'Upgrade, HTTP2-Settings', upgrade: 'h2c', 'http2-settings': 'AAMAAABk' },
    });
    expect(status).toBe(200);
    expect(body).not.toMatch(/h2c|http2-settings/i);
  });
});
