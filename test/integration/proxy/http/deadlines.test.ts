import type http from 'node:http';
import { afterEach, describe, expect, it } from 'vitest';
import type { HttpLimits } from '../../../../proxy/protocols/http/http-protocol.ts';
import { until } from '../../../support/until.ts';
import { exchange, replyOf } from '../http2/http2-client.ts';
import { HttpGateway, POD_HOST, readToEnd, startBackend } from './http-gateway.ts';

const LIMIT_MS = 300;
const HEAD = `Host: ${POD_HOST}\r\nConnection: close\r\n`;

let gateway: HttpGateway;
let pod: Awaited<ReturnType<typeof startBackend>>;

async function start(limits: Partial<HttpLimits>, listener: http.RequestListener): Promise<void> {
  gateway = await HttpGateway.start(limits);
  pod = await startBackend(listener);
  gateway.route(pod.port);
}

afterEach(async () => {
  await gateway.close();
  await pod.close();
});

async function nothingIsUnderWay(): Promise<void> {
  await until('nothing is under way', () => gateway.protocol.activeRequests() === 0);
  expect(gateway.held.get('uid-1') ?? 0).toBe(0);
}

describe('the time limit of a request', () => {
  it('ends with its body in both versions of HTTP: a pod may take longer to respond', async () => {
    await start({ requestTimeoutMs: LIMIT_MS }, (request, response) => {
      request.resume().on('end', () => setTimeout(() => response.end('late'), 4 * LIMIT_MS));
    });
    const requests = [
      `GET / HTTP/1.1\r\n${HEAD}\r\n`,
      `POST / HTTP/1.1\r\n${HEAD}Content-Length: 3\r\n\r\nabc`,
      `POST / HTTP/1.1\r\n${HEAD}Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n`,
    ].map(async (bytes) => {
      const socket = await gateway.connect();
      const text = readToEnd(socket);
      socket.write(bytes);
      return text;
    });
    const session = await gateway.connectHttp2();
    const reply = exchange(session, { ':authority': POD_HOST });
    for (const text of await Promise.all(requests)) expect(text).toMatch(/^HTTP\/1\.1 200 [^]*late/);
    expect((await reply).status).toBe(200);
    session.close();
    await nothingIsUnderWay();
  });

  it('includes the wait for the pod’s connection limit, and the request is counted once', async () => {
    await start({ requestTimeoutMs: LIMIT_MS }, (_, response) => response.end('served'));
    const places: (() => void)[] = [];
    gateway.onAcquire = (count) => void places.push(count);
    const socket = await gateway.connect();
    const text = readToEnd(socket);
    socket.write(`POST / HTTP/1.1\r\n${HEAD}Content-Length: 3\r\n\r\na`);
    await until('it waits', () => places.length === 1);
    expect(await text).toMatch(/^HTTP\/1\.1 408 /);
    await until('the client is gone', () => gateway.protocol.activeRequests() === 0);
    for (const count of places) count();
    await nothingIsUnderWay();
  });

  it('includes the wait for the pod’s connection limit in HTTP/2, too', async () => {
    await start({ requestTimeoutMs: LIMIT_MS }, (_, response) => response.end('served'));
    const places: (() => void)[] = [];
    gateway.onAcquire = (count) => void places.push(count);
    const session = await gateway.connectHttp2();
    const stream = session.request({ ':authority': POD_HOST, ':method': 'POST', ':path': '/' }, { endStream: false });
    const reply = replyOf(stream);
    stream.write('a');
    await until('it waits', () => places.length === 1);
    expect((await reply).status).toBe(408);
    for (const count of places) count();
    session.close();
    await nothingIsUnderWay();
  });
});

describe('an HTTP/2 client that expects 100 (Continue)', () => {
  it('does not count as stalled while it waits', async () => {
    await start({ stalledClientMs: LIMIT_MS }, () => undefined);
    pod.server.on('checkContinue', (request: http.IncomingMessage, response: http.ServerResponse) => {
      setTimeout(() => response.writeContinue(), 4 * LIMIT_MS);
      request.resume().on('end', () => response.end('all of it'));
    });
    const session = await gateway.connectHttp2();
    const stream = session.request(
      { ':authority': POD_HOST, ':method': 'POST', ':path': '/', expect: '100-continue' },
      { endStream: false },
    );
    const reply = replyOf(stream);
    stream.once('continue', () => stream.end('body'));
    expect((await reply).status).toBe(200);
    session.close();
    await nothingIsUnderWay();
  });
});
