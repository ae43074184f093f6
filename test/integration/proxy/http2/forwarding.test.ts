import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { constants } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { until } from '../../../support/until.ts';
import { HttpGateway, POD_HOST } from '../http/http-gateway.ts';
import { exchange, replyOf } from './http2-client.ts';

type Handler = (request: IncomingMessage, response: ServerResponse) => void;

describe('a request over HTTP/2', () => {
  let gateway: HttpGateway;
  let pod: Server;
  let handle: Handler = (_request, response) => response.end();

  beforeAll(async () => {
    gateway = await HttpGateway.start();
    pod = createServer((request, response) => handle(request, response));
    pod.on('checkContinue', (request: IncomingMessage, response: ServerResponse) => handle(request, response));
    await new Promise<void>((resolve) => pod.listen(0, '127.0.0.1', resolve));
    gateway.route((pod.address() as AddressInfo).port);
  });
  afterAll(async () => {
    await gateway.close();
    pod.closeAllConnections();
    await new Promise((resolve) => pod.close(resolve));
  });

  it('may use the asterisk for the whole server, with OPTIONS only', async () => {
    let line = '';
    handle = (request, response) => {
      line = `${String(request.method)} ${String(request.url)}`;
      response.writeHead(204, { Allow: 'GET' }).end();
    };
    const session = await gateway.connectHttp2();
    const asked = { ':authority': POD_HOST, ':path': '*' };
    expect(await exchange(session, { ...asked, ':method': 'OPTIONS' })).toMatchObject({ status: 204, rstCode: 0 });
    expect(line).toBe('OPTIONS *');
    line = '';
    // By the HTTP/2 library: a malformed request is a stream error (RFC 9113 8.1.1).
    const refused = await exchange(session, { ...asked, ':method': 'GET' });
    expect(refused).toMatchObject({ status: 0, rstCode: constants.NGHTTP2_PROTOCOL_ERROR });
    expect(line).toBe('');
  });

  it('gets no cookie for any host but its own', async () => {
    handle = (_request, response) => {
      const cookies = ['a=1; Domain=pods.localhost', 'b=2;domain=localhost;Path=/', `c=3; Domain=${POD_HOST}`, 'd=4'];
      response.writeHead(200, { 'Set-Cookie': cookies }).end();
    };
    const reply = await exchange(await gateway.connectHttp2(), { ':authority': POD_HOST });
    expect(reply.headers['set-cookie']).toEqual(['a=1', 'b=2;Path=/', `c=3; Domain=${POD_HOST}`, 'd=4']);
  });

  it('reaches the pod as HTTP/1.1, and its response comes back without connection fields', async () => {
    let seen: IncomingMessage | null = null;
    handle = (request, response) => {
      seen = request;
      response.writeHead(201, { 'X-Own': 'kept', Connection: 'X-Hop', 'X-Hop': '1', 'Set-Cookie': ['a=1', 'b=2'] });
      response.end('hello');
    };
    const session = await gateway.connectHttp2();
    const reply = await exchange(session, {
      ':authority': POD_HOST,
      ':path': '/where?a=%20b',
      'x-mine': ['1', '2'],
      cookie: ['a=1', 'b=2'],
      te: 'trailers',
      'x-forwarded-for': '6.6.6.6',
      forwarded: 'for=6.6.6.6',
    });
    expect(reply).toMatchObject({ status: 201, rstCode: 0 });
    expect(String(reply.body)).toBe('hello');
    expect(reply.headers['x-own']).toBe('kept');
    expect(reply.headers['set-cookie']).toEqual(['a=1', 'b=2']);
    expect(Object.keys(reply.headers)).not.toContain('x-hop');
    expect(Object.keys(reply.headers)).not.toContain('connection');
    const request = seen as IncomingMessage | null;
    expect(request?.method).toBe('GET');
    expect(request?.url).toBe('/where?a=%20b');
    expect(request?.headers).toMatchObject({
      host: POD_HOST,
      'x-mine': '1, 2',
      cookie: 'a=1; b=2',
      'x-forwarded-for': '127.0.0.1',
      'x-forwarded-proto': 'https',
      'x-forwarded-host': POD_HOST,
    });
    expect(request?.headers['x-request-id']).toBeTruthy();
    for (const name of ['te', 'forwarded', 'transfer-encoding', 'content-length', 'upgrade']) {
      expect(request?.headers[name], name).toBeUndefined();
    }
    session.close();
  });

  it('streams its body to the pod and the response back, both with trailers, at the same time', async () => {
    handle = (request, response) => {
      response.writeHead(200, { Trailer: 'x-sum' });
      response.write('open;');
      request
        .on('data', (chunk: Buffer) => response.write(chunk))
        .on('end', () => {
          response.addTrailers({ 'X-Sum': String(request.trailers['x-note']) });
          response.end();
        });
    };
    const session = await gateway.connectHttp2();
    const stream = session.request({ ':method': 'POST', ':path': '/' }, { waitForTrailers: true });
    stream.on('wantTrailers', () => stream.sendTrailers({ 'x-note': 'behind' }));
    const whole = replyOf(stream);
    const chunks: string[] = [];
    stream.on('data', (chunk: Buffer) => chunks.push(String(chunk)));
    await until('the head and its first piece are here', () => chunks.join('') === 'open;');
    stream.write('one;');
    await until('the first piece came back', () => chunks.join('') === 'open;one;');
    stream.end('two;');
    const reply = await whole;
    expect(String(reply.body)).toBe('open;one;two;');
    expect(reply.trailers).toMatchObject({ 'x-sum': 'behind' });
    expect(reply.rstCode).toBe(0);
    session.close();
  });

  it.each([
    ['a length', { 'content-length': '5' }, 'hello'],
    ['no length', {}, 'hello'],
    ['nothing in it', { 'content-length': '0' }, ''],
  ])('has a body with %s', async (_what, fields, body) => {
    handle = (request, response) => {
      const chunks: Buffer[] = [];
      request.on('data', (chunk: Buffer) => chunks.push(chunk));
      request.on('end', () =>
        response.end(`${request.headers['content-length'] ?? 'chunks'} ${String(Buffer.concat(chunks))}`),
      );
    };
    const session = await gateway.connectHttp2();
    const reply = await exchange(session, { ':method': 'PUT', ...fields }, body);
    expect(String(reply.body)).toBe(`${'content-length' in fields ? fields['content-length'] : 'chunks'} ${body}`);
    const none = await exchange(session, { ':method': 'POST' });
    expect(String(none.body)).toBe('0 ');
    session.close();
  });

  it('may be a HEAD, or get a response without a body', async () => {
    handle = (request, response) => {
      response.writeHead(Number(request.url?.slice(1)), { 'Content-Length': request.method === 'HEAD' ? 1000 : 0 });
      response.end();
    };
    const session = await gateway.connectHttp2();
    const head = await exchange(session, { ':method': 'HEAD', ':path': '/200' });
    expect(head).toMatchObject({ status: 200, rstCode: 0 });
    expect(head.headers['content-length']).toBe('1000');
    for (const status of [204, 205, 304]) {
      const reply = await exchange(session, { ':path': `/${status}` });
      expect(reply).toMatchObject({ status, rstCode: 0 });
      expect(reply.body).toHaveLength(0);
    }
    session.close();
  });

  it('gets 100 (Continue) and 103 (Early Hints) as they arrive', async () => {
    handle = (request, response) => {
      response.writeEarlyHints({ link: '</a.css>; rel=preload' });
      response.writeContinue();
      request.resume().on('end', () => response.end('done'));
    };
    const session = await gateway.connectHttp2();
    const stream = session.request({ ':method': 'POST', expect: '100-continue' });
    stream.once('continue', () => stream.end('body'));
    const reply = await replyOf(stream);
    expect(reply.interim.map((fields) => fields[':status'])).toEqual(expect.arrayContaining([103]));
    expect(reply.interim[0]?.['link']).toContain('a.css');
    expect(String(reply.body)).toBe('done');
    session.close();
  });

  it('that its client cancels is cancelled at the pod', async () => {
    let isGone = false;
    handle = (request, response) => {
      request.once('close', () => (isGone = true));
      response.write('some');
    };
    const session = await gateway.connectHttp2();
    const stream = session.request({ ':method': 'POST' });
    stream.on('error', () => undefined).write('part');
    await once(stream, 'data');
    stream.close(8);
    await until('the pod has lost its client', () => isGone);
    await until('its place is free', () => gateway.protocol.activeRequests() === 0);
    session.close();
  });

  it('whose response is aborted ends with a reset, never like a complete one', async () => {
    handle = (request, response) => {
      if (request.url === '/length') response.writeHead(200, { 'Content-Length': '100' });
      response.write('some');
      setTimeout(() => response.destroy(), 50);
    };
    const session = await gateway.connectHttp2();
    for (const path of ['/length', '/chunks']) {
      const stream = session.request({ ':path': path });
      let hasEnded = false;
      stream.once('end', () => (hasEnded = true));
      const reply = await replyOf(stream);
      expect(reply).toMatchObject({ status: 200, rstCode: 2 });
      expect(hasEnded).toBe(false);
    }
    session.close();
  });

  it('that gets its response before its body is complete gets it whole, and no more of the body is read', async () => {
    handle = (_request, response) => response.writeHead(413).end('too much');
    const session = await gateway.connectHttp2();
    const stream = session.request({ ':method': 'POST' });
    stream.on('error', () => undefined);
    const writing = setInterval(() => !stream.destroyed && stream.write(Buffer.alloc(10_000)), 5);
    const reply = await replyOf(stream);
    clearInterval(writing);
    expect(reply).toMatchObject({ status: 413, rstCode: 0 });
    expect(String(reply.body)).toBe('too much');
    expect(session.destroyed).toBe(false);
    session.close();
  });

  it('that gets an early response gets all of it, however slowly its client reads', async () => {
    const size = 3 * 1024 * 1024;
    handle = (_request, response) => response.writeHead(413).end(Buffer.alloc(size));
    const session = await gateway.connectHttp2();
    const stream = session.request({ ':method': 'POST' });
    stream.on('error', () => undefined);
    const writing = setInterval(() => !stream.destroyed && stream.write(Buffer.alloc(10_000)), 5);
    await once(stream, 'response');
    await new Promise((resolve) => setTimeout(resolve, 700));
    const reply = await replyOf(stream);
    clearInterval(writing);
    expect([reply.body.length, reply.rstCode]).toEqual([size, 0]);
    session.close();
  });

  it('waits for a slow reader and a slow pod, with limited buffers', async () => {
    const size = 64 * 1024 * 1024;
    let sent = 0;
    handle = (request, response) => {
      if (request.method === 'POST') {
        // Reads nothing of it for now.
        setTimeout(() => request.resume().on('end', () => response.end(String(sent))), 400);
        return;
      }
      const piece = Buffer.alloc(64 * 1024);
      const fill = (): void => {
        while (sent < size) {
          sent += piece.length;
          if (!response.write(piece)) {
            response.once('drain', fill);
            return;
          }
        }
        response.end();
      };
      fill();
    };
    const session = await gateway.connectHttp2();
    const download = session.request({ ':path': '/' });
    await once(download, 'response');
    const slow = new Promise((resolve) => setTimeout(resolve, 400));
    await slow;
    expect(sent).toBeLessThan(16 * 1024 * 1024);
    let received = 0;
    download.on('data', (chunk: Buffer) => (received += chunk.length));
    await once(download, 'end');
    expect(received).toBe(size);

    const upload = session.request({ ':method': 'POST' });
    let taken = 0;
    const chunk = Buffer.alloc(64 * 1024);
    const push = (): void => {
      while (taken < size) {
        taken += chunk.length;
        if (!upload.write(chunk)) {
          upload.once('drain', push);
          return;
        }
      }
      upload.end();
    };
    push();
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect(taken).toBeLessThan(16 * 1024 * 1024);
    const reply = await replyOf(upload);
    expect(reply.status).toBe(200);
    session.close();
  });
});
