import { createHash } from 'node:crypto';
import type http from 'node:http';
import type net from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { HELD_PER_POD_MAX } from '../../../../proxy/protocols/http/exchange/held-requests.ts';
import { run } from '../../../support/run.ts';
import { until } from '../../../support/until.ts';
import { HttpGateway, POD_HOST, readUntil, startBackend } from '../http/http-gateway.ts';

type Backend = Awaited<ReturnType<typeof startBackend>>;

const SLEEP = { holdMs: 20_000, probePaths: ['/healthz'] };
const NAVIGATION = { accept: 'text/html,application/xhtml+xml', 'sec-fetch-mode': 'navigate' };

let gateway: HttpGateway;
let backend: Backend;
let requests: string[];

const echo: http.RequestListener = (request, response) => {
  requests.push(`${request.method ?? ''} ${request.url ?? ''}`);
  const hash = createHash('sha256');
  let bytes = 0;
  request.on('data', (piece: Buffer) => {
    bytes += piece.length;
    hash.update(piece);
  });
  request.on('end', () => response.end(`${bytes} ${hash.digest('hex')}`));
};

const sleeps = (change: Parameters<HttpGateway['route']>[1] = {}): void => {
  gateway.route(null, { status: 'ASLEEP', sleep: SLEEP, ...change });
};
const wakes = (): void => gateway.route(backend.port, { sleep: SLEEP });
const held = (): number => gateway.counters.heldNow;

beforeEach(async () => {
  requests = [];
  gateway = await HttpGateway.start();
  backend = await startBackend(echo);
  sleeps();
});

afterEach(async () => {
  await gateway.close();
  await backend.close();
});

describe('a request for a sleeping pod', () => {
  it('wakes it, waits, and gets the response of the pod', async () => {
    const answer = gateway.request({ path: '/data' });
    await until('it waits', () => held() === 1);
    expect(gateway.wakes).toEqual([POD_HOST]);
    wakes();
    expect(await answer).toMatchObject({ status: 200 });
    expect(requests).toEqual(['GET /data']);
    expect(gateway.counters.holds).toMatchObject({ woken: 1 });
  });

  it.each([0, 5, 60_000, 300_000])('is forwarded with its body of %i bytes, once', async (bytes) => {
    const body = Buffer.alloc(bytes, 'body ');
    const answer = gateway.request({ method: 'POST', path: '/upload', body });
    await until('it waits', () => held() === 1);
    wakes();
    const expected = `${bytes} ${createHash('sha256').update(body).digest('hex')}`;
    expect(await answer).toMatchObject({ status: 200, body: expected });
    expect(requests).toEqual(['POST /upload']);
  });

  it('of curl over HTTP/2 with a body waits, too', async () => {
    const body = 'x'.repeat(200_000);
    const url = `https://${POD_HOST}:${gateway.port}/h2`;
    const answer = run(
      'curl',
      ['-sS', '--http2', '--cacert', gateway.caPath, '--connect-to', `::127.0.0.1:${gateway.port}`, '-d', '@-', url],
      { input: body },
    );
    await until('it waits', () => held() === 1);
    wakes();
    const { stdout, stderr } = await answer;
    expect(stderr).toBe('');
    expect(stdout).toMatch(/^200000 /);
  });

  it('that upgrades to a WebSocket waits, too', async () => {
    backend.server.on('upgrade', (_request: http.IncomingMessage, socket: net.Socket) => {
      socket.on('error', () => undefined);
      socket.write('HTTP/1.1 101 Switching Protocols\r\nUpgrade: chat\r\nConnection: Upgrade\r\n\r\nhello');
    });
    const socket = await gateway.connect();
    socket.write(`GET /ws HTTP/1.1\r\nHost: ${POD_HOST}\r\nConnection: Upgrade\r\nUpgrade: chat\r\n\r\n`);
    await until('it waits', () => held() === 1);
    wakes();
    expect(await readUntil(socket, 'hello')).toMatch(/^HTTP\/1\.1 101 /);
    socket.destroy();
  });

  it('waits no longer than the pod may take, and no longer than its client is there', async () => {
    sleeps({ sleep: { ...SLEEP, holdMs: 200 } });
    const answer = await gateway.request();
    expect(answer).toMatchObject({ status: 503, headers: { 'retry-after': '2' } });
    expect(answer.body).toContain('Pod hello is waking up.');
    sleeps();
    const socket = await gateway.connect();
    socket.write(`POST / HTTP/1.1\r\nHost: ${POD_HOST}\r\nContent-Length: 10\r\n\r\nhalf`);
    await until('it waits', () => held() === 1);
    socket.destroy();
    await until('nobody waits', () => held() === 0);
    expect(gateway.counters.holds).toMatchObject({ timeout: 1, left: 1 });
    wakes();
    expect(requests).toEqual([]);
  });

  it('waits with at most a hundred others, of which one address has half', async () => {
    const share = HELD_PER_POD_MAX / 2;
    const answers = Array.from({ length: share }, () => gateway.request());
    await until('all of them wait', () => held() === share);
    const refused = await gateway.request();
    expect(refused).toMatchObject({ status: 503, headers: { 'retry-after': '5' } });
    expect(JSON.parse(refused.body)).toMatchObject({
      ...{ code: 'route.held-full', message: 'Too many clients from your address are waiting for pods to wake up.' },
    });
    expect(gateway.counters.limited).toMatchObject({ 'held-address': 1, held: 0 });
    // The other half is for others.
    answers.push(...Array.from({ length: share }, () => gateway.request({ localAddress: '127.0.0.2' })));
    await until('the others wait, too', () => held() === HELD_PER_POD_MAX);
    const last = await gateway.request({ localAddress: '127.0.0.3' });
    expect(last).toMatchObject({ status: 503, headers: { 'retry-after': '5' } });
    expect(gateway.counters.limited).toMatchObject({ 'held-address': 1, held: 1 });
    wakes();
    for (const { status } of await Promise.all(answers)) expect(status).toBe(200);
    expect(requests).toHaveLength(HELD_PER_POD_MAX);
  });

  it('that reaches a pod which falls asleep during the dial waits for it', async () => {
    let isAsked = false;
    gateway.onAcquire = (count) => {
      // Between the verdict and the dial.
      if (!isAsked) sleeps({ status: 'RUNNING' });
      isAsked = true;
      count();
    };
    wakes();
    const answer = gateway.request({ method: 'POST', body: 'once' });
    await until('it waits', () => held() === 1);
    wakes();
    expect(await answer).toMatchObject({ status: 200 });
    expect(requests).toEqual(['POST /']);
  });
});

describe('requests that do not wait', () => {
  it('a browser gets a page that reloads itself, and the pod wakes up', async () => {
    const answer = await gateway.request({ path: '/notebook', headers: NAVIGATION });
    expect(answer).toMatchObject({ status: 503, headers: { 'content-type': 'text/html; charset=utf-8' } });
    expect(answer.body).toContain('Pod hello is waking up.');
    expect(answer.body).toContain('<meta http-equiv="refresh" content="2">');
    expect(gateway.wakes).toEqual([POD_HOST]);
    expect(held()).toBe(0);
    wakes();
    expect(await gateway.request({ path: '/notebook', headers: NAVIGATION })).toMatchObject({ status: 200 });
  });

  it('probes wake nothing: their path gets a response, and any other HEAD is refused', async () => {
    for (const path of ['/healthz', '/healthz?from=monitor']) {
      expect(await gateway.request({ path })).toMatchObject({ status: 200, body: 'asleep\n' });
      expect(await gateway.request({ path, method: 'HEAD' })).toMatchObject({ status: 200, body: '' });
    }
    expect(await gateway.request({ method: 'HEAD' })).toMatchObject({ status: 503, headers: { 'retry-after': '30' } });
    expect(gateway.wakes).toEqual([]);
    wakes();
    await gateway.request({ path: '/healthz' });
    expect(requests).toEqual(['GET /healthz']);
  });

  it('requests that are malformed, or for another name, wake nothing', async () => {
    expect(await gateway.request({ headers: { host: 'other.pods.localhost' } })).toMatchObject({ status: 421 });
    const socket = await gateway.connect();
    socket.write(`GET http://user:password@${POD_HOST}/ HTTP/1.1\r\nHost: ${POD_HOST}\r\n\r\n`);
    expect(await readUntil(socket, '\r\n\r\n')).toMatch(/^HTTP\/1\.1 400 /);
    socket.destroy();
    expect(gateway.wakes).toEqual([]);
  });
});
