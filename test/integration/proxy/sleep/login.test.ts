import { randomBytes } from 'node:crypto';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { LoginSeals, type RouteLogin } from '../../../../core/pod-login.ts';
import type { Route } from '../../../../core/route.ts';
import { TokenLogins } from '../../../../proxy/policy/token-logins.ts';
import { PodLogins } from '../../../../proxy/protocols/http/exchange/pod-logins.ts';
import { until } from '../../../support/until.ts';
import { exchange } from '../http2/http2-client.ts';
import { HttpGateway, POD_HOST, startBackend } from '../http/http-gateway.ts';
import { systemClock } from '../support/gateway-fixture.ts';

const SLEEP = { holdMs: 20_000, probePaths: ['/public/healthz', '/healthz'] };
const LOGIN: RouteLogin = { users: ['alice'], excludedPaths: ['/public'] };
const NAVIGATION = { accept: 'text/html', 'sec-fetch-mode': 'navigate' };
const key = randomBytes(48).toString('base64');
const seals = new LoginSeals(() => [key]);

let gateway: HttpGateway;
let backend: Awaited<ReturnType<typeof startBackend>>;
let requests: string[];

beforeEach(async () => {
  requests = [];
  gateway = await HttpGateway.start();
  const tokens: TokenLogins = new TokenLogins({
    ask: (id, _host, token) => {
      const user = token === 'good' ? 'alice' : 'bob';
      setImmediate(() => tokens.answered(id, { kind: 'user', user, expiresAtMs: Date.now() + 60_000 }));
      return true;
    },
    limited: () => undefined,
    clock: systemClock,
  });
  gateway.login = new PodLogins({ seals, tokens, publicHttpsPort: 8443, clock: systemClock }).policy;
  backend = await startBackend((request, response) => {
    requests.push(`${request.method ?? ''} ${request.url ?? ''}`);
    response.end('pod');
  });
  sleeps();
});
afterEach(async () => {
  await gateway.close();
  await backend.close();
});

const sleeps = (change: Partial<Route> = {}): void =>
  gateway.route(null, { status: 'ASLEEP', sleep: SLEEP, login: LOGIN, ...change });
const wakes = (): void => gateway.route(backend.port, { sleep: SLEEP, login: LOGIN });
const cookieOf = (user: string): string =>
  `__Host-podgate-login=${seals.seal('session', { host: POD_HOST, uid: 'uid-1', user, expiresAtMs: Date.now() + 60_000 }) ?? ''}`;
const ask = (headers: Record<string, string> = {}, path = '/data') => gateway.request({ path, headers });

it('a pod with a login is not woken by clients that are not admitted, in either version of HTTP', async () => {
  expect((await ask(NAVIGATION)).status).toBe(302);
  expect((await ask()).status).toBe(401);
  expect((await ask({ ...NAVIGATION, cookie: cookieOf('bob') })).status).toBe(403);
  expect((await ask({ 'x-tapis-token': 'of bob' })).status).toBe(403);
  expect((await ask({ cookie: '__Host-podgate-login=made.up' })).status).toBe(401);
  // What the gateway itself serves of a login.
  expect((await ask(NAVIGATION, '/.podgate/login?ticket=made.up')).status).toBe(400);
  expect((await ask({ cookie: cookieOf('alice') }, '/.podgate/logout')).status).toBe(200);
  const session = await gateway.connectHttp2();
  const request = { ':authority': POD_HOST, ':path': '/data' };
  expect((await exchange(session, { ...request, ...NAVIGATION })).status).toBe(302);
  expect((await exchange(session, request)).status).toBe(401);
  // A monitor has to log in as well, unless its path is excluded.
  expect((await ask({}, '/healthz')).status).toBe(401);
  expect(await ask({}, '/public/healthz')).toMatchObject({ status: 200, body: 'asleep\n' });
  session.close();
  expect(gateway.wakes).toEqual([]);
  expect(gateway.counters.heldNow).toBe(0);
});

it('its users wake it: a browser by a page that reloads itself, a program by a request that waits', async () => {
  const page = await ask({ ...NAVIGATION, cookie: cookieOf('alice') }, '/notebook?a=1');
  expect(page).toMatchObject({ status: 503, body: expect.stringContaining('is waking up') as string });
  expect(gateway.wakes).toEqual([POD_HOST]);
  const waiting = [ask({ 'x-tapis-token': 'good' }, '/one'), ask({ cookie: cookieOf('alice') }, '/two')];
  await until('they wait', () => gateway.counters.heldNow === 2);
  wakes();
  expect((await Promise.all(waiting)).map(({ body }) => body)).toEqual(['pod', 'pod']);
  expect((await ask({ ...NAVIGATION, cookie: cookieOf('alice') }, '/notebook?a=1')).body).toBe('pod');
  expect(requests.sort()).toEqual(['GET /notebook?a=1', 'GET /one', 'GET /two']);
});

it('a user who loses access while waiting is refused when the pod is awake', async () => {
  const waiting = ask({ cookie: cookieOf('alice') });
  await until('it waits', () => gateway.counters.heldNow === 1);
  gateway.route(backend.port, { sleep: SLEEP, login: { ...LOGIN, users: ['bob'] } });
  expect((await waiting).status).toBe(403);
  expect(requests).toEqual([]);
});

it('a path without a login is served while the pod is awake, and neither wakes it nor keeps it awake', async () => {
  for (const headers of [{}, NAVIGATION, { cookie: cookieOf('alice') }]) {
    expect(await ask(headers, '/public/x')).toMatchObject({ status: 503, headers: { 'retry-after': '30' } });
  }
  expect(gateway.wakes).toEqual([]);
  wakes();
  let used = 0;
  backend.server.prependListener('request', () => {
    used = Object.keys(gateway.uses.of('uid-1').because).length;
  });
  expect((await ask({}, '/public/x')).body).toBe('pod');
  expect(used).toBe(0);
  expect((await ask({ cookie: cookieOf('alice') }, '/x')).body).toBe('pod');
  expect(used).toBe(1);
  // It falls asleep between the verdict and the dial.
  gateway.onAcquire = (count) => {
    sleeps({ status: 'RUNNING' });
    count();
  };
  expect((await ask({}, '/public/x')).status).toBe(502);
  expect(gateway.wakes).toEqual([]);
});
