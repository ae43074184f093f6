import { execFile } from 'node:child_process';
import http from 'node:http';
import net from 'node:net';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { until } from '../../../support/until.ts';
import { HttpGateway, POD_HOST, listen, readToEnd, readUntil, startBackend } from './http-gateway.ts';

const run = promisify(execFile);

let gateway: HttpGateway;
let pod: Awaited<ReturnType<typeof startBackend>>;
/** Method, target and body of everything that reached the pod. */
let reached: string[];

beforeEach(async () => {
  gateway = await HttpGateway.start({ headersTimeoutMs: 1_000, keepAliveTimeoutMs: 500, dialRetryMs: 3_000 });
  reached = [];
  pod = await startBackend((request, response) => {
    let body = '';
    request.on('data', (chunk: Buffer) => (body += chunk.toString('latin1')));
    request.on('end', () => {
      reached.push(`${request.method ?? ''} ${request.url ?? ''} ${body}`);
      response.end('pod');
    });
  });
  gateway.route(pod.port);
});

afterEach(async () => {
  await gateway.close();
  await pod.close();
});

/** Sends bytes on a connection for the pod and gives everything that comes back until it ends. */
async function exchange(bytes: string, serverName = POD_HOST): Promise<string> {
  const socket = await gateway.connect(serverName);
  const answer = readToEnd(socket);
  socket.write(bytes, 'latin1');
  return answer;
}

describe('what a refused client sees', () => {
  const HTML = { accept: 'text/html,application/xhtml+xml,*/*;q=0.8' };

  it('is a 404 page for an unknown name', async () => {
    const serverName = 'nobody.pods.localhost';
    const answer = await gateway.request({ serverName, headers: { host: serverName } });
    expect(answer.status).toBe(404);
    expect(answer.headers['cache-control']).toBe('no-store');
    expect(JSON.parse(answer.body)).toMatchObject({
      status: 404,
      code: 'route.unknown',
      message: 'No pod has the host name nobody.pods.localhost.',
    });
  });

  it.each(['STOPPED', 'ERROR', 'COMPLETE', 'SHUTTING_DOWN'] as const)('is a 503 page naming %s', async (status) => {
    gateway.route(null, { status });
    const answer = await gateway.request({ headers: HTML });
    expect(answer.status).toBe(503);
    expect(answer.headers['content-type']).toBe('text/html; charset=utf-8');
    expect(answer.headers['retry-after']).toBe('30');
    expect(answer.body).toContain(`its status is ${status}`);
    expect(answer.body).not.toContain('http-equiv="refresh"');
    expect(answer.body).toContain(answer.headers['x-request-id']);
  });

  it.each(['REQUESTED', 'SPAWNER_SETUP', 'CREATING_CONTAINER'] as const)(
    'is a page that reloads itself during %s',
    async (status) => {
      gateway.route(null, { status });
      const answer = await gateway.request({ headers: HTML });
      expect([answer.status, answer.headers['retry-after']]).toEqual([503, '2']);
      expect(answer.body).toContain('<meta http-equiv="refresh" content="2">');
    },
  );

  it('is 403 for an address that is not allowed, 503 for a pod at its limit, 502 when the feed is stale', async () => {
    gateway.route(pod.port, { ipAllowList: ['192.0.2.1'] });
    expect((await gateway.request()).status).toBe(403);
    gateway.route(pod.port);
    gateway.full.add('uid-1');
    const full = await gateway.request();
    expect([full.status, full.headers['retry-after']]).toEqual([503, '5']);
    gateway.full.clear();
    gateway.stale = true;
    expect((await gateway.request()).status).toBe(502);
    expect(reached).toEqual([]);
    expect([...gateway.held.values()].every((count) => count === 0)).toBe(true);
  });

  it('is 421 when the Host is another pod than that of the connection, in any case, with any port or dot', async () => {
    const other = await gateway.request({ headers: { host: 'other.pods.localhost' } });
    expect([other.status, other.headers.connection]).toEqual([421, 'close']);
    for (const host of [`${POD_HOST}:8443`, POD_HOST.toUpperCase(), `${POD_HOST}.`, `${POD_HOST}.:8443`]) {
      expect((await gateway.request({ headers: { host } })).body).toBe('pod');
    }
    expect(reached).toHaveLength(4);
  });

  it('is 421 on a kept connection to a stanza that is no longer HTTP', async () => {
    gateway.route(pod.port, { protocol: 'tcp' });
    expect((await gateway.request()).status).toBe(421);
  });

  it('is a 404 that explains a missing server name', async () => {
    const answer = await gateway.request({ serverName: '' });
    expect(answer.status).toBe(404);
    expect(answer.body).toContain('No server name was given.');
  });

  it('is the same page for an upgrade', async () => {
    gateway.route(null, { status: 'STOPPED' });
    const upgrade = `Host: ${POD_HOST}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n`;
    expect(await exchange(`GET / HTTP/1.1\r\n${upgrade}\r\n`)).toMatch(/^HTTP\/1\.1 503 .*its status is STOPPED/s);
    await until('nothing is under way', () => gateway.protocol.activeRequests() === 0);
  });
});

describe('a pod that does not respond', () => {
  it('gets a moment if it refuses just after it became ready, with or without a body', async () => {
    const sleeper = net.createServer();
    const port = await listen(sleeper);
    await new Promise((resolve) => sleeper.close(resolve));
    gateway.route(port, { uid: 'uid-late' });
    const answers = [gateway.request(), gateway.request({ method: 'POST', body: 'kept whole' })];
    const late = http.createServer((request, response) => {
      request.pipe(response.writeHead(200));
    });
    const timer = setTimeout(() => late.listen(port, '127.0.0.1'), 400);
    expect((await Promise.all(answers)).map(({ status, body }) => [status, body])).toEqual([
      [200, ''],
      [200, 'kept whole'],
    ]);
    clearTimeout(timer);
    late.closeAllConnections();
    await new Promise((resolve) => late.close(resolve));
  });

  it('is 502 after that, or at once when it has been ready for longer, and nothing is left open', async () => {
    const gone = net.createServer();
    const port = await listen(gone);
    await new Promise((resolve) => gone.close(resolve));
    gateway.route(port, { uid: 'uid-gone' });
    const first = await gateway.request();
    expect([first.status, JSON.parse(first.body)]).toMatchObject([502, { code: 'route.unreachable' }]);
    const start = performance.now();
    expect((await gateway.request()).status).toBe(502);
    expect(performance.now() - start).toBeLessThan(1_000);
    const socket = await gateway.connect();
    socket.write(`GET / HTTP/1.1\r\nHost: ${POD_HOST}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n`);
    expect(await readToEnd(socket)).toMatch(/^HTTP\/1\.1 502 /);
    await until('nothing is counted', () => gateway.held.get('uid-gone') === 0);
  });

  it('is 502 when it does not speak HTTP, or only ambiguously', async () => {
    const answers = [
      'SSH-2.0-OpenSSH\r\n',
      'HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
      'HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!',
    ];
    for (const [index, answer] of answers.entries()) {
      const odd = net.createServer((socket) => {
        socket.on('error', () => undefined);
        socket.once('data', () => socket.end(answer));
      });
      gateway.route(await listen(odd), { uid: `uid-odd-${index}` });
      expect((await gateway.request({ method: 'POST', body: 'x' })).status).toBe(502);
      await new Promise((resolve) => odd.close(resolve));
    }
  });
});

describe('the base host', () => {
  it('is served by the API, never its metrics, in any spelling', async () => {
    const seen: string[] = [];
    const api = http.createServer((request, response) => {
      seen.push(request.url ?? '');
      response.end(`api for ${String(request.headers['x-forwarded-for'])}`);
    });
    await new Promise<void>((resolve) => api.listen(gateway.apiSocketPath, resolve));
    const get = (path: string) =>
      gateway.request({ serverName: 'localhost', path, headers: { host: 'localhost:8443' } });
    expect((await get('/v3/pods?a=b')).body).toBe('api for 127.0.0.1');
    for (const path of [
      '/metrics',
      '/metrics/',
      '//metrics',
      '/%6detrics?x',
      '/a/../metrics',
      '/v3/METRICS',
      '/.;/metrics;x',
    ]) {
      const answer = await get(path);
      expect([path, answer.status]).toEqual([path, 404]);
      expect(JSON.parse(answer.body)).toMatchObject({ status: 'error', result: null });
    }
    expect(seen).toEqual(['/v3/pods?a=b']);
    api.closeAllConnections();
    await new Promise((resolve) => api.close(resolve));
  });

  it('uses the API\u2019s envelope when the API accepts a request and never responds', async () => {
    const impatient = await HttpGateway.start({ apiAnswerMs: 100 });
    const api = http.createServer(() => undefined);
    try {
      await new Promise<void>((resolve) => api.listen(impatient.apiSocketPath, resolve));
      const { status, body } = await impatient.request({ serverName: 'localhost', headers: { host: 'localhost' } });
      expect(status).toBe(503);
      expect(JSON.parse(body)).toMatchObject({ status: 'error', result: null });
    } finally {
      await impatient.close();
      api.closeAllConnections();
      await new Promise((resolve) => api.close(resolve));
    }
  });

  it('uses the API\u2019s envelope while the API is away, and serves again when it is back', async () => {
    const get = () => gateway.request({ serverName: 'localhost', headers: { host: 'localhost', accept: 'text/html' } });
    const away = await get();
    expect([away.status, away.headers['retry-after']]).toEqual([503, '1']);
    expect(JSON.parse(away.body)).toMatchObject({ result: null, status: 'error', version: null });
    const api = http.createServer((_request, response) => response.end('back'));
    await new Promise<void>((resolve) => api.listen(gateway.apiSocketPath, resolve));
    expect((await get()).body).toBe('back');
    api.closeAllConnections();
    await new Promise((resolve) => api.close(resolve));
  });
});

describe('ambiguous or broken requests', () => {
  const host = `Host: ${POD_HOST}\r\n`;
  const smuggled = `GET /smuggled HTTP/1.1\r\n${host}\r\n`;
  const cases: readonly (readonly [string, string, RegExp])[] = [
    [
      'Content-Length beside Transfer-Encoding',
      `POST / HTTP/1.1\r\n${host}Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n${smuggled}`,
      /^HTTP\/1\.1 400 /,
    ],
    [
      'Transfer-Encoding beside Content-Length',
      `POST / HTTP/1.1\r\n${host}Transfer-Encoding: chunked\r\nContent-Length: 6\r\n\r\n0\r\n\r\n${smuggled}`,
      /^HTTP\/1\.1 400 /,
    ],
    [
      'two lengths',
      `POST / HTTP/1.1\r\n${host}Content-Length: 0\r\nContent-Length: ${smuggled.length}\r\n\r\n${smuggled}`,
      /^HTTP\/1\.1 400 /,
    ],
    [
      'a signed length',
      `POST / HTTP/1.1\r\n${host}Content-Length: +${smuggled.length}\r\n\r\n${smuggled}`,
      /^HTTP\/1\.1 400 /,
    ],
    [
      'a coding that hides chunked',
      `POST / HTTP/1.1\r\n${host}Transfer-Encoding: xchunked\r\n\r\n${smuggled}`,
      /^HTTP\/1\.1 400 /,
    ],
    [
      'chunked twice',
      `POST / HTTP/1.1\r\n${host}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n${smuggled}`,
      /^HTTP\/1\.1 400 /,
    ],
    [
      'chunked before another coding',
      `POST / HTTP/1.1\r\n${host}Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n${smuggled}`,
      /^HTTP\/1\.1 400 /,
    ],
    [
      'a coding that would get lost',
      `POST / HTTP/1.1\r\n${host}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n${smuggled}`,
      /^HTTP\/1\.1 400 /,
    ],
    [
      'chunked in HTTP/1.0',
      `POST / HTTP/1.0\r\n${host}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n${smuggled}`,
      /^HTTP\/1\.1 400 /,
    ],
    ['a space before the colon', `GET / HTTP/1.1\r\n${host}Content-Length : 5\r\n\r\nhello`, /^HTTP\/1\.1 400 /],
    ['a folded field', `GET / HTTP/1.1\r\n${host}X-A: b\r\n folded\r\n\r\n`, /^HTTP\/1\.1 400 /],
    ['bare line feeds', `GET / HTTP/1.1\nHost: ${POD_HOST}\n\n`, /^HTTP\/1\.1 400 /],
    ['a zero byte in a value', `GET / HTTP/1.1\r\n${host}X-A: b\0c\r\n\r\n`, /^HTTP\/1\.1 400 /],
    ['two Hosts', `GET / HTTP/1.1\r\n${host}Host: other.pods.localhost\r\n\r\n`, /^HTTP\/1\.1 400 /],
    ['the same Host twice', `GET / HTTP/1.1\r\n${host}${host}\r\n`, /^HTTP\/1\.1 400 /],
    ['no Host', 'GET / HTTP/1.1\r\n\r\n', /^HTTP\/1\.1 400 /],
    ['a Host that is none', `GET / HTTP/1.1\r\nHost: ${POD_HOST}@evil\r\n\r\n`, /^HTTP\/1\.1 400 /],
    ['another authority in the target', `GET https://evil.example/ HTTP/1.1\r\n${host}\r\n`, /^HTTP\/1\.1 400 /],
    ['user information in the target', `GET https://a@${POD_HOST}/ HTTP/1.1\r\n${host}\r\n`, /^HTTP\/1\.1 400 /],
    [
      'an upgrade with a body',
      `POST / HTTP/1.1\r\n${host}Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 4\r\n\r\nbody`,
      /^HTTP\/1\.1 400 /,
    ],
    [
      'an upgrade with a chunked body',
      `POST / HTTP/1.1\r\n${host}Connection: Upgrade\r\nUpgrade: websocket\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n${smuggled}`,
      /^HTTP\/1\.1 400 /,
    ],
    ['CONNECT', `CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example\r\n\r\n`, /^HTTP\/1\.1 405 /],
    ['TRACE', `TRACE / HTTP/1.1\r\n${host}Connection: close\r\n\r\n`, /^HTTP\/1\.1 405 /],
    ['a target that is no path', `GET * HTTP/1.1\r\n${host}Connection: close\r\n\r\n`, /^HTTP\/1\.1 400 /],
    ['HTTP/2 by prior knowledge', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', /^(HTTP\/1\.1 400 .*)?$/s],
    ['no HTTP at all', '\x16\x03\x01 hello', /^HTTP\/1\.1 400 /],
    ['a head that is too large', `GET / HTTP/1.1\r\n${host}X-A: ${'a'.repeat(40_000)}\r\n\r\n`, /^HTTP\/1\.1 431 /],
  ];
  it.each(cases)('%s gets a 4xx, ends the connection and never reaches the pod', async (_name, bytes, expected) => {
    expect(await exchange(bytes)).toMatch(expected);
    expect(reached).toEqual([]);
    await until('nothing is under way', () => gateway.protocol.activeRequests() === 0);
  });

  it('an absolute target with the same authority is treated like a path', async () => {
    const request = `GET https://${POD_HOST}/a?b HTTP/1.1\r\n${host}Connection: close\r\n\r\n`;
    expect(await exchange(request)).toMatch(/^HTTP\/1\.1 200 /);
    expect(reached).toEqual(['GET /a?b ']);
  });

  it.each([
    ['asks about the server as a whole', `OPTIONS * HTTP/1.1\r\n${host}`, 'OPTIONS * '],
    ['does so in absolute form', `OPTIONS https://${POD_HOST} HTTP/1.1\r\n${host}`, 'OPTIONS * '],
    ['is of a later minor version', `GET /v HTTP/1.2\r\n${host}`, 'GET /v '],
    ['has no port behind the colon', `GET /p HTTP/1.1\r\nHost: ${POD_HOST}:\r\n`, 'GET /p '],
    [
      'has padded chunks',
      `POST /c HTTP/1.1\r\n${host}Transfer-Encoding: chunked\r\n`,
      'POST /c hello',
      '0000000000000005 ; a=b\r\nhello\r\n0\r\n\r\n',
    ],
  ])('a request that %s reaches the pod', async (_name, head, expected, body = '') => {
    expect(await exchange(`${head}Connection: close\r\n\r\n${body}`)).toMatch(/^HTTP\/1\.1 200 /);
    expect(reached).toEqual([expected]);
  });

  it('HTTP/1.0 without Host is for the server name of the connection', async () => {
    expect(await exchange('GET /old HTTP/1.0\r\n\r\n')).toMatch(/^HTTP\/1\.1 200 .*pod$/s);
    expect(reached).toEqual(['GET /old ']);
  });

  it('a broken chunk within a body is a 400 with the reason, and the pod sees no whole request', async () => {
    const bytes = `POST / HTTP/1.1\r\n${host}Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nZZ\r\n${smuggled}`;
    expect(await exchange(bytes)).toMatch(/^HTTP\/1\.1 400 [^]*A chunk has no valid size line/);
    await until('nothing is under way', () => gateway.protocol.activeRequests() === 0);
    expect(reached).toEqual([]);
  });

  it('a field named in Connection cannot be the length: the body stays a body', async () => {
    const request = `POST / HTTP/1.1\r\n${host}Connection: close, Content-Length, Host\r\nContent-Length: ${smuggled.length}\r\n\r\n`;
    expect(await exchange(request + smuggled)).toMatch(/^HTTP\/1\.1 200 /);
    expect(reached).toEqual([`POST / ${smuggled}`]);
  });

  it('a refused request\u2019s body is not read as the next request', async () => {
    const socket = await gateway.connect();
    const text = readUntil(socket, '\r\n\r\npod');
    const misfit = `POST / HTTP/1.1\r\n${host}Content-Length: ${smuggled.length}\r\n\r\n${smuggled}`;
    gateway.table.apply([], [POD_HOST]);
    socket.write(misfit);
    await readUntil(socket, 'request_id');
    gateway.route(pod.port);
    socket.write(`GET /next HTTP/1.1\r\n${host}\r\n`);
    expect(await text).toMatch(/^HTTP\/1\.1 404 .*HTTP\/1\.1 200 OK/s);
    expect(reached).toEqual(['GET /next ']);
    socket.destroy();
  });

  it('pipelined requests get their responses in order', async () => {
    const get = (path: string, more = '') => `GET ${path} HTTP/1.1\r\n${host}${more}\r\n`;
    const text = await exchange(get('/1') + get('/2') + get('/3', 'Connection: close\r\n'));
    expect(text.match(/HTTP\/1\.1 200 OK/g)).toHaveLength(3);
    expect([...reached].sort()).toEqual(['GET /1 ', 'GET /2 ', 'GET /3 ']);
  });
});

describe('slow clients', () => {
  it('get 408 when their header section does not arrive in time', async () => {
    const socket = await gateway.connect();
    const text = readToEnd(socket);
    socket.write('GET / HTTP/1.1\r\n');
    const drip = setInterval(() => socket.write('X-A: b\r\n'), 200);
    expect(await text).toMatch(/^HTTP\/1\.1 408 /);
    clearInterval(drip);
    await until('the connection is gone', () => gateway.openConnections === 0);
  });

  it('are disconnected when they send nothing, before and between requests', async () => {
    const silent = await gateway.connect();
    const idle = await gateway.connect();
    idle.write(`GET / HTTP/1.1\r\nHost: ${POD_HOST}\r\n\r\n`);
    await Promise.all([readToEnd(silent), readToEnd(idle)]);
    await until('both connections are gone', () => gateway.openConnections === 0);
  });
});

describe('closing', () => {
  it('ends idle connections at once and lets requests in progress finish', async () => {
    const waiting: http.ServerResponse[] = [];
    const slow = await startBackend((_request, response) => {
      response.write('begun ');
      waiting.push(response);
    });
    gateway.route(slow.port, { uid: 'uid-slow' });
    const idle = await gateway.connect();
    idle.write(`GET /x HTTP/1.1\r\nHost: ${POD_HOST}\r\n\r\n`);
    const first = readUntil(idle, 'finished');
    (await until('the first is under way', () => waiting[0])).end('finished');
    await first;
    const idleEnded = readToEnd(idle);
    const busy = await gateway.connect();
    busy.write(`GET / HTTP/1.1\r\nHost: ${POD_HOST}\r\n\r\n`);
    await readUntil(busy, 'begun ');
    gateway.protocol.close();
    await idleEnded;
    expect(gateway.protocol.activeRequests()).toBe(1);
    const rest = readUntil(busy, 'finished');
    waiting[1]?.end('finished');
    expect(await rest).toContain('finished');
    await until('nothing is under way', () => gateway.protocol.activeRequests() === 0);
    busy.destroy();
    await slow.close();
  });
});

describe('curl', () => {
  it('gets the reason, with -f as an error', async () => {
    gateway.route(null, { status: 'STOPPED' });
    const curl = ['-sS', '--http1.1', '--cacert', gateway.caPath, '--resolve', `${POD_HOST}:${gateway.port}:127.0.0.1`];
    const url = `https://${POD_HOST}:${gateway.port}/`;
    expect((await run('curl', [...curl, url])).stdout).toContain('/v3/pods/hello/start');
    await expect(run('curl', ['-f', ...curl, url])).rejects.toMatchObject({ code: 22 });
  });
});
