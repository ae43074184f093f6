import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { RequestPolicy } from '../../../../proxy/protocols/http/exchange/request-policy.ts';
import { problemOfCode } from '../../../../proxy/protocols/http/responses/problem.ts';
import { exchange } from '../http2/http2-client.ts';
import { answerOf, HttpGateway, POD_HOST, startBackend } from './http-gateway.ts';
import http from 'node:http';

/** As a login would do it: browsers are sent to its page, programs are told. */
const login: RequestPolicy = ({ head, request, requestId }) => {
  const fields = head.rawHeaders.map((text) => text.toLowerCase());
  if (fields.includes('session=good')) return null;
  if (!fields.includes('text/html')) return problemOfCode('route.forbidden', requestId, 'Log in.');
  const to = `https://localhost/login?to=${encodeURIComponent(`https://${request.host}${request.target}`)}`;
  const body = Buffer.from(`Continue at ${to}`);
  const headers = ['Location', to, 'Set-Cookie', 'state=1', 'Set-Cookie', 'nonce=2', 'Content-Type', 'text/plain'];
  return { kind: 'whole', status: 302, code: null, requestId, headers, body };
};

const PAGE = 'https://localhost/login?to=https%3A%2F%2Fhello.pods.localhost%2Fa%3Fb%3D1';
let gateway: HttpGateway;
let pod: Awaited<ReturnType<typeof startBackend>>;
let reached: string[];

beforeEach(async () => {
  gateway = await HttpGateway.start({ dialRetryMs: 0 });
  gateway.policies.push(login);
  reached = [];
  pod = await startBackend((request, response) => {
    reached.push(request.url ?? '');
    response.end('pod');
  });
  gateway.route(pod.port);
});
afterEach(async () => {
  await pod.close();
  await gateway.close();
});

describe('a policy that responds in the pod’s place', () => {
  it('redirects a client of HTTP/1.1, whose connection goes on', async () => {
    const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
    const socket = await gateway.connect();
    agent.createConnection = () => socket;
    const ask = (headers: Record<string, string>, method = 'GET') =>
      answerOf(http.request({ agent, method, path: '/a?b=1', headers: { host: POD_HOST, ...headers } }).end());
    const redirect = await ask({ accept: 'text/html' });
    expect([redirect.status, redirect.body, redirect.headers.location]).toEqual([302, `Continue at ${PAGE}`, PAGE]);
    expect(redirect.headers['set-cookie']).toEqual(['state=1', 'nonce=2']);
    expect(redirect.headers['x-request-id']).not.toBe('');
    const head = await ask({ accept: 'text/html' }, 'HEAD');
    expect([head.status, head.body, head.headers.location]).toEqual([302, '', PAGE]);
    expect(reached).toEqual([]);
    expect((await ask({ cookie: 'session=good' })).body).toBe('pod');
    expect(reached).toEqual(['/a?b=1']);
    expect(gateway.openConnections).toBe(1);
    agent.destroy();
  });

  it('redirects a client of HTTP/2, and tells one of gRPC by a status of gRPC', async () => {
    const session = await gateway.connectHttp2();
    const headers = { ':authority': POD_HOST, ':path': '/a?b=1' };
    const redirect = await exchange(session, { ...headers, accept: 'text/html' });
    expect([redirect.status, redirect.body.toString()]).toEqual([302, `Continue at ${PAGE}`]);
    expect(redirect.headers.location).toBe(PAGE);
    expect(redirect.headers['set-cookie']).toEqual(['state=1', 'nonce=2']);
    const call = await exchange(session, { ...headers, ':method': 'POST', 'content-type': 'application/grpc' }, 'x');
    expect([call.headers['grpc-status'], reached]).toEqual(['7', []]);
    expect((await exchange(session, { ...headers, cookie: 'session=good' })).body.toString()).toBe('pod');
    session.close();
  });

  it('is asked after the address list, and before anything is said of the pod’s state', async () => {
    gateway.route(null, { status: 'STOPPED' });
    expect((await gateway.request({ headers: { accept: 'text/html' } })).status).toBe(302);
    expect((await gateway.request()).status).toBe(403);
    gateway.route(pod.port, { ipAllowList: ['192.0.2.1'] });
    expect((await gateway.request({ headers: { accept: 'text/html' } })).status).toBe(403);
  });
});
