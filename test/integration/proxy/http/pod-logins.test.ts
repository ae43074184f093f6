import { createHash, randomBytes } from 'node:crypto';
import http from 'node:http';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { LoginAnswer } from '../../../../core/feed-protocol.ts';
import { LoginSeals, type RouteLogin } from '../../../../core/pod-login.ts';
import type { Route } from '../../../../core/route.ts';
import { TokenLogins } from '../../../../proxy/policy/token-logins.ts';
import { PodLogins } from '../../../../proxy/protocols/http/exchange/pod-logins.ts';
import { EXCLUDED, NOT_EXCLUDED } from '../../../support/excluded-paths.ts';
import { until } from '../../../support/until.ts';
import { systemClock } from '../support/gateway-fixture.ts';
import { exchange } from '../http2/http2-client.ts';
import { type Answer, answerOf, HttpGateway, POD_HOST, readUntil, startBackend } from './http-gateway.ts';

const UID = 'uid-1';
const URL_OF_POD = `https://${POD_HOST}:8443`;
const SESSION = '__Host-podgate-login';
const START = '__Host-podgate-login-start';
const LOGIN: RouteLogin = {
  users: ['alice', 'zoë'],
  headers: { 'x-user': '<<tapisusername>>@example.org', oauth2_name: '<<tapisusername>>' },
};
const seals = new LoginSeals(() => [KEY]);
const KEY = randomBytes(48).toString('base64');

let gateway: HttpGateway;
let pod: Awaited<ReturnType<typeof startBackend>>;
let reached: http.IncomingMessage[];
let asked: string[];
let upgraded: { destroy(): void }[];
let answers: Record<string, LoginAnswer>;

beforeEach(async () => {
  gateway = await HttpGateway.start({ dialRetryMs: 0 });
  asked = [];
  upgraded = [];
  answers = { good: { kind: 'user', user: 'alice', expiresAtMs: Date.now() + 3_600_000 } };
  const tokens = new TokenLogins({
    ask: (id, host, token) => {
      asked.push(`${host} ${token}`);
      const answer = answers[token];
      if (answer === undefined) return false;
      setImmediate(() => tokens.answered(id, answer));
      return true;
    },
    limited: (limit) => gateway.counters.limited[limit]++,
    clock: systemClock,
  });
  gateway.login = new PodLogins({ seals, tokens, publicHttpsPort: 8443, clock: systemClock }).policy;
  reached = [];
  pod = await startBackend((request, response) => {
    reached.push(request);
    response.end('pod');
  });
  pod.server.on('upgrade', (request: http.IncomingMessage, socket) => {
    reached.push(request);
    socket.on('error', () => undefined);
    upgraded.push(socket);
    socket.write('HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nhello');
  });
  route();
});
afterEach(async () => {
  for (const socket of upgraded) socket.destroy();
  await pod.close();
  await gateway.close();
});

function route(login: RouteLogin = LOGIN, change: Partial<Route> = {}): void {
  gateway.route(pod.port, { login, ...change });
}

function sessionOf(user: string, change: object = {}): string {
  const session = { host: POD_HOST, uid: UID, user, expiresAtMs: Date.now() + 60_000, ...change };
  return `${SESSION}=${seals.seal('session', session) ?? ''}`;
}

const ask = (headers: Record<string, string> = {}, path = '/', method = 'GET'): Promise<Answer> =>
  gateway.request({ method, path, headers });

function cookieIn({ headers }: Answer, name: string): string {
  const found = headers['set-cookie']?.find((cookie) => cookie.startsWith(`${name}=`)) ?? '';
  expect(found === '' || found.endsWith('; HttpOnly; Secure; SameSite=Lax')).toBe(true);
  return found.slice(name.length + 1).split(';')[0] ?? '';
}

describe('a pod with a login', () => {
  it('redirects browsers to the API’s login, and refuses other clients', async () => {
    const redirect = await ask({ accept: 'text/html' }, '//evil.example/a?b=1');
    expect(redirect.status).toBe(302);
    const to = new URL(redirect.headers.location ?? '');
    expect(`${to.origin}${to.pathname}`).toBe('https://localhost:8443/v3/pods/hello/auth');
    const nonce = cookieIn(redirect, START);
    expect(seals.open('start', to.searchParams.get('start') ?? '', Date.now())).toEqual({
      ...{ host: POD_HOST, uid: UID, path: '//evil.example/a?b=1', expiresAtMs: expect.any(Number) as number },
      nonceHash: createHash('sha256').update(nonce).digest('base64url'),
    });
    // The same in another tab.
    expect(cookieIn(await ask({ accept: 'text/html', cookie: `${START}=${nonce}` }), START)).toBe(nonce);
    expect(cookieIn(await ask({ accept: 'text/html', cookie: `${START}=short` }), START)).not.toBe('short');
    for (const [headers, method] of [
      [{}, 'GET'],
      [{ accept: 'text/html', 'sec-fetch-mode': 'cors' }, 'GET'],
      [{ accept: 'text/html' }, 'POST'],
      [{ accept: 'text/html', cookie: `${SESSION}=made.up`, 'sec-fetch-mode': 'no-cors' }, 'GET'],
    ] as const) {
      const refused = await ask(headers, '/', method);
      expect([refused.status, refused.headers['www-authenticate']]).toEqual([401, 'X-Tapis-Token']);
      expect(refused.body).toContain(`Open ${URL_OF_POD}/ in a browser`);
    }
    expect(reached).toEqual([]);
  });

  it('turns a ticket into a session only for the browser that began the login', async () => {
    const nonce = 'n'.repeat(24);
    const ticket = {
      ...{ host: POD_HOST, uid: UID, user: 'alice', path: '//evil.example/a?b=1' },
      nonceHash: createHash('sha256').update(nonce).digest('base64url'),
      ...{ expiresAtMs: Date.now() + 60_000, sessionExpiresAtMs: Date.now() + 600_000 },
    };
    const redeem = (change: object, cookie: string): Promise<Answer> =>
      ask(
        { cookie, accept: 'text/html' },
        `/.podgate/login?ticket=${seals.seal('ticket', { ...ticket, ...change }) ?? ''}`,
      );
    const good = await redeem({}, `a=b; ${START}=${nonce}`);
    expect([good.status, good.headers.location]).toEqual([302, `${URL_OF_POD}//evil.example/a?b=1`]);
    expect(cookieIn(good, START)).toBe('');
    const session = cookieIn(good, SESSION);
    expect((await ask({ cookie: `${SESSION}=${session}` })).body).toBe('pod');
    for (const [change, cookie] of [
      [{}, ''],
      [{}, `${START}=${'x'.repeat(24)}`],
      [{ host: 'other.pods.localhost' }, `${START}=${nonce}`],
      [{ uid: 'uid-0' }, `${START}=${nonce}`],
      [{ expiresAtMs: Date.now() }, `${START}=${nonce}`],
      [{ sessionExpiresAtMs: Date.now() }, `${START}=${nonce}`],
    ] as const) {
      const bad = await redeem(change, cookie);
      expect([bad.status, bad.headers['set-cookie']]).toEqual([400, undefined]);
      expect(bad.body).toContain('The login was not completed.');
    }
  });

  it('admits only sessions of its users: of this host, of this pod, until they expire', async () => {
    expect((await ask({ cookie: sessionOf('alice') })).body).toBe('pod');
    const bob = await ask({ cookie: sessionOf('bob') });
    expect([bob.status, bob.body]).toEqual([403, expect.stringContaining('You are logged in as bob.')]);
    for (const change of [{ host: 'other.pods.localhost' }, { uid: 'uid-0' }, { expiresAtMs: Date.now() - 1 }]) {
      expect((await ask({ cookie: sessionOf('alice', change) })).status).toBe(401);
    }
    route({ ...LOGIN, users: null });
    expect((await ask({ cookie: sessionOf('bob') })).status).toBe(200);
    const out = await ask({ cookie: sessionOf('bob') }, '/.podgate/logout');
    expect([out.status, cookieIn(out, SESSION)]).toEqual([200, '']);
  });

  it('gets the user name from the gateway and never from the client; cookie and token are not passed on', async () => {
    const headers = { 'X-User': 'root', OAUTH2_NAME: 'root', 'Oauth2-Name': 'root', authorization: 'Basic eA==' };
    await ask({ ...headers, cookie: `a=1; ${sessionOf('zoë')}; ${START}=x; b=2` });
    await ask({ ...headers, 'x-tapis-token': 'good', cookie: sessionOf('alice') });
    const [first, second] = reached;
    expect(first?.headers).toMatchObject({ cookie: 'a=1; b=2', authorization: 'Basic eA==' });
    expect(first?.headers['x-user']).toBe(Buffer.from('zoë@example.org', 'utf8').toString('latin1'));
    expect([first?.headers['oauth2_name'], first?.headers['oauth2-name']]).toEqual([
      Buffer.from('zoë', 'utf8').toString('latin1'),
      undefined,
    ]);
    expect(first?.rawHeaders.filter((name) => name.toLowerCase() === 'x-user')).toHaveLength(1);
    expect(second?.headers).toMatchObject({ 'x-user': 'alice@example.org', oauth2_name: 'alice' });
    expect([second?.headers['x-tapis-token'], second?.headers.cookie]).toEqual([undefined, undefined]);
    // Nor in a trailer.
    const trailers = new Promise<NodeJS.Dict<string>>((resolve) => {
      pod.server.once('request', (request: http.IncomingMessage) => {
        request.resume().once('end', () => resolve(request.trailers));
      });
    });
    const socket = await gateway.connect();
    socket.on('error', () => undefined);
    const fields = `Host: ${POD_HOST}\r\nX-Tapis-Token: good\r\nTransfer-Encoding: chunked\r\n`;
    socket.write(`POST / HTTP/1.1\r\n${fields}\r\n1\r\na\r\n0\r\nX-User: root\r\nX_User: root\r\nX-Sum: 1\r\n\r\n`);
    expect(await trailers).toEqual({ 'x-sum': '1' });
    socket.destroy();
    gateway.route(pod.port, {});
    await ask({ 'x-tapis-token': 'mine', 'x-user': 'root' });
    expect(reached.at(-1)?.headers).toMatchObject({ 'x-tapis-token': 'mine', 'x-user': 'root' });
  });

  it('accepts a token instead, and asks control about it once', async () => {
    answers['bobs'] = { kind: 'user', user: 'bob', expiresAtMs: Date.now() + 3_600_000 };
    answers['old'] = { kind: 'refused', reason: 'The token has expired.' };
    const two = await Promise.all([ask({ 'x-tapis-token': 'good' }), ask({ 'x-tapis-token': ' good ' })]);
    expect(two.map(({ body }) => body)).toEqual(['pod', 'pod']);
    expect((await ask({ 'x-tapis-token': 'good' }, '/', 'POST')).body).toBe('pod');
    expect(asked).toEqual(['localhost good']);
    expect((await ask({ 'x-tapis-token': 'bobs' })).status).toBe(403);
    const old = await ask({ 'x-tapis-token': 'old', accept: 'text/html' });
    expect([old.status, old.body]).toEqual([401, expect.stringContaining('The token has expired.')]);
    const away = await ask({ 'x-tapis-token': 'nobody answers' });
    expect([away.status, away.headers['retry-after']]).toEqual([503, '2']);
    // The body of a request waits for the answer as well.
    answers['late'] = { kind: 'user', user: 'alice', expiresAtMs: Date.now() + 3_600_000 };
    const body = Buffer.alloc(100_000, 'x');
    const posted = await gateway.request({ method: 'POST', headers: { 'x-tapis-token': 'late' }, body });
    expect(posted.status).toBe(200);
  });

  it('returns 503 to a client with 64 unanswered tokens, and serves clients at other addresses', async () => {
    const open: number[] = [];
    const tokens: TokenLogins = new TokenLogins({
      ask: (id, _host, token) => {
        if (token === 'good') setImmediate(() => tokens.answered(id, answers['good'] ?? { kind: 'unavailable' }));
        else open.push(id);
        return true;
      },
      limited: (limit) => gateway.counters.limited[limit]++,
      clock: systemClock,
    });
    const { policy } = new PodLogins({ seals, tokens, publicHttpsPort: 8443, clock: systemClock });
    let address = '192.0.2.1';
    gateway.login = (request) => policy({ ...request, client: { ...request.client, address } });
    const flood = Array.from({ length: 64 }, (_, at) => ask({ 'x-tapis-token': `made up ${at}` }));
    await until('all are open', () => open.length === 64);
    const refused = await ask({ 'x-tapis-token': 'good' });
    expect([refused.status, refused.headers['retry-after']]).toEqual([503, '2']);
    expect(gateway.counters.limited).toMatchObject({ 'token-checks-address': 1, 'token-checks': 0 });
    address = '192.0.2.2';
    expect((await ask({ 'x-tapis-token': 'good' })).body).toBe('pod');
    for (const id of open) tokens.answered(id, { kind: 'refused', reason: 'No.' });
    expect(new Set((await Promise.all(flood)).map(({ status }) => status))).toEqual(new Set([401]));
  });

  it('cannot be used by pages of other pods with the visitor’s cookie', async () => {
    const cookie = sessionOf('alice');
    const post = async (headers: Record<string, string>): Promise<number> =>
      (await ask({ cookie, ...headers }, '/', 'POST')).status;
    expect(await post({})).toBe(200);
    expect(await post({ origin: `https://${POD_HOST}` })).toBe(200);
    expect(await post({ 'sec-fetch-site': 'same-origin', origin: 'null' })).toBe(200);
    expect(await post({ 'sec-fetch-site': 'same-site', origin: `https://${POD_HOST}` })).toBe(403);
    expect(await post({ origin: 'https://other.pods.localhost' })).toBe(403);
    expect(await post({ origin: 'null' })).toBe(403);
    const upgrade = { connection: 'Upgrade', upgrade: 'websocket' };
    expect((await ask({ cookie, ...upgrade, origin: 'https://other.pods.localhost' })).status).toBe(403);
    expect((await ask({ cookie, origin: 'https://other.pods.localhost' })).status).toBe(200);
  });

  it('serves HTTP/2, and gives gRPC clients a gRPC status', async () => {
    const session = await gateway.connectHttp2();
    const headers = { ':authority': POD_HOST, ':path': '/a?b=1' };
    const redirect = await exchange(session, { ...headers, accept: 'text/html' });
    expect([redirect.status, redirect.headers.location]).toEqual([302, expect.stringContaining('/pods/hello/auth?')]);
    expect((await exchange(session, { ...headers, cookie: sessionOf('alice') })).body.toString()).toBe('pod');
    const posted = await exchange(session, { ...headers, ':method': 'POST', 'x-tapis-token': 'good' }, 'x');
    expect(posted.body.toString()).toBe('pod');
    const call = await exchange(session, { ...headers, ':method': 'POST', 'content-type': 'application/grpc' }, 'x');
    expect(call.headers['grpc-status']).toBe('16');
    session.close();
  });

  it('cuts a WebSocket when its user loses access to the pod, or a login becomes required', async () => {
    const open = async (cookie: string) => {
      const socket = await gateway.connect();
      socket.on('error', () => undefined);
      const fields = `Host: ${POD_HOST}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nCookie: ${cookie}\r\n\r\n`;
      socket.write(`GET /ws HTTP/1.1\r\n${fields}`);
      expect(await readUntil(socket, 'hello')).toContain('101 Switching Protocols');
      const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()));
      socket.resume();
      return { socket, closed };
    };
    const [alice, zoe] = [await open(sessionOf('alice')), await open(sessionOf('zoë'))];
    route({ ...LOGIN, users: ['zoë'] });
    gateway.changed();
    await alice.closed;
    expect(zoe.socket.destroyed).toBe(false);
    zoe.socket.destroy();
    gateway.route(pod.port, {});
    const anyone = await open('');
    route();
    gateway.changed();
    await anyone.closed;
  });

  it('checks the login after the allow list, and before it reveals the state of the pod', async () => {
    gateway.route(null, { status: 'STOPPED', login: LOGIN });
    expect((await ask({ accept: 'text/html' })).status).toBe(302);
    expect((await ask()).status).toBe(401);
    expect((await ask({ cookie: sessionOf('alice') })).status).toBe(503);
    route(LOGIN, { ipAllowList: ['192.0.2.1'] });
    expect((await ask({ accept: 'text/html' })).status).toBe(403);
  });

  it('needs no login for excluded paths, in either version of HTTP, but does for other spellings', async () => {
    route({ ...LOGIN, excludedPaths: ['/public', '/favicon.ico'] });
    const session = await gateway.connectHttp2();
    const socket = await gateway.connect();
    socket.on('error', () => undefined);
    let received = '';
    socket.on('data', (bytes: Buffer) => (received += bytes.toString('latin1')));
    for (const path of EXCLUDED) {
      expect((await ask({}, path)).body, path).toBe('pod');
      const second = await exchange(session, { ':authority': POD_HOST, ':path': path });
      expect(second.body.toString(), path).toBe('pod');
      // As it was sent.
      expect(reached.splice(0).map(({ url }) => url)).toEqual([path, path]);
    }
    for (const path of NOT_EXCLUDED) {
      // Written by hand: clients of Node might change it.
      received = '';
      socket.write(`GET ${path} HTTP/1.1\r\nHost: ${POD_HOST}\r\n\r\n`);
      await until('it is refused', () => /^HTTP\/1\.1 \d+/.test(received) && received.includes('X-Tapis-Token.'));
      expect(received, path).toMatch(/^HTTP\/1\.1 401 /);
      const second = await exchange(session, { ':authority': POD_HOST, ':path': path });
      expect(second.status, path).toBe(401);
    }
    // In the other form of a target, the same.
    received = '';
    socket.write(`GET https://${POD_HOST}/public/../private HTTP/1.1\r\nHost: ${POD_HOST}\r\n\r\n`);
    await until('it is refused', () => received.includes('X-Tapis-Token.'));
    socket.write(`GET https://${POD_HOST}/public/x HTTP/1.1\r\nHost: ${POD_HOST}\r\n\r\n`);
    await until('it is served', () => received.endsWith('pod'));
    expect(reached.map(({ url }) => url)).toEqual(['/public/x']);
    expect((await ask({}, '/public/hook', 'POST')).body).toBe('pod');
    expect((await ask({}, '/private', 'POST')).status).toBe(401);
    session.close();
    socket.destroy();
  });

  it('does not pass user names on for excluded paths, whatever the client sends', async () => {
    route({ ...LOGIN, excludedPaths: ['/public'] });
    const headers = {
      ...{ 'X-User': 'root', X_User: 'root', OAUTH2_NAME: 'root', 'X-Original-URL': '/private', 'X-Rewrite-Url': '/p' },
      ...{ x_original_uri: '/private', 'x-tapis-token': 'good', cookie: `a=1; ${sessionOf('alice')}`, 'x-kept': 'yes' },
    };
    await ask(headers, '/public/x');
    const got = reached.at(-1)?.headers ?? {};
    expect(got).toMatchObject({ cookie: 'a=1', 'x-kept': 'yes' });
    const names = [
      'x-user',
      'x_user',
      'oauth2_name',
      'x-original-url',
      'x-rewrite-url',
      'x_original_uri',
      'x-tapis-token',
    ];
    expect(Object.keys(got).filter((name) => names.includes(name))).toEqual([]);
    expect(asked).toEqual([]);
  });

  it('cuts a WebSocket on an excluded path when the path is no longer excluded; other protocols are refused', async () => {
    route({ ...LOGIN, excludedPaths: ['/public'] });
    const socket = await gateway.connect();
    socket.on('error', () => undefined);
    const upgrade = (protocol: string) =>
      `GET /public/ws HTTP/1.1\r\nHost: ${POD_HOST}\r\nConnection: Upgrade\r\nUpgrade: ${protocol}\r\n\r\n`;
    socket.write(upgrade('websocket'));
    expect(await readUntil(socket, 'hello')).toContain('101 Switching Protocols');
    const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()));
    socket.resume();
    route({ ...LOGIN, excludedPaths: ['/public'], users: ['zoë'] });
    gateway.changed();
    expect(socket.destroyed).toBe(false);
    route({ ...LOGIN, excludedPaths: ['/public/x'] });
    gateway.changed();
    await closed;
    route({ ...LOGIN, excludedPaths: ['/public'] });
    const other = await gateway.connect();
    other.on('error', () => undefined);
    other.write(upgrade('chat'));
    expect(await readUntil(other, '\r\n\r\n')).toMatch(/^HTTP\/1\.1 401 /);
    other.destroy();
  });

  it('keeps the HTTP/1.1 connection open after a redirect', async () => {
    const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
    const socket = await gateway.connect();
    agent.createConnection = () => socket;
    const over = (headers: Record<string, string>, method = 'GET') =>
      answerOf(http.request({ agent, method, path: '/', headers: { host: POD_HOST, ...headers } }).end());
    expect((await over({ accept: 'text/html' })).status).toBe(302);
    const head = await over({ accept: 'text/html' }, 'HEAD');
    expect([head.status, head.body]).toEqual([302, '']);
    expect((await over({ 'x-tapis-token': 'good' })).body).toBe('pod');
    expect(gateway.openConnections).toBe(1);
    agent.destroy();
  });
});
