import { execFile } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import type http from 'node:http';
import net from 'node:net';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { until } from '../../../support/until.ts';
import { HttpGateway, listen, POD_HOST, readToEnd, readUntil, startBackend } from './http-gateway.ts';

const run = promisify(execFile);
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

interface EchoedHead {
  readonly method: string;
  readonly url: string;
  readonly headers: Record<string, string | undefined>;
}

describe('a request to a pod', () => {
  it('arrives with its path, query, Host and our X-Forwarded fields, and curl gets the response', async () => {
    await serve(echoHead);
    const { stdout } = await run('curl', [
      '-sS',
      '--http1.1',
      '--cacert',
      gateway.caPath,
      '--resolve',
      `${POD_HOST}:${gateway.port}:127.0.0.1`,
      `https://${POD_HOST}:${gateway.port}/a%20b/c?d=e&f`,
    ]);
    const { method, url, headers } = JSON.parse(stdout) as EchoedHead;
    expect(method).toBe('GET');
    expect(url).toBe('/a%20b/c?d=e&f');
    expect(headers).toMatchObject({
      host: `${POD_HOST}:${gateway.port}`,
      'x-forwarded-for': '127.0.0.1',
      'x-forwarded-proto': 'https',
      'x-forwarded-host': `${POD_HOST}:${gateway.port}`,
      'x-forwarded-port': String(gateway.port),
    });
    expect(headers['x-request-id']).toMatch(/^[0-9a-f-]{36}$/);
  });

  it('never carries forwarding fields of the client, nor hop-by-hop fields', async () => {
    await serve(echoHead);
    const { body } = await gateway.request({
      headers: {
        connection: 'close, X-Secret-Hop',
        'x-secret-hop': 'gone',
        'x-forwarded-for': '6.6.6.6',
        x_forwarded_for: '6.6.6.6',
        'X-Forwarded-Server': 'evil',
        forwarded: 'for=6.6.6.6',
        'x-real-ip': '6.6.6.6',
        'x-request-id': 'chosen',
        te: 'trailers',
        'proxy-authorization': 'Basic x',
        proxy: 'http://evil',
        cookie: 'kept=1',
      },
    });
    expect(body).not.toContain('6.6.6.6');
    expect(body).not.toContain('evil');
    const { headers } = JSON.parse(body) as EchoedHead;
    expect(headers).not.toHaveProperty('x-secret-hop');
    expect(headers).not.toHaveProperty('te');
    expect(headers).not.toHaveProperty('proxy-authorization');
    expect(headers['x-forwarded-for']).toBe('127.0.0.1');
    expect(headers['x-request-id']).not.toBe('chosen');
    expect(headers['cookie']).toBe('kept=1');
  });

  it('gets the response as the pod sent it: status, reason, repeated fields, bytes; nothing added', async () => {
    const bytes = randomBytes(300_000);
    await serve((_request, response) => {
      response.writeHead(207, 'Many Things', ['Set-Cookie', 'a=1', 'Set-Cookie', 'b=2', 'X-Odd', 'caf\u00e9']);
      response.end(bytes);
    });
    const answer = await gateway.request();
    expect(answer.status).toBe(207);
    expect(answer.headers['set-cookie']).toEqual(['a=1', 'b=2']);
    expect(answer.headers['x-odd']).toBe('caf\u00e9');
    expect(answer.headers).not.toHaveProperty('x-frame-options');
    expect(Buffer.from(answer.body, 'latin1').equals(bytes)).toBe(true);
  });

  it('passes its whole body on, with a length, chunked, or with a method that rarely has one', async () => {
    await serve((request, response) => {
      const hash = createHash('sha256');
      let length = 0;
      request.on('data', (chunk: Buffer) => {
        hash.update(chunk);
        length += chunk.length;
      });
      request.on('end', () => response.end(`${request.method ?? ''} ${length} ${hash.digest('hex')}`));
    });
    const body = randomBytes(3_000_000);
    const digest = createHash('sha256').update(body).digest('hex');
    for (const method of ['POST', 'PUT', 'DELETE', 'GET']) {
      const sized = await gateway.request({ method, body, headers: { 'content-length': body.length } });
      expect(sized.body).toBe(`${method} ${body.length} ${digest}`);
      const chunked = await gateway.request({ method, body, headers: { 'transfer-encoding': 'chunked' } });
      expect(chunked.body).toBe(`${method} ${body.length} ${digest}`);
    }
    expect((await gateway.request({ method: 'POST', headers: { 'content-length': 0 } })).body).toContain('POST 0 ');
  });

  it('keeps HEAD without a body but with its length, 204 and 304 bare, and trailers after a chunked body', async () => {
    await serve((request, response) => {
      if (request.url === '/trailers') {
        response.writeHead(200, { trailer: 'X-Sum' });
        response.write('part');
        response.addTrailers({ 'X-Sum': '42' });
        response.end();
      } else if (request.method === 'HEAD') {
        response.writeHead(200, { 'content-length': 1234 });
        response.end();
      } else {
        response.writeHead(Number(request.url?.slice(1)));
        response.end();
      }
    });
    const head = await gateway.request({ method: 'HEAD' });
    expect([head.status, head.headers['content-length'], head.body]).toEqual([200, '1234', '']);
    expect((await gateway.request({ path: '/204' })).status).toBe(204);
    expect((await gateway.request({ path: '/304' })).status).toBe(304);
    expect((await gateway.request({ path: '/trailers' })).trailers).toEqual({ 'x-sum': '42' });
  });

  it('gets Early Hints before the response', async () => {
    await serve((_request, response) => {
      response.writeEarlyHints({ link: '</a.css>; rel=preload' });
      response.end('done');
    });
    const socket = await gateway.connect();
    socket.write(`GET / HTTP/1.1\r\nHost: ${POD_HOST}\r\nConnection: close\r\n\r\n`);
    const text = await readToEnd(socket);
    expect(text).toMatch(/^HTTP\/1\.1 103 Early Hints\r\nlink: <\/a\.css>; rel=preload\r\n\r\nHTTP\/1\.1 200 OK\r\n/i);
  });

  it('waits for 100 (Continue) from the pod itself, and gets a refusal without sending its body', async () => {
    let bytesSeen = 0;
    const { server } = await serve((_request, response) => response.end('unexpected'));
    server.on('checkContinue', (request: http.IncomingMessage, response: http.ServerResponse) => {
      if (request.url === '/no') {
        response.writeHead(413, { connection: 'close' });
        response.end('too much');
        return;
      }
      response.writeContinue();
      request.on('data', (chunk: Buffer) => (bytesSeen += chunk.length));
      request.on('end', () => response.end('thanks'));
    });
    const curl = (path: string) =>
      run('curl', [
        ...['-sS', '--http1.1', '--cacert', gateway.caPath, '--resolve', `${POD_HOST}:${gateway.port}:127.0.0.1`],
        ...['-H', 'Expect: 100-continue', '--expect100-timeout', '20', '--data-binary', 'x'.repeat(100_000)],
        ...['-w', '%{http_code}', `https://${POD_HOST}:${gateway.port}${path}`],
      ]);
    expect((await curl('/yes')).stdout).toBe('thanks200');
    expect(bytesSeen).toBe(100_000);
    expect((await curl('/no')).stdout).toBe('too much413');
    expect(bytesSeen).toBe(100_000);
  });
});

describe('streaming', () => {
  it('passes each server-sent event on when it is written', async () => {
    let stream: http.ServerResponse | undefined;
    await serve((_request, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.flushHeaders();
      stream = response;
    });
    const socket = await gateway.connect();
    socket.write(`GET /events HTTP/1.1\r\nHost: ${POD_HOST}\r\n\r\n`);
    await readUntil(socket, 'text/event-stream');
    for (const event of ['one', 'two', 'three']) {
      stream?.write(`data: ${event}\n\n`);
      await readUntil(socket, `data: ${event}`);
    }
    socket.destroy();
  });

  it('passes a body on while it is being sent', async () => {
    const seen: string[] = [];
    await serve((request, response) => {
      request.on('data', (chunk: Buffer) => {
        seen.push(chunk.toString());
        response.write(`got ${chunk.toString()};`);
      });
      request.on('end', () => response.end());
    });
    const socket = await gateway.connect();
    socket.write(`POST / HTTP/1.1\r\nHost: ${POD_HOST}\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n`);
    await readUntil(socket, 'got one;');
    socket.write('3\r\ntwo\r\n');
    await readUntil(socket, 'got two;');
    socket.write('0\r\n\r\n');
    await readUntil(socket, '0\r\n\r\n');
    expect(seen).toEqual(['one', 'two']);
    socket.destroy();
  });

  it('reads from the pod no faster than the client does, and the reverse', async () => {
    const total = 64 * 1024 * 1024;
    let sent = 0;
    await serve((request, response) => {
      if (request.method === 'POST') {
        request.pause();
        return;
      }
      const chunk = Buffer.alloc(64 * 1024);
      const more = (): void => {
        while (sent < total) {
          sent += chunk.length;
          if (!response.write(chunk)) {
            response.once('drain', more);
            return;
          }
        }
        response.end();
      };
      more();
    });
    const reader = await gateway.connect();
    reader.write(`GET / HTTP/1.1\r\nHost: ${POD_HOST}\r\n\r\n`);
    await readUntil(reader, '200 OK');
    reader.pause();
    await settled(() => sent);
    expect(sent).toBeLessThan(32 * 1024 * 1024);
    reader.destroy();

    const writer = await gateway.connect();
    writer.write(`POST / HTTP/1.1\r\nHost: ${POD_HOST}\r\nContent-Length: ${total}\r\n\r\n`);
    let written = 0;
    const chunk = Buffer.alloc(64 * 1024);
    const push = (): void => {
      while (written < total) {
        written += chunk.length;
        if (!writer.write(chunk)) {
          writer.once('drain', push);
          return;
        }
      }
    };
    push();
    await settled(() => written);
    expect(written).toBeLessThan(32 * 1024 * 1024);
    writer.destroy();
  });

  it('ends the request to the pod when the client disconnects', async () => {
    let aborted = 0;
    await serve((request, response) => {
      response.write('begun');
      request.socket.once('close', () => (aborted += 1));
    });
    const socket = await gateway.connect();
    socket.write(`GET / HTTP/1.1\r\nHost: ${POD_HOST}\r\n\r\n`);
    await readUntil(socket, 'begun');
    expect(gateway.protocol.activeRequests()).toBe(1);
    socket.destroy();
    await until('the pod sees the end', () => aborted === 1);
    await until('nothing is under way', () => gateway.protocol.activeRequests() === 0);
    expect(gateway.held.get('uid-1')).toBe(0);
  });

  it('resets the client when the pod aborts, instead of a regular end', async () => {
    await serve((_request, response) => {
      response.writeHead(200, { 'content-length': 100 });
      response.write('half', () => response.destroy());
    });
    await expect(gateway.request()).rejects.toThrow(/aborted|ECONNRESET|hang up/);
  });

  it('passes on a response that arrives before the body is complete, and does not hang', async () => {
    // A pod that goes on reading for a while, as it must: one that closes with unread bytes resets, and nobody sees its answer.
    await serve((request, response) => {
      response.writeHead(413, { 'content-type': 'text/plain' });
      response.end('too large');
      request.resume();
    });
    const body = Buffer.alloc(8 * 1024 * 1024);
    const answer = await gateway.request({ method: 'POST', body, headers: { 'content-length': body.length } });
    expect([answer.status, answer.body]).toEqual([413, 'too large']);
    await until('nothing is under way', () => gateway.protocol.activeRequests() === 0);
  });
});

describe('a pod whose address changes while it is dialed', () => {
  it('is dialed at the new address, with any method, because nothing was sent', async () => {
    const bodies: string[] = [];
    const backend = await serve((request, response) => {
      request.on('data', (chunk: Buffer) => bodies.push(chunk.toString()));
      request.on('end', () => response.end('moved along'));
    });
    const former = net.createServer((socket) => {
      socket.on('error', () => undefined);
      socket.on('data', (chunk: Buffer) => bodies.push(`former: ${chunk.toString()}`));
    });
    gateway.route(await listen(former));
    // What was fresh is not fresh any more: the route now leads to the pod's service, say.
    const { table } = gateway;
    let looks = 0;
    const get = table.get.bind(table);
    table.get = (host) => {
      looks += 1;
      // The verdict, the look for a kept connection and the dial see the former; who looks after the dial the present one.
      if (looks === 4) gateway.route(backend.port);
      return get(host);
    };
    const answer = await gateway.request({ method: 'POST', body: 'one' });
    expect(answer).toMatchObject({ status: 200, body: 'moved along' });
    expect(bodies).toEqual(['one']);
    former.close();
  });
});

describe('kept connections', () => {
  it('see each change of the pod\u2019s state without reconnecting', async () => {
    await serve((_request, response) => response.end('alive'));
    const socket = await gateway.connect();
    const get = (mark: string) => {
      const text = readUntil(socket, mark);
      socket.write(`GET / HTTP/1.1\r\nHost: ${POD_HOST}\r\n\r\n`);
      return text;
    };
    expect(await get('alive')).toContain('200 OK');
    gateway.route(null, { status: 'STOPPED' });
    expect(await get('request_id')).toContain('503 Service Unavailable');
    gateway.route(backends[0]?.port ?? 0);
    expect(await get('alive')).toContain('200 OK');
    gateway.table.apply([], [POD_HOST]);
    expect(await get('request_id')).toContain('404 Not Found');
    socket.destroy();
  });

  it('to a pod are reused, but never by the pod that gets the same address next', async () => {
    const connections = new Set<net.Socket>();
    const backend = await serve((request, response) => {
      connections.add(request.socket);
      response.end(String(connections.size));
    });
    for (let count = 0; count < 5; count += 1) expect((await gateway.request()).body).toBe('1');
    gateway.route(backend.port, { uid: 'uid-2' });
    expect((await gateway.request()).body).toBe('2');
  });

  it('that the pod has closed meanwhile do not fail a GET', async () => {
    let requests = 0;
    const backend = await serve((request, response) => {
      requests += 1;
      // The second request on a connection finds it closing, as with a server whose idle timeout has just passed.
      if (requests === 2) request.socket.destroy();
      else response.end(`request ${requests}`);
    });
    expect(backend.port).toBeGreaterThan(0);
    expect((await gateway.request()).body).toBe('request 1');
    expect((await gateway.request()).body).toBe('request 3');
  });

  it('are never retried for a POST', async () => {
    let requests = 0;
    await serve((request, response) => {
      requests += 1;
      if (requests === 2) request.socket.destroy();
      else response.end('fine');
    });
    expect((await gateway.request()).status).toBe(200);
    expect((await gateway.request({ method: 'POST', body: 'x' })).status).toBe(502);
    expect(requests).toBe(2);
  });
});

/** Waits until a figure has stopped growing. */
async function settled(figure: () => number): Promise<void> {
  let last = -1;
  await until(
    'it stops growing',
    () => {
      const now = figure();
      const same = now > 0 && now === last;
      last = now;
      return same;
    },
    { everyMs: 300 },
  );
}
