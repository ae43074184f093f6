import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import type { IncomingHttpHeaders, ServerHttp2Stream } from 'node:http2';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { until } from '../../../support/until.ts';
import { HttpGateway, POD_HOST } from '../http/http-gateway.ts';
import { type H2cPod, startH2cPod } from './h2c-pod.ts';
import { exchange, replyOf } from './http2-client.ts';

const H2C = { backendProtocol: 'h2c' } as const;

let gateway: HttpGateway;
let pod: H2cPod;

beforeEach(async () => {
  gateway = await HttpGateway.start({ dialRetryMs: 0 });
  pod = await startH2cPod();
  gateway.route(pod.port, H2C);
});
afterEach(async () => {
  await gateway.close();
  await pod.close();
});

describe('a pod that speaks h2c', () => {
  it('gets requests of HTTP/1.1 and HTTP/2 clients over one HTTP/2 connection', async () => {
    const seen: IncomingHttpHeaders[] = [];
    pod.handle = (stream, headers) => {
      seen.push(headers);
      stream.respond({ ':status': 201, 'x-own': 'kept', 'set-cookie': ['a=1', 'b=2'] });
      stream.end(`${String(headers[':method'])} ${String(headers[':path'])}`);
    };
    const first = await gateway.request({
      path: '/one?x',
      headers: { connection: 'close, x-hop', 'x-hop': '1', te: 'gzip' },
    });
    expect(first).toMatchObject({ status: 201, body: 'GET /one?x' });
    expect(first.headers['set-cookie']).toEqual(['a=1', 'b=2']);
    const session = await gateway.connectHttp2();
    const second = await exchange(session, { ':authority': POD_HOST, ':path': '/two' });
    expect([second.status, String(second.body), second.rstCode]).toEqual([201, 'GET /two', 0]);
    session.close();
    for (const headers of seen) {
      expect(headers).toMatchObject({
        ':authority': POD_HOST,
        ':scheme': 'http',
        te: 'trailers',
        'x-forwarded-for': '127.0.0.1',
      });
      expect(headers['x-hop']).toBeUndefined();
      expect(headers['x-request-id']).toBeTruthy();
    }
    expect(pod.opened).toBe(1);
  });

  it('gets bodies and trailers, and sends them, with both kinds of clients', async () => {
    pod.handle = (stream, headers) => {
      const chunks: Buffer[] = [];
      let note = '';
      stream.on('trailers', (trailers) => (note = String(trailers['x-note'])));
      stream
        .on('data', (chunk: Buffer) => chunks.push(chunk))
        .once('end', () => {
          stream.respond({ ':status': 200 }, { waitForTrailers: true });
          stream.once('wantTrailers', () => stream.sendTrailers({ 'x-sum': note }));
          stream.end(`${headers['content-length'] ?? 'chunks'} ${String(Buffer.concat(chunks))}`);
        });
    };
    const known = await gateway.request({ method: 'POST', headers: { 'content-length': 5 }, body: 'hello' });
    expect(known.body).toBe('5 hello');
    const chunked = await gateway.request({
      method: 'POST',
      headers: { 'transfer-encoding': 'chunked' },
      body: 'hello',
    });
    expect(chunked.body).toBe('chunks hello');
    expect(chunked.trailers).toHaveProperty('x-sum');
    const session = await gateway.connectHttp2();
    const stream = session.request({ ':authority': POD_HOST, ':method': 'POST' }, { waitForTrailers: true });
    stream.once('wantTrailers', () => stream.sendTrailers({ 'x-note': 'behind' }));
    stream.end('hello');
    const reply = await replyOf(stream);
    expect([String(reply.body), reply.trailers['x-sum']]).toEqual(['chunks hello', 'behind']);
    session.close();
  });

  it('responds to HEAD, without a body, and with an empty one, with both kinds of clients', async () => {
    pod.handle = (stream, headers) => {
      const status = Number(String(headers[':path']).slice(1));
      stream.respond(
        { ':status': status, ...(headers[':method'] === 'HEAD' && { 'content-length': '9' }) },
        { endStream: true },
      );
    };
    const session = await gateway.connectHttp2();
    for (const status of [200, 204, 304]) {
      const one = await gateway.request({ path: `/${status}` });
      expect([one.status, one.body]).toEqual([status, '']);
      const two = await exchange(session, { ':authority': POD_HOST, ':path': `/${status}` });
      expect([two.status, two.body.length, two.rstCode]).toEqual([status, 0, 0]);
    }
    const head = await exchange(session, { ':authority': POD_HOST, ':method': 'HEAD', ':path': '/200' });
    expect([head.status, head.headers['content-length']]).toEqual([200, '9']);
    session.close();
  });

  it('that responds before it has read the request has its response passed on completely', async () => {
    pod.handle = (stream) => {
      stream.respond({ ':status': 413 });
      stream.end('too much');
      stream.once('finish', () => stream.close(0));
    };
    const session = await gateway.connectHttp2();
    for (let round = 0; round < 5; round++) {
      const stream = session.request({ ':authority': POD_HOST, ':method': 'POST' });
      stream.write('part');
      const reply = await replyOf(stream);
      expect([reply.status, String(reply.body)]).toEqual([413, 'too much']);
    }
    session.close();
  });

  it('never mistakes part of a request for all of it, nor its clients part of a response', async () => {
    const ends: string[] = [];
    pod.handle = (stream, headers) => {
      if (headers[':path'] === '/answer') {
        stream.respond({ ':status': 200 });
        stream.write('some');
        setTimeout(() => stream.destroy(new Error('broken')), 50);
        return;
      }
      stream.resume().once('end', () => ends.push(stream.closed ? 'reset' : 'whole'));
      stream.once('aborted', () => ends.push(`aborted ${String(stream.rstCode)}`));
    };
    const session = await gateway.connectHttp2();
    // Its `close` would end the body properly first.
    const giveUp = new AbortController();
    const upload = session.request({ ':authority': POD_HOST, ':method': 'POST' }, { signal: giveUp.signal });
    upload.on('error', () => undefined).write('part');
    await until('the pod has the request', () => gateway.protocol.activeRequests() === 1 && pod.sessions.size === 1);
    await new Promise((resolve) => setTimeout(resolve, 100));
    giveUp.abort();
    await until('the pod has lost it', () => ends.length > 0);
    expect(ends[0]).toBe('aborted 8');
    expect(ends).not.toContain('whole');
    const reply = await exchange(session, { ':authority': POD_HOST, ':path': '/answer' });
    expect([reply.status, reply.rstCode]).toEqual([200, 2]);
    await expect(gateway.request({ path: '/answer' })).rejects.toThrow();
    session.close();
  });

  it('that did not process a request gets it again; one that does not say so does not', async () => {
    let asked = 0;
    pod.handle = (stream) => {
      asked++;
      if (asked === 1) stream.close(7);
      else {
        stream.respond({ ':status': 200 });
        stream.end(String(asked));
      }
    };
    expect(await gateway.request({ method: 'DELETE' })).toMatchObject({ status: 200, body: '2' });
    asked = 0;
    pod.handle = (stream) => {
      asked++;
      stream.close(2);
    };
    expect((await gateway.request({ method: 'POST', body: 'x' })).status).toBe(502);
    expect(asked).toBe(1);
  });

  it('that did not process a request gets its body again, and after three times the client gets the refusal', async () => {
    const bodies: string[] = [];
    let refusals = 2;
    pod.handle = (stream) => {
      let body = '';
      stream.on('data', (chunk: Buffer) => (body += String(chunk)));
      stream.once('end', () => {
        bodies.push(body);
        if (refusals-- > 0) stream.close(7);
        else {
          stream.respond({ ':status': 200 });
          stream.end('done');
        }
      });
    };
    const body = 'x'.repeat(40_000);
    expect(await gateway.request({ method: 'POST', body })).toMatchObject({ status: 200, body: 'done' });
    expect(bodies).toEqual([body, body, body]);

    const session = await gateway.connectHttp2();
    refusals = Infinity;
    const post = { ':method': 'POST', ':authority': POD_HOST };
    expect(await exchange(session, post, 'hello')).toMatchObject({ status: 0, rstCode: 7 });
    expect(bodies.splice(3)).toEqual(['hello', 'hello', 'hello', 'hello']);
    // What is too long to be kept is not sent again: the client may do so.
    expect(await exchange(session, post, Buffer.alloc(200_000, 'y'))).toMatchObject({ status: 0, rstCode: 7 });
    expect(bodies.splice(3)).toHaveLength(1);
    session.close();
  });

  it('that refuses while the body is still arriving gets all of it the second time', async () => {
    let refused = false;
    pod.handle = (stream) => {
      if (!refused) {
        stream.once('data', () => {
          refused = true;
          stream.close(7);
        });
        return;
      }
      let bytes = 0;
      stream.on('data', (chunk: Buffer) => (bytes += chunk.length));
      stream.once('end', () => {
        stream.respond({ ':status': 200 });
        stream.end(String(bytes));
      });
    };
    const session = await gateway.connectHttp2();
    const reply = await exchange(session, { ':method': 'POST', ':authority': POD_HOST }, (stream) => {
      stream.write('first');
      const timer = setInterval(() => {
        stream.write('piece');
        if (!refused) return;
        clearInterval(timer);
        setTimeout(() => stream.end('last!'), 50);
        stream.write('while');
      }, 5);
    });
    expect(reply.status).toBe(200);
    expect(Number(String(reply.body)) % 5).toBe(0);
    expect(Number(String(reply.body))).toBeGreaterThanOrEqual(20);
    session.close();
  });

  it('that sends GOAWAY finishes its requests, and gets new ones on a new connection', async () => {
    const session = await gateway.connectHttp2();
    let finish = (): void => undefined;
    pod.handle = (stream) => {
      stream.respond({ ':status': 200 });
      finish = () => stream.end('late');
    };
    const late = exchange(session, { ':authority': POD_HOST });
    await until('the pod has it', () => finish.name !== '' || pod.sessions.size === 1);
    await until('the pod is at it', () => gateway.protocol.activeRequests() === 1);
    await new Promise((resolve) => setTimeout(resolve, 50));
    for (const one of pod.sessions) one.close();
    const before = finish;
    pod.handle = (stream) => {
      stream.respond({ ':status': 200 });
      stream.end('new');
    };
    await until(
      'it is known',
      async () => String((await exchange(session, { ':authority': POD_HOST })).body) === 'new',
    );
    expect(pod.opened).toBe(2);
    before();
    expect(String((await late).body)).toBe('late');
    session.close();
  });

  it('gets no more concurrent requests on a connection than it allows', async () => {
    await pod.close();
    pod = await startH2cPod({ maxConcurrentStreams: 5 });
    gateway.route(pod.port, { ...H2C, uid: 'uid-2' });
    // No response ends before all requests are there, however slowly they come.
    const held: ServerHttp2Stream[] = [];
    pod.handle = (stream) => {
      stream.respond({ ':status': 200 });
      if (held.push(stream) === 40) for (const each of held) each.end('pod');
    };
    const session = await gateway.connectHttp2();
    const replies = await Promise.all(Array.from({ length: 40 }, () => exchange(session, { ':authority': POD_HOST })));
    expect(replies.map(({ status }) => status)).toEqual(Array(40).fill(200));
    expect(pod.opened).toBe(8);
    session.close();
  });

  it('that in fact does not: its clients get the message that it does not respond', async () => {
    for (const answer of ['HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n', 'rubbish', null]) {
      const other = createServer((socket) => {
        socket.on('error', () => undefined).resume();
        if (answer === null) socket.destroy();
        else socket.end(answer);
      });
      await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve));
      gateway.route((other.address() as AddressInfo).port, { ...H2C, uid: `uid-${String(answer)}` });
      expect((await gateway.request()).status).toBe(502);
      await new Promise((resolve) => other.close(resolve));
    }
    gateway.route(1, { ...H2C, uid: 'uid-nobody' });
    expect((await gateway.request()).status).toBe(502);
  });

  it('cannot be upgraded: the request continues without, and a WebSocket over HTTP/2 gets the reason', async () => {
    const answer = await gateway.request({ headers: { connection: 'upgrade', upgrade: 'websocket' } });
    expect([answer.status, answer.body]).toEqual([200, 'pod']);
    const session = await gateway.connectHttp2();
    await new Promise((resolve) => session.once('remoteSettings', resolve));
    const fields = {
      ':method': 'CONNECT',
      ':protocol': 'websocket',
      ':authority': POD_HOST,
      ':scheme': 'https',
      ':path': '/',
    };
    const tunnel = session.request(fields);
    expect((await replyOf(tunnel)).status).toBe(400);
    session.close();
  });

  it('waits for slow readers, with limited buffers', async () => {
    const size = 64 * 1024 * 1024;
    let sent = 0;
    pod.handle = (stream) => {
      stream.respond({ ':status': 200 });
      const piece = Buffer.alloc(64 * 1024);
      const fill = (): void => {
        while (sent < size) {
          sent += piece.length;
          if (!stream.write(piece)) {
            stream.once('drain', fill);
            return;
          }
        }
        stream.end();
      };
      fill();
    };
    const session = await gateway.connectHttp2();
    const download = session.request({ ':authority': POD_HOST });
    await new Promise((resolve) => download.once('response', resolve));
    await new Promise((resolve) => setTimeout(resolve, 400));
    expect(sent).toBeLessThan(8 * 1024 * 1024);
    let received = 0;
    download.on('data', (chunk: Buffer) => (received += chunk.length));
    await new Promise((resolve) => download.once('end', resolve));
    expect(received).toBe(size);
    session.close();
  });
});
