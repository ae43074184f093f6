import http from 'node:http';
import net from 'node:net';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { createRedirectServer } from '../../../../proxy/protocols/http/redirect.ts';
import { createCounters } from '../../../../proxy/telemetry/counters.ts';
import { createTelemetry } from '../../../../proxy/telemetry/telemetry.ts';
import { RouteTable } from '../../../../proxy/routes/route-table.ts';
import { systemClock } from '../support/gateway-fixture.ts';
import { silentLog } from '../../../support/silent-log.ts';
import { answerOf, listen, readToEnd } from './http-gateway.ts';

const HOST = 'hello.pods.localhost';
const challenges = new Map([['token-1', 'token-1.thumbprint']]);
let server: http.Server;
let port: number;

async function start(publicHttpsPort: number): Promise<void> {
  const table = new RouteTable();
  const pod = { tenant: 'default', podId: 'hello', uid: 'uid-1', stanza: 'default', ipAllowList: [] };
  table.apply([{ host: HOST, protocol: 'http', status: 'STOPPED', backend: null, ...pod }], []);
  const baseHosts = () => new Set(['localhost']);
  server = createRedirectServer({
    table,
    baseHosts,
    challengeAnswer: (token) => challenges.get(token),
    publicHttpsPort,
    infoOf: () => null,
    telemetry: createTelemetry({ worker: 1, counters: createCounters(), clock: systemClock, accessLog: null }),
    log: silentLog,
  });
  port = await listen(server);
}

beforeEach(() => start(8443));
afterEach(async () => {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});

function get(host: string, path = '/', method = 'GET') {
  const request = http.request({ port, host: '127.0.0.1', path, method, headers: { host } });
  request.end();
  return answerOf(request);
}

async function raw(bytes: string): Promise<string> {
  const socket = net.connect(port, '127.0.0.1');
  const text = readToEnd(socket);
  socket.write(bytes);
  return text;
}

it('known names are redirected to https with the same path, query and method', async () => {
  for (const host of [HOST, `${HOST}:8080`, HOST.toUpperCase(), `${HOST}.`]) {
    const { status, headers } = await get(host, '/a%20b?c=d&e=%2F', 'POST');
    expect([status, headers.location]).toEqual([308, `https://${HOST}:8443/a%20b?c=d&e=%2F`]);
  }
  expect((await get('localhost')).headers.location).toBe('https://localhost:8443/');
});

it('the default port is omitted', async () => {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
  await start(443);
  expect((await get(HOST)).headers.location).toBe(`https://${HOST}/`);
});

it('unknown names are not redirected', async () => {
  for (const host of ['evil.example', `${HOST}.evil.example`, '127.0.0.1', `evil.${HOST}`]) {
    const { status, headers } = await get(host);
    expect([host, status, headers.location]).toEqual([host, 404, undefined]);
  }
  const slashes = await get(HOST, '//evil.example/%2e%2e');
  expect(slashes.headers.location).toBe(`https://${HOST}:8443//evil.example/%2e%2e`);
});

it.each([
  ['no Host', 'GET / HTTP/1.1\r\n\r\n'],
  ['two Hosts', `GET / HTTP/1.1\r\nHost: ${HOST}\r\nHost: localhost\r\n\r\n`],
  ['a Host that is none', `GET / HTTP/1.1\r\nHost: ${HOST}@evil.example\r\n\r\n`],
  ['a target elsewhere', `GET http://evil.example/ HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`],
  ['a broken field', `GET / HTTP/1.1\r\nHost: ${HOST}\r\nX-A: b\rLocation: x\r\n\r\n`],
])('%s returns 400 and closes the connection', async (_name, bytes) => {
  const text = await raw(bytes);
  expect(text).toMatch(/^HTTP\/1\.1 400 /);
  expect(text).not.toMatch(/location:/i);
});

it('responds to an ACME server for a current token under any name, and redirects all others', async () => {
  const answer = await get('nobody.test', '/.well-known/acme-challenge/token-1');
  expect(answer.status).toBe(200);
  expect(answer.body).toBe('token-1.thumbprint');
  expect((await get(HOST, '/.well-known/acme-challenge/token-2')).status).toBe(308);
  expect((await get('nobody.test', '/.well-known/acme-challenge/token-2')).status).toBe(404);
  expect((await get('nobody.test', '/.well-known/acme-challenge/token-1', 'POST')).status).toBe(404);
});
