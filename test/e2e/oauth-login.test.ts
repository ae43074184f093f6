import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { launch, type Browser } from 'puppeteer-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { OauthServer } from '../support/oauth-server.ts';
import { Program } from '../support/program.ts';
import { run } from '../support/run.ts';
import { until } from '../support/until.ts';

/** podgate login by OAuth: a real server of a package, a real browser. */
const ROOT = join(import.meta.dirname, '../..');
const directory = mkdtempSync(join(tmpdir(), 'podgate-oauth-'));
let server: OauthServer;
let withDevice: Program;
let withBrowser: Program;
let browser: Browser;
const logins: ChildProcess[] = [];

beforeAll(async () => {
  server = await OauthServer.start();
  const authorizationEndpoint = `${server.issuer}/auth`;
  withDevice = await startWith({ authorizationEndpoint, deviceAuthorizationEndpoint: `${server.issuer}/device/auth` });
  withBrowser = await startWith({ authorizationEndpoint });
  browser = await launch({
    executablePath: '/usr/bin/chromium',
    args: ['--no-sandbox', '--disable-gpu', `--user-data-dir=${directory}/profile`],
  });
}, 180_000);

afterAll(async () => {
  // One whose test has failed waits for its user.
  for (const child of logins) child.kill('SIGKILL');
  await browser.close();
  await Promise.all([withDevice.dispose(), withBrowser.dispose()]);
  await server.close();
  rmSync(directory, { recursive: true, force: true });
});

async function startWith(endpoints: object): Promise<Program> {
  const file = join(directory, `${Object.keys(endpoints).length}.yaml`);
  const oauth = { clientId: 'podgate', tokenEndpoint: `${server.issuer}/token`, scope: 'pods', ...endpoints };
  const tenant = { id: 'dev', baseHost: 'localhost', issuer: server.issuer, jwks: server.jwks, oauth };
  // YAML contains JSON.
  writeFileSync(file, JSON.stringify({ tenants: [tenant] }));
  return await Program.start({ workers: 1, env: { PODGATE_CONFIG: file } });
}

interface Login {
  /** Its exit code, once all that it says has come. */
  readonly ended: Promise<number | null>;
  readonly said: () => string;
  readonly configHome: string;
}

/** Without a browser that it could open itself. */
function podgateLogin(program: Program, configHome: string): Login {
  const url = `http://127.0.0.1:${program.controlPort}`;
  const child = spawn(process.execPath, [join(ROOT, 'cli/podgate.ts'), 'login', url, '--oauth', '--profile', 'test'], {
    cwd: ROOT,
    env: { HOME: configHome, XDG_CONFIG_HOME: configHome, PATH: '/nonexistent', NO_COLOR: '1' },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  logins.push(child);
  const ended = once(child, 'close').then(([code]) => code as number | null);
  let said = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (said += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (said += text));
  return { ended, said: () => said, configHome };
}

/** Logs in and agrees, as pages of the server's ask. */
async function useBrowser(url: string, steps: readonly (readonly [field: string, text: string])[]): Promise<string> {
  const page = await browser.newPage();
  await page.goto(url);
  for (const [field, text] of steps) {
    if (field !== '') await page.type(`input[name=${field}]`, text);
    if (text === 'submit' || field === 'password' || field === 'user_code') {
      await Promise.all([page.waitForNavigation(), page.click('button[type=submit]')]);
    }
  }
  const text = String(await page.evaluate('document.body.innerText'));
  await page.close();
  return text;
}

async function expectLoggedIn({ ended, said, configHome }: Login): Promise<void> {
  expect([await ended, said()]).toEqual([0, expect.stringMatching(/logged in to http.* as alice \(profile test\)/)]);
  const file = join(configHome, 'podgate/logins.json');
  expect(statSync(file).mode & 0o777).toBe(0o600);
  const { token } = (JSON.parse(readFileSync(file, 'utf8')) as { profiles: { test: { token: string } } }).profiles.test;
  expect(said()).not.toContain(token);
  const list = await run(process.execPath, [join(ROOT, 'cli/podgate.ts'), 'list', '--json', '--profile', 'test'], {
    env: { HOME: configHome, XDG_CONFIG_HOME: configHome },
    cwd: ROOT,
  });
  expect(list).toMatchObject({ code: 0, stdout: '[]\n' });
}

test('in the browser, with PKCE and a redirect to loopback; a redirect with another state is rejected', async () => {
  const login = podgateLogin(withBrowser, mkdtempSync(join(directory, 'browser-')));
  const url = await until('it says where to log in', () => /(http:\S+\/auth\?\S+)/.exec(login.said())?.[1] ?? null);
  const { searchParams } = new URL(url);
  expect(searchParams.get('code_challenge_method')).toBe('S256');
  const redirect = searchParams.get('redirect_uri') ?? '';
  const forged = await fetch(`${redirect}?code=stolen&state=guessed`);
  expect(forged.status).toBe(400);
  const text = await useBrowser(url, [
    ['login', 'alice'],
    ['password', 'any'],
    ['', 'submit'],
  ]);
  expect(text).toContain('You can close this window');
  await expectLoggedIn(login);
}, 60_000);

test('with a code that is entered in any browser, if the tenant supports the device flow', async () => {
  const login = podgateLogin(withDevice, mkdtempSync(join(directory, 'device-')));
  const [, at = '', code = ''] = await until('it shows the code', () =>
    /Open (\S+) and enter the code (\S+)/.exec(login.said()),
  );
  const context = await browser.createBrowserContext();
  const page = await context.newPage();
  await page.goto(at);
  await page.type('input[name=user_code]', code);
  for (const button of ['code', 'confirm', 'login', 'consent']) {
    if (button === 'login') {
      await page.type('input[name=login]', 'alice');
      await page.type('input[name=password]', 'any');
    }
    await Promise.all([page.waitForNavigation(), page.click('button[type=submit]')]);
  }
  expect(String(await page.evaluate('document.body.innerText'))).toMatch(/success/i);
  await context.close();
  await expectLoggedIn(login);
}, 90_000);

test('a user who refuses gets a message, and nothing is stored', async () => {
  const login = podgateLogin(withBrowser, mkdtempSync(join(directory, 'no-')));
  const url = await until('it says where to log in', () => /(http:\S+\/auth\?\S+)/.exec(login.said())?.[1] ?? null);
  const { searchParams } = new URL(url);
  const back = new URL(searchParams.get('redirect_uri') ?? '');
  back.searchParams.set('state', searchParams.get('state') ?? '');
  back.searchParams.set('error', 'access_denied');
  back.searchParams.set('iss', server.issuer);
  expect((await fetch(back)).status).toBe(400);
  expect([await login.ended, login.said()]).toEqual([1, expect.stringContaining('access_denied')]);
});

test('the console logs in by OAuth: no token in a URL, and the cookie is useless without the key of the page', async () => {
  const origin = `http://127.0.0.1:${withBrowser.controlPort}`;
  const context = await browser.createBrowserContext();
  const page = await context.newPage();
  const complaints: string[] = [];
  const visited: string[] = [];
  page.on('pageerror', (error) => complaints.push(String(error)));
  page.on('console', (message) => {
    // The pages of the server's package want fonts of other hosts.
    const isOurs = page.url().startsWith(`${origin}/`);
    if (isOurs && (message.type() === 'error' || message.type() === 'warn')) complaints.push(message.text());
  });
  page.on('request', (request) => visited.push(request.url()));
  const see = (text: string): Promise<unknown> => page.waitForFunction(`document.body.innerText.includes('${text}')`);
  await page.goto(origin);
  await see('Log in at 127.0.0.1');
  await Promise.all([page.waitForNavigation(), page.click('button.primary')]);
  await page.type('input[name=login]', 'alice');
  await page.type('input[name=password]', 'any');
  await Promise.all([page.waitForNavigation(), page.click('button[type=submit]')]);
  await page.click('button[type=submit]');
  await see('No pods yet');
  expect(await page.evaluate(`document.querySelector('.who').textContent`)).toBe('alice');
  expect(page.url().startsWith(`${origin}/`) && !page.url().includes('code=')).toBe(true);
  expect(visited.filter((url) => /eyJ|access_token/.test(url))).toEqual([]);
  const cookies = await context.cookies();
  const [kept] = cookies.filter(({ name }) => name === 'podgate-console-oauth');
  expect(kept).toMatchObject({ httpOnly: true, sameSite: 'Lax' });
  const logIn = (key: string): Promise<Response> =>
    fetch(`${origin}/console/session`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', cookie: `podgate-console-oauth=${kept?.value ?? ''}` },
      body: JSON.stringify({ oauth_key: key }),
    });
  expect((await logIn('guessed')).status).toBe(401);
  // Of one step in place of the other, and without a login under way.
  const callback = `${origin}/console/oauth/callback?code=stolen&state=guessed`;
  const inOther = await fetch(callback, { headers: { cookie: `podgate-console-oauth=${kept?.value ?? ''}` } });
  expect([inOther.status, (await fetch(callback)).status]).toEqual([401, 401]);
  // A program reads JSON; somebody whose browser is sent there reads a page, in the style of the console.
  expect((await inOther.json()) as object).toMatchObject({ status: 'error' });
  const [came] = await Promise.all([page.waitForNavigation(), page.evaluate(`location.assign('${callback}')`)]);
  expect([came?.status(), came?.headers()['content-security-policy']]).toEqual([
    401,
    expect.stringContaining("default-src 'none'"),
  ]);
  await see('The login has taken too long, or was begun in another browser. Try again.');
  expect(await page.evaluate(`getComputedStyle(document.querySelector('.problem')).display`)).toBe('flex');
  await page.click('a[href="/"]');
  await see('No pods yet');
  // The browser writes the status 401 to its log.
  expect(complaints.splice(0)).toEqual([expect.stringContaining('401')]);
  expect(complaints).toEqual([]);
  await context.close();
}, 90_000);

test('the console shows that a login was refused, and accepts only its own state', async () => {
  const origin = `http://127.0.0.1:${withBrowser.controlPort}`;
  const begun = await fetch(`${origin}/console/oauth?key_hash=${'a'.repeat(43)}`, { redirect: 'manual' });
  expect(begun.status).toBe(302);
  const { searchParams } = new URL(begun.headers.get('location') ?? '');
  expect(searchParams.get('code_challenge_method')).toBe('S256');
  const cookie = (begun.headers.get('set-cookie') ?? '').split(';')[0] ?? '';
  const back = async (parameters: Record<string, string>): Promise<Response> =>
    await fetch(`${origin}/console/oauth/callback?${new URLSearchParams(parameters).toString()}`, {
      headers: { cookie },
      redirect: 'manual',
    });
  const state = searchParams.get('state') ?? '';
  expect((await back({ code: 'stolen', state: 'guessed', iss: server.issuer })).status).toBe(401);
  expect((await back({ code: 'stolen', state, iss: 'https://other.example' })).status).toBe(401);
  expect((await back({ code: 'stolen', state, iss: server.issuer })).status).toBe(401);
  const refused = await back({ error: 'access_denied', state, iss: server.issuer });
  expect([refused.status, refused.headers.get('location')]).toEqual([302, '/#oauth-refused']);
  expect((await fetch(`http://127.0.0.1:${withDevice.controlPort}/console/oauth?key_hash=short`)).status).toBe(400);
});
