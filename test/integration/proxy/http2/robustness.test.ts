import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import type { HttpLimits } from '../../../../proxy/protocols/http/http-protocol.ts';
import { until } from '../../../support/until.ts';
import { HttpGateway, POD_HOST } from '../http/http-gateway.ts';
import { exchange, replyOf } from './http2-client.ts';
import { block, END_HEADERS, END_STREAM, FRAME, frame, RawHttp2 } from './raw-http2.ts';

const GET = [
  [':method', 'GET'],
  [':scheme', 'https'],
  [':path', '/'],
  [':authority', POD_HOST],
] as const;

let gateway: HttpGateway;
let pod: Server;
/** Requests that the pod has in hand, and had at most. */
let inHand = 0;
let most = 0;

async function start(limits: Partial<HttpLimits> = {}, answerAfterMs = 0): Promise<void> {
  [inHand, most] = [0, 0];
  gateway = await HttpGateway.start(limits);
  pod = createServer((request, response) => {
    most = Math.max(most, ++inHand);
    response.once('close', () => inHand--);
    request.on('error', () => undefined).resume();
    if (request.url === '/never') return;
    setTimeout(() => response.end('pod'), answerAfterMs);
  });
  await new Promise<void>((resolve) => pod.listen(0, '127.0.0.1', resolve));
  gateway.route((pod.address() as AddressInfo).port);
}

afterEach(async () => {
  await gateway.close();
  pod.closeAllConnections();
  await new Promise((resolve) => pod.close(resolve));
});

const open = async (): Promise<RawHttp2> => new RawHttp2(await gateway.connect(POD_HOST, ['h2']));

/** Sends these again and again, until the connection ends. Answers how many were sent. */
async function flood(client: RawHttp2, next: (number: number) => readonly Buffer[], max: number): Promise<number> {
  let sent = 0;
  while (!client.isClosed && client.goaway === null && sent < max) {
    const some: Buffer[] = [];
    for (let count = 0; count < 50; count++) some.push(...next(sent++));
    if (!client.send(...some)) {
      await new Promise<void>((resolve) => client.socket.once('drain', resolve).once('close', resolve));
    }
    await new Promise((resolve) => setImmediate(resolve));
  }
  return sent;
}

async function isServed(): Promise<boolean> {
  const session = await gateway.connectHttp2();
  const { status } = await exchange(session, { ':authority': POD_HOST });
  session.close();
  return status === 200;
}

describe('a flood', () => {
  const reset = Buffer.from([0, 0, 0, 8]);
  const stream = (number: number): number => 1 + 2 * number;
  const never = block([...GET.slice(0, 2), [':path', '/never'], [':authority', POD_HOST]]);

  it.each([
    [
      'requests that are taken back at once',
      (number: number) => [
        frame(FRAME.headers, END_HEADERS | END_STREAM, stream(number), never),
        frame(FRAME.reset, 0, stream(number), reset),
      ],
    ],
    [
      'requests that make us reset them',
      (number: number) => [
        frame(FRAME.headers, END_HEADERS, stream(number), never),
        frame(FRAME.windowUpdate, 0, stream(number), Buffer.alloc(4)),
      ],
    ],
    ['PINGs', () => [frame(FRAME.ping, 0, 0, Buffer.alloc(8))]],
    ['SETTINGS', () => [frame(FRAME.settings, 0, 0)]],
    [
      'empty pieces of a body',
      (number: number) => (number === 0 ? [frame(FRAME.headers, END_HEADERS, 1, never)] : [frame(FRAME.data, 0, 1)]),
    ],
    [
      'fields that never end',
      (number: number) =>
        number === 0 ? [frame(FRAME.headers, 0, 1, never)] : [frame(FRAME.continuation, 0, 1, block([['x', 'y']]))],
    ],
    ['rubbish', () => [Buffer.from('GET / HTTP/1.1\r\n\r\n')]],
  ])('of %s ends its connection, and the next client is served', async (_what, next) => {
    await start();
    const client = await open();
    await flood(client, next, 200_000);
    await until('the connection ends', () => client.isClosed || client.goaway !== null);
    client.socket.destroy();
    await until('nothing is left of it', () => gateway.protocol.activeRequests() === 0 && inHand === 0);
    // Far fewer than a client can take back in the time.
    expect(most).toBeLessThan(1_000);
    expect(await isServed()).toBe(true);
  });

  it('of concurrent requests is served some at a time; a client that does not wait is disconnected', async () => {
    await start({ maxStreams: 20 }, 100);
    const session = await gateway.connectHttp2();
    await once(session, 'remoteSettings');
    const replies = Array.from({ length: 60 }, () => exchange(session, { ':authority': POD_HOST }));
    expect((await Promise.all(replies)).map(({ status }) => status)).toEqual(Array(60).fill(200));
    expect(most).toBe(20);
    session.close();
    const client = await open();
    await client.settled();
    for (let number = 0; number < 60; number++) client.request(stream(number), GET);
    await until('the connection ends', () => client.isClosed);
    expect(most).toBe(20);
  });
});

describe('an HTTP/2 connection', () => {
  it('that is silent, or sends only half a preface, is closed', async () => {
    await start({ headersTimeoutMs: 200, lingerMs: 200 });
    const silent = await gateway.connect(POD_HOST, ['h2']);
    const half = await gateway.connect(POD_HOST, ['h2']);
    half.write('PRI * HTTP/2.0\r\n');
    for (const socket of [silent, half]) {
      socket.resume().on('error', () => undefined);
      await once(socket, 'close');
    }
    await until('both are gone', () => gateway.openConnections === 0);
  });

  it('gets GOAWAY when it has been idle for too long, and is closed if it stays open', async () => {
    await start({ keepAliveTimeoutMs: 200, lingerMs: 200 });
    const client = await open();
    client.request(1, GET);
    expect((await client.endOf(1)).end).toBe('end');
    // What is no request keeps nothing open.
    const pings = setInterval(() => client.send(frame(FRAME.ping, 0, 0, Buffer.alloc(8))), 50);
    await until('it hears GOAWAY', () => client.goaway === 0);
    await until('it is closed', () => gateway.openConnections === 0);
    clearInterval(pings);
  });

  it('gets GOAWAY after its last request, which gets its response', async () => {
    await start({ maxRequestsPerConnection: 3 });
    const session = await gateway.connectHttp2();
    const isOver = once(session, 'close');
    const replies = await Promise.all([1, 2, 3].map(() => exchange(session, { ':authority': POD_HOST })));
    expect(replies.map(({ status }) => status)).toEqual([200, 200, 200]);
    await isOver;
    expect(await isServed()).toBe(true);
  });

  it('is drained: requests in progress get responses, others are refused, and then it ends', async () => {
    await start({}, 300);
    const session = await gateway.connectHttp2();
    const reply = exchange(session, { ':authority': POD_HOST });
    await until('the pod has the request', () => inHand === 1);
    const goaway = once(session, 'goaway');
    gateway.protocol.close();
    expect((await goaway)[0]).toBe(0);
    expect((await reply).status).toBe(200);
    await until('the connection has ended', () => session.destroyed && gateway.openConnections === 0);
  });

  it('that fails ends its requests', async () => {
    await start();
    const session = await gateway.connectHttp2();
    for (let number = 0; number < 10; number++) {
      session.request({ ':authority': POD_HOST, ':path': '/never' }).on('error', () => undefined);
    }
    await until('the pod has them', () => inHand === 10);
    session.destroy();
    await until('the pod has none', () => inHand === 0);
    expect(gateway.held.get('uid-1')).toBe(0);
    expect(gateway.protocol.activeRequests()).toBe(0);
  });

  it('that sends a body too slowly gets 408 for that request alone', async () => {
    await start({ requestTimeoutMs: 300 });
    const session = await gateway.connectHttp2();
    const slow = session.request({ ':authority': POD_HOST, ':method': 'POST', ':path': '/never' });
    const reply = replyOf(slow);
    slow.write('x');
    expect((await reply).status).toBe(408);
    expect((await exchange(session, { ':authority': POD_HOST })).status).toBe(200);
    session.close();
  });

  it('whose pod cannot be reached reports it for each request', async () => {
    await start({ dialRetryMs: 0 });
    gateway.route(1, { uid: 'uid-2' });
    const session = await gateway.connectHttp2();
    const replies = await Promise.all([1, 2].map(() => exchange(session, { ':authority': POD_HOST })));
    expect(replies.map(({ status }) => status)).toEqual([502, 502]);
    session.close();
  });
});
