import type http from 'node:http';
import net from 'node:net';
import type tls from 'node:tls';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { until } from '../../../support/until.ts';
import { HttpGateway, POD_HOST, listen, readToEnd, startBackend } from './http-gateway.ts';

let gateway: HttpGateway;
beforeEach(async () => {
  gateway = await HttpGateway.start({ headersTimeoutMs: 2_000, lingerMs: 300 });
});
afterEach(() => gateway.close());

const HEAD = `Host: ${POD_HOST}\r\n`;

/** A pod that answers any request head with these bytes. */
async function oddPod(answer: string): Promise<net.Server> {
  const pod = net.createServer((socket) => {
    socket.on('error', () => undefined);
    socket.once('data', () => socket.end(Buffer.from(answer, 'latin1')));
  });
  gateway.route(await listen(pod), { uid: `uid-${answer.length}-${answer.slice(9, 12)}` });
  return pod;
}

describe('a hostile pod', () => {
  const answers = [
    'HTTP/1.1 099 Odd\r\nContent-Length: 0\r\n\r\n',
    'HTTP/1.1 000 Odd\r\n\r\n',
    'HTTP/1.1 999 Odd\r\nContent-Length: 0\r\n\r\n',
    'HTTP/1.1 101 Unasked\r\n\r\n',
    'HTTP/1.1 101 Unasked\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n',
    'HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n',
    'HTTP/1.1 200 \x01\x02\r\nContent-Length: 0\r\n\r\n',
    'HTTP/1.1 200 OK\r\nX-A: b\rc\r\n\r\n',
    'HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n',
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n',
    `HTTP/1.1 200 OK\r\nX-A: ${'a'.repeat(100_000)}\r\n\r\n`,
    '\0'.repeat(1_000),
    '',
  ];
  const requests = {
    plain: `GET / HTTP/1.1\r\n${HEAD}Connection: close\r\n\r\n`,
    upgrade: `GET / HTTP/1.1\r\n${HEAD}Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n`,
    expecting: `POST / HTTP/1.1\r\n${HEAD}Connection: close\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc`,
  };
  it.each(Object.entries(requests))(
    'affects no other client, whatever it replies to a request that is %s',
    async (_kind, bytes) => {
      for (const answer of answers) {
        const pod = await oddPod(answer);
        const socket = await gateway.connect();
        const text = readToEnd(socket);
        socket.write(bytes);
        expect(await text).toMatch(/^$|^HTTP\/1\.1 /);
        await new Promise((resolve) => pod.close(resolve));
      }
      await until('nothing is under way', () => gateway.protocol.activeRequests() === 0);
    },
  );
});

describe('hostile clients', () => {
  it('stop nothing: after 600 connections of mutated requests, cut anywhere, the next request is served', async () => {
    const backend = await startBackend((request: http.IncomingMessage, response) => {
      request.pipe(response);
    });
    gateway.route(backend.port);
    const seeds = [
      `POST /a HTTP/1.1\r\n${HEAD}Content-Length: 5\r\n\r\nhelloGET /b HTTP/1.1\r\n${HEAD}\r\n`,
      `PUT /a HTTP/1.1\r\n${HEAD}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-T: 1\r\n\r\n`,
      `GET /ws HTTP/1.1\r\n${HEAD}Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n\r\nframes`,
      `POST /c HTTP/1.1\r\n${HEAD}Expect: 100-continue\r\nContent-Length: 5\r\n\r\nhello`,
    ];
    let state = 20_261_123;
    const random = (below: number): number => {
      state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fffffff;
      return state % below;
    };
    const attack = async (round: number): Promise<void> => {
      const bytes = Buffer.from(seeds[round % seeds.length] ?? '', 'latin1');
      for (let change = random(6); change > 0; change -= 1) bytes[random(bytes.length)] = random(256);
      const socket = await gateway.connect();
      socket.on('error', () => undefined);
      const cut = random(bytes.length);
      socket.write(bytes.subarray(0, cut));
      const leave = () => (round % 3 === 0 ? socket.destroy() : socket.end());
      socket.write(bytes.subarray(cut), () => setTimeout(leave, random(20)));
    };
    for (let round = 0; round < 600; round += 20) {
      await Promise.all(Array.from({ length: 20 }, (_, index) => attack(round + index)));
    }
    expect((await gateway.request({ method: 'POST', body: 'still here' })).body).toBe('still here');
    await until('nothing is under way', () => gateway.protocol.activeRequests() === 0);
    await until('no connection is left', () => gateway.openConnections === 0);
    expect(gateway.held.get('uid-1')).toBe(0);
    await backend.close();
  });
});

describe('a socket whose first bytes were looked at', () => {
  it.each([
    ['left as it is', () => undefined],
    ['left paused', (socket: tls.TLSSocket) => socket.pause()],
  ])('and put back is served, %s', async (_name, leave) => {
    const backend = await startBackend((_request, response) => response.end('served'));
    gateway.route(backend.port);
    gateway.onSocket = (socket, accept) => {
      socket.once('readable', () => {
        const first: unknown = socket.read();
        if (!Buffer.isBuffer(first)) throw new Error('nothing to look at');
        socket.unshift(first);
        leave(socket);
        accept();
      });
    };
    const socket = await gateway.connect();
    const text = readToEnd(socket);
    socket.write(`GET / HTTP/1.1\r\n${HEAD}`);
    setTimeout(() => socket.write('Connection: close\r\n\r\n'), 50);
    expect(await text).toMatch(/^HTTP\/1\.1 200 OK[^]*served/);
    await backend.close();
  });

  it('that leave a body unfinished are cut soon after their response, and those that finish it continue', async () => {
    const backend = await startBackend((_request, response) => response.end('early'));
    gateway.route(backend.port);
    const half = `POST / HTTP/1.1\r\n${HEAD}Content-Length: 100\r\n\r\n${'x'.repeat(50)}`;
    const stuck = await gateway.connect();
    const text = readToEnd(stuck);
    stuck.write(half);
    const slow = await gateway.connect();
    let answers = '';
    slow.setEncoding('latin1').on('data', (piece: string) => (answers += piece));
    slow.write(half);
    await until('it is answered', () => answers.includes('early'));
    slow.write('x'.repeat(50));
    // Ends by itself: nobody closes it here.
    expect(await text).toContain('early');
    await new Promise((resolve) => setTimeout(resolve, 400));
    slow.write(`GET / HTTP/1.1\r\n${HEAD}\r\n`);
    await until('the next request is served', () => answers.split('early').length === 3);
    slow.destroy();
    await backend.close();
  });
});
