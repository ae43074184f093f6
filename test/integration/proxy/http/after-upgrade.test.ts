import { createHash } from 'node:crypto';
import { once } from 'node:events';
import http2 from 'node:http2';
import { createServer, type Server, type Socket } from 'node:net';
import { dirname, join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { until } from '../../../support/until.ts';
import { DEFAULT_HTTP_LIMITS } from '../../../../proxy/protocols/http/http-protocol.ts';
import { runningRoute } from '../support/gateway-fixture.ts';
import { createStage } from '../support/stage.ts';
import { startBackend } from '../support/streams.ts';

const HOST = 'tunnel.pods.localhost';
/** Long enough for a request to become a tunnel on a busy machine. */
const LIMIT_MS = 400;
/** Every limit of a request has passed several times over when the tunnel has been watched for so long. */
const WATCHED_MS = 5 * LIMIT_MS;
const http = {
  ...DEFAULT_HTTP_LIMITS,
  headersTimeoutMs: LIMIT_MS,
  requestTimeoutMs: LIMIT_MS,
  stalledClientMs: LIMIT_MS,
  keepAliveTimeoutMs: LIMIT_MS,
  lingerMs: LIMIT_MS,
  apiAnswerMs: LIMIT_MS,
};
const HEAD = 'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n';

const stage = createStage();
let api: Server | null = null;
const sockets = new Set<Socket>();
afterEach(async () => {
  for (const socket of sockets) socket.destroy();
  const server = api;
  api = null;
  if (server !== null) await new Promise((resolve) => server.close(resolve));
});

/** Accepts an upgrade, and then says nothing but what it is told. */
function accept(socket: Socket): void {
  sockets.add(socket.on('error', () => undefined));
  socket.once('data', (head) => {
    const key = /sec-websocket-key: (.*)\r/i.exec(String(head))?.[1] ?? '';
    const answer = createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64');
    socket.write(`${HEAD}Sec-WebSocket-Accept: ${answer}\r\n\r\n`);
    socket.on('data', (bytes) => socket.write(bytes));
  });
}

async function upgrade(socket: Socket, host: string): Promise<() => string> {
  let text = '';
  socket.on('data', (chunk) => (text += chunk.toString('latin1')));
  socket.write(`GET /ws HTTP/1.1\r\nHost: ${host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n`);
  await until('it is a tunnel', () => text.includes('\r\n\r\n'));
  return () => text.slice(text.indexOf('\r\n\r\n') + 4);
}

describe('no limit of a request affects the tunnel that it has become', () => {
  it('to the API', async () => {
    const fixture = await stage.start({ routes: [], limits: { http } });
    const server = createServer(accept);
    api = server;
    await new Promise<void>((resolve) => server.listen(join(dirname(fixture.feed.path), 'api.sock'), resolve));
    const client = await fixture.connect('localhost');
    const tunnelled = await upgrade(client, 'localhost');
    await new Promise((resolve) => setTimeout(resolve, WATCHED_MS));
    client.write('ping');
    await until('it comes back', () => tunnelled() !== '');
    expect(tunnelled()).toBe('ping');
    client.destroy();
  });

  it('to a pod, from a client of HTTP/1.1 and from one of HTTP/2', async () => {
    const pod = await startBackend(accept);
    stage.backends.push(pod);
    const routes = [runningRoute(HOST, pod.port, { protocol: 'http' })];
    const fixture = await stage.start({ routes, limits: { http } });
    const client = await fixture.connect(HOST);
    const tunnelled = await upgrade(client, HOST);
    const secure = await fixture.connect(HOST, { ALPNProtocols: ['h2'] });
    const session = http2.connect(`https://${HOST}`, { createConnection: () => secure });
    await once(session, 'remoteSettings');
    const fields = {
      ':method': 'CONNECT',
      ':protocol': 'websocket',
      ':scheme': 'https',
      ':path': '/',
      ':authority': HOST,
    };
    const stream = session.request(fields, { endStream: false });
    let text = '';
    stream.on('error', () => undefined).on('data', (chunk: Buffer) => (text += chunk.toString('latin1')));
    await once(stream, 'response');
    await new Promise((resolve) => setTimeout(resolve, WATCHED_MS));
    client.write('ping');
    stream.write('pong');
    await until('both come back', () => tunnelled() !== '' && text !== '');
    expect([tunnelled(), text]).toEqual(['ping', 'pong']);
    // Cut by its route, a tunnel gets no page either.
    fixture.feed.change([runningRoute(HOST, pod.port, { protocol: 'http', ipAllowList: ['192.0.2.1'] })]);
    await until('both are cut', () => (client.readableEnded || client.destroyed) && stream.destroyed);
    expect([tunnelled(), text]).toEqual(['ping', 'pong']);
    session.destroy();
  });
});
