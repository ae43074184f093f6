import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { request as plainRequest } from 'node:http';
import { request } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type BrowserContext, launch, type Browser, type Page } from 'puppeteer-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { freePorts } from '../support/free-ports.ts';
import { OauthServer } from '../support/oauth-server.ts';
import { TapisOauthServer } from '../support/tapis-oauth-server.ts';
import { Program } from '../support/program.ts';
import { until } from '../support/until.ts';
import { pinOf } from './clients/neo4j-browser.ts';
import { logIn } from './clients/oauth-pages.ts';

/** tapis_auth: a real server of a package, two users in browsers of their own, the program as it is started. */
const directory = mkdtempSync(join(tmpdir(), 'podgate-pod-login-'));
const HOST = 'private.pods.localhost';
/** Says who asks, by the header that its stanza names, and greets over WebSocket. */
const PROGRAM = `
const server = require('node:http').createServer((request, response) => {
  response.setHeader('content-type', 'text/html');
  response.end('<p>hello ' + request.headers['x-user'] + ' at ' + request.url + ' with ' + (request.headers.cookie ?? 'no cookie') + '</p>');
});
server.on('upgrade', (request, socket) => {
  const key = require('node:crypto').createHash('sha1').update(request.headers['sec-websocket-key'] + '258EAFA5-E914-47DA-95CA-C5AB0DC85B11').digest('base64');
  socket.on('error', () => undefined);
  socket.write('HTTP/1.1 101 Switching Protocols\\r\\nUpgrade: websocket\\r\\nConnection: Upgrade\\r\\nSec-WebSocket-Accept: ' + key + '\\r\\n\\r\\n');
  socket.write(Buffer.from([0x81, 2, 0x68, 0x69]));
});
server.listen(process.env.PORT ?? 8080, '127.0.0.1');
`;

let server: OauthServer;
let tapis: TapisOauthServer;
let program: Program;
let browser: Browser;
let origin: string;

beforeAll(async () => {
  const ports = await freePorts(3);
  origin = `https://localhost:${ports[0] ?? 0}`;
  server = await OauthServer.start([`${origin}/v3/pods/auth/callback`]);
  const oauth = {
    ...{ clientId: 'podgate-web', scope: 'pods' },
    ...{ tokenEndpoint: `${server.issuer}/token`, authorizationEndpoint: `${server.issuer}/auth` },
  };
  const tenant = { id: 'dev', baseHost: 'localhost', issuer: server.issuer, jwks: server.jwks, oauth };
  tapis = await TapisOauthServer.start();
  tapis.client.callbackUrl = `https://tapis.test:${ports[0] ?? 0}/v3/pods/auth/callback`;
  writeFileSync(join(directory, 'client.key'), `${tapis.client.key}\n`);
  const ofTapis = {
    ...{ id: tapis.tenant, baseHost: 'tapis.test', key: tapis.publicKeyPem, administrators: ['alice'] },
    oauth: {
      ...{ type: 'tapis', clientId: tapis.client.id, clientKeyFile: join(directory, 'client.key') },
      ...{ tokenEndpoint: `${tapis.url}/v3/oauth2/tokens`, authorizationEndpoint: `${tapis.url}/v3/oauth2/authorize` },
    },
  };
  const file = join(directory, 'podgate.yaml');
  // YAML contains JSON.
  writeFileSync(file, JSON.stringify({ tenants: [{ ...tenant, administrators: ['alice'] }, ofTapis] }));
  program = await Program.prepare({ ports, workers: 2, env: { PODGATE_CONFIG: file } });
  program.launch();
  await program.ready(200_000);
  const pins = await Promise.all(
    [origin, `https://${HOST}:${program.httpsPort}`].map((url) => pinOf(new URL(url), program.ca)),
  );
  browser = await launch({
    executablePath: '/usr/bin/chromium',
    args: [
      ...['--no-sandbox', '--disable-gpu', `--user-data-dir=${directory}/profile`],
      '--host-resolver-rules=MAP *.localhost 127.0.0.1',
      `--ignore-certificate-errors-spki-list=${pins.join(',')}`,
    ],
  });
}, 240_000);

afterAll(async () => {
  // A program that was too slow to become ready is there without a browser.
  await Promise.allSettled([(async () => browser.close())()]);
  await program.dispose();
  await server.close();
  await tapis.close();
  rmSync(directory, { recursive: true, force: true });
});

async function opened(context: BrowserContext, url: string): Promise<Page> {
  const page = await context.newPage();
  await page.goto(url);
  return page;
}

const textOf = async (page: Page): Promise<string> => String(await page.evaluate('document.body.innerText'));

function fetched(path: string, headers: Record<string, string>): Promise<{ status: number; body: string }> {
  return new Promise((resolve, reject) => {
    const options = { host: '127.0.0.1', port: program.httpsPort, servername: HOST, ca: program.ca };
    request({ ...options, path, headers: { host: `${HOST}:${program.httpsPort}`, ...headers } }, (response) => {
      let body = '';
      response.setEncoding('utf8').on('data', (text: string) => (body += text));
      response.once('end', () => resolve({ status: response.statusCode ?? 0, body }));
    })
      .once('error', reject)
      .end();
  });
}

/** A WebSocket of the page: resolves with its first message, and notes when it closes. */
const OPEN_SOCKET = `new Promise((resolve) => {
  const socket = new WebSocket('wss://' + location.host + '/ws');
  socket.onmessage = ({ data }) => resolve(data);
  socket.onerror = () => resolve('refused');
  socket.onclose = () => { document.title = 'closed'; };
})`;

test('two users of the tenant: the permitted one returns to the page, the other sees the reason, until permissions change', async () => {
  const url = `https://${HOST}:${program.httpsPort}`;
  // The administrator logs in for the API at the same server.
  const token = await server.tokenOf('alice');
  const api = async (method: string, path: string, body?: unknown) => {
    const answer = await program.api(method, path, body, token);
    expect(answer.status, JSON.stringify(answer.body)).toBe(200);
    return answer.body.result as Record<string, unknown>;
  };
  const login = { tapis_auth: true, tapis_auth_response_headers: { 'X-User': '<<tapisusername>>@<<tapistenantid>>' } };
  await api('POST', '/v3/pods', {
    ...{ pod_id: 'private', pod_template: 'podgate/process', command: ['node', '-e', PROGRAM] },
    networking: { default: { protocol: 'http', port: 8080, ...login } },
  });
  await until('it runs', async () => (await api('GET', '/v3/pods/private'))['status'] === 'RUNNING', {
    timeoutMs: 60_000,
  });
  const [alices, bobs] = [await browser.createBrowserContext(), await browser.createBrowserContext()];

  const page = await opened(alices, `${url}/deep/page?with=query`);
  expect(new URL(page.url()).origin).toBe(server.issuer);
  await logIn(page, 'alice');
  expect(page.url()).toBe(`${url}/deep/page?with=query`);
  expect(await textOf(page)).toBe('hello alice@dev at /deep/page?with=query with no cookie');
  const cookies = await alices.cookies();
  const ofPod = cookies.filter(({ domain }) => domain === HOST);
  expect(ofPod).toEqual([
    expect.objectContaining({ name: '__Host-podgate-login', httpOnly: true, secure: true, sameSite: 'Lax', path: '/' }),
  ]);
  expect(cookies.filter(({ domain, value }) => domain === 'localhost' && value !== '')).toEqual([]);
  expect(await page.evaluate(OPEN_SOCKET)).toBe('hi');

  const other = await opened(bobs, `${url}/`);
  await logIn(other, 'bob');
  expect(await textOf(other)).toContain('You are logged in as bob.');
  // His cookie at another host, and another's ticket in his browser, are worth nothing.
  await other.goto(`${url}/.podgate/login?ticket=${ofPod[0]?.value ?? ''}`);
  expect(await textOf(other)).toContain('The login was not completed.');

  await api('POST', '/v3/pods/private/permissions', { user: 'bob', level: 'USER' });
  await until('bob is let in', async () => {
    await other.goto(`${url}/`);
    return (await textOf(other)).includes('hello bob@dev at /');
  });
  expect(await other.evaluate(OPEN_SOCKET)).toBe('hi');
  await api('DELETE', '/v3/pods/private/permissions/bob');
  const removedMs = Date.now();
  await until("bob's WebSocket is closed", async () => (await other.title()) === 'closed', { timeoutMs: 20_000 });
  await other.goto(`${url}/`);
  expect(await textOf(other)).toContain('You are logged in as bob.');
  expect(Date.now() - removedMs).toBeLessThan(20_000);
  expect(await page.title()).not.toBe('closed');

  // Programs: the token, and nothing else that says who they are.
  expect(await fetched('/', { 'x-tapis-token': token, 'x-user': 'root' })).toEqual({
    status: 200,
    body: '<p>hello alice@dev at / with no cookie</p>',
  });
  expect((await fetched('/', { 'x-tapis-token': await server.tokenOf('bob') })).status).toBe(403);
  expect((await fetched('/', { 'x-tapis-token': 'made.up.token' })).status).toBe(401);
  expect((await fetched('/', { authorization: `Bearer ${token}` })).status).toBe(401);

  // From now on, one path is for everyone: at once, and the pod is told nobody's name there.
  const excluding = { ...login, tapis_auth_excluded_paths: ['/public/'] };
  const networking = { default: { protocol: 'http', port: 8080, ...excluding } };
  const { networking: stored } = await api('PUT', '/v3/pods/private', { networking });
  expect(stored).toMatchObject({ default: { tapis_auth_excluded_paths: ['/public/'] } });
  await until('it is public', async () => (await fetched('/public/a?b=1', {})).status === 200);
  expect((await fetched('/public/a?b=1', { 'x-tapis-token': token, 'x-user': 'root' })).body).toBe(
    '<p>hello undefined at /public/a?b=1 with no cookie</p>',
  );
  for (const path of ['/', '/public/../private', '/public/%2e%2e/private', '/public//x', '/Public/a']) {
    expect((await fetched(path, {})).status, path).toBe(401);
  }

  await page.goto(`${url}/.podgate/logout`);
  await page.goto(`${url}/again`);
  // The OAuth server still knows her.
  await page.waitForFunction(`document.body.innerText.includes('at /again')`);
  await alices.close();
  await bobs.close();
}, 240_000);

interface Visit {
  readonly status: number;
  readonly url: string;
  readonly body: string;
}

/** As a browser: keeps the cookies of each host, and follows redirects; every host is at 127.0.0.1. */
class Visitor {
  readonly #cookies = new Map<string, Map<string, string>>();
  readonly visited: string[] = [];

  cookiesOf(host: string): Map<string, string> {
    const kept = this.#cookies.get(host) ?? new Map<string, string>();
    this.#cookies.set(host, kept);
    return kept;
  }

  async visit(address: string, init: { method?: string; headers?: object; body?: unknown } = {}): Promise<Visit> {
    let url = new URL(address);
    for (let step = 0; step < 12; step += 1) {
      this.visited.push(`${url.host}${url.pathname}`);
      const { status, location, body } = await this.#once(url, init);
      if (location === undefined) return { status, url: url.href, body };
      url = new URL(location, url);
    }
    throw new Error(`too many redirects: ${this.visited.join(' ')}`);
  }

  #once(
    url: URL,
    { method = 'GET', headers = {}, body }: { method?: string; headers?: object; body?: unknown },
  ): Promise<{ status: number; location: string | undefined; body: string }> {
    const jar = this.cookiesOf(url.hostname);
    const cookie = [...jar].map(([name, value]) => `${name}=${value}`).join('; ');
    const sent = { host: url.host, accept: 'text/html', ...(cookie === '' ? {} : { cookie }), ...headers };
    const common = { host: '127.0.0.1', port: url.port, path: `${url.pathname}${url.search}`, method, headers: sent };
    return new Promise((resolve, reject) => {
      const call =
        url.protocol === 'http:'
          ? plainRequest(common)
          : request({ ...common, servername: url.hostname, ca: program.ca });
      call.once('error', reject).once('response', (response) => {
        for (const line of response.headers['set-cookie'] ?? []) {
          const [, name = '', value = ''] = /^([^=]+)=([^;]*)/.exec(line) ?? [];
          if (value === '') jar.delete(name);
          else jar.set(name, value);
        }
        let received = '';
        response.setEncoding('utf8').on('data', (piece: string) => (received += piece));
        const { location } = response.headers;
        response.once('end', () => resolve({ status: response.statusCode ?? 0, location, body: received }));
      });
      call.end(body === undefined ? undefined : JSON.stringify(body));
    });
  }
}

test('the OAuth of a Tapis tenant: its client has a key, one redirect URI, and responses in an envelope', async () => {
  const port = program.httpsPort;
  const token = await tapis.tokenOf('alice');
  const asAlice = { 'x-tapis-token': token, accept: 'application/json', 'content-type': 'application/json' };
  const networking = {
    default: {
      protocol: 'http',
      port: 8080,
      tapis_auth: true,
      tapis_auth_response_headers: { 'X-User': '<<tapisusername>>' },
    },
  };
  const body = { pod_id: 'tapped', pod_template: 'podgate/process', command: ['node', '-e', PROGRAM], networking };
  const created = await new Visitor().visit(`https://tapis.test:${port}/v3/pods`, {
    method: 'POST',
    headers: asAlice,
    body,
  });
  expect(created.status, created.body).toBe(200);
  await until(
    'it runs',
    async () =>
      (await new Visitor().visit(`https://tapis.test:${port}/v3/pods/tapped`, { headers: asAlice })).body.includes(
        '"status":"RUNNING"',
      ),
    { timeoutMs: 60_000 },
  );
  const page = `https://tapped.pods.tapis.test:${port}/deep/page?with=query`;
  const alice = new Visitor();
  const arrived = await alice.visit(page);
  expect([arrived.status, arrived.url]).toEqual([200, page]);
  expect(arrived.body).toContain('hello alice at /deep/page?with=query with no cookie');
  expect(alice.visited).toEqual([
    `tapped.pods.tapis.test:${port}/deep/page`,
    `tapis.test:${port}/v3/pods/tapped/auth`,
    `${new URL(tapis.url).host}/v3/oauth2/authorize`,
    `tapis.test:${port}/v3/pods/auth/callback`,
    `tapped.pods.tapis.test:${port}/.podgate/login`,
    `tapped.pods.tapis.test:${port}/deep/page`,
  ]);
  // A user of another tenant gets in by no token and by no login of their own.
  const stranger = await server.tokenOf('alice');
  const refused = await new Visitor().visit(page, { headers: { 'x-tapis-token': stranger } });
  expect([refused.status, refused.body]).toEqual([401, expect.stringContaining('another')]);
  tapis.user = 'bob';
  expect((await new Visitor().visit(page)).status).toBe(403);
  tapis.user = 'alice';

  // The console: by the same redirect URI.
  const key = 'k'.repeat(43);
  const hash = createHash('sha256').update(key).digest('base64url');
  const ofConsole = new Visitor();
  const home = await ofConsole.visit(`https://tapis.test:${port}/console/oauth?key_hash=${hash}`);
  expect([home.status, new URL(home.url).hash]).toEqual([200, '#oauth']);
  expect(ofConsole.visited).toContain(`tapis.test:${port}/console/oauth/callback`);
  const onControlPort = new Visitor();
  const start = await onControlPort.visit(`http://tapis.test:${program.controlPort}/console/oauth?key_hash=${hash}`);
  expect([start.status, start.url]).toEqual([200, `https://tapis.test:${port}/`]);
  expect(onControlPort.cookiesOf('tapis.test').size).toBe(0);

  // What Tapis does not confirm lets nobody in, and the key of the client is told to nobody.
  for (const wrong of [null, {}, { access_token: token }, { access_token: { access_token: 7 } }]) {
    tapis.answer = () => wrong ?? [];
    expect((await new Visitor().visit(page)).status).toBe(401);
  }
  tapis.answer = null;
  writeFileSync(join(directory, 'client.key'), 'wrong-key');
  const unconfirmed = await new Visitor().visit(page);
  expect([unconfirmed.status, unconfirmed.body]).toEqual([401, expect.stringContaining('has not confirmed the login')]);
  const told = await new Visitor().visit(`https://tapis.test:${port}/v3/oauth-client`, { headers: asAlice });
  expect(told.body).toContain('"type":"tapis"');
  expect(`${told.body}${unconfirmed.body}${program.output}`).not.toMatch(/k{40}|wrong-key|client\.key/);
}, 120_000);
