import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { launch, type Browser, type Page } from 'puppeteer-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { WebSocket } from 'ws';
import { podgateCommand } from '../support/podgate-command.ts';
import { Program } from '../support/program.ts';
import { until } from '../support/until.ts';

/** The console in Chromium. A message in its log, a CSP violation or a failed request that nobody expects fails the test. */
const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const WIDTHS = [390, 820, 1280] as const;
const DEADLINE_MS = 30_000;
const directory = mkdtempSync(join(tmpdir(), 'podgate-console-'));
/** Kept where that names a folder. */
const screenshots = process.env['PODGATE_TEST_ARTIFACTS'] ?? join(directory, 'screenshots');
let program: Program;
let browser: Browser;
let page: Page;
const complaints: string[] = [];

beforeAll(async () => {
  mkdirSync(screenshots, { recursive: true });
  program = await Program.start({ workers: 1 });
  browser = await launch({
    executablePath: '/usr/bin/chromium',
    args: ['--no-sandbox', '--disable-gpu', `--user-data-dir=${directory}/profile`],
  });
  page = await browser.newPage();
  page.setDefaultTimeout(DEADLINE_MS);
  page.on('pageerror', (error) => complaints.push(String(error)));
  page.on('console', (message) => {
    if (message.type() === 'error' || message.type() === 'warn') complaints.push(message.text());
  });
}, 120_000);

afterAll(async () => {
  await browser.close();
  await program.dispose();
  rmSync(directory, { recursive: true, force: true });
});

const origin = (): string => `http://127.0.0.1:${program.controlPort}`;
// The program is compiled without the types of a page.
const textOf = async (): Promise<string> => String(await page.evaluate('document.body.innerText'));
const see = (text: string): Promise<string> =>
  until(`the page shows ${text}`, async () => ((await textOf()).includes(text) ? text : null), {
    timeoutMs: DEADLINE_MS,
  }).catch(async (error: unknown) => {
    throw new Error(`${String(error)}: ${await textOf()}`);
  });

async function clickButton(label: string): Promise<void> {
  await page.evaluate(
    `[...document.querySelectorAll('button')].find((button) => button.textContent.trim() === '${label}').click()`,
  );
}

async function loginLink(): Promise<string> {
  const { stdout } = await podgateCommand(program, ['console']);
  return stdout.trim();
}

/** What axe-core finds that keeps people out. */
async function seriousProblems(): Promise<readonly unknown[]> {
  await page.evaluate(AXE);
  return (await page.evaluate(`axe.run().then(({ violations }) => violations
    .filter(({ impact }) => impact === 'serious' || impact === 'critical')
    .map(({ id, nodes }) => ({ id, nodes: nodes.map(({ html }) => html.slice(0, 200)) })))`)) as readonly unknown[];
}

async function photograph(name: string): Promise<void> {
  for (const width of WIDTHS) {
    await page.setViewport({ width, height: 800 });
    expect(await page.evaluate('document.documentElement.scrollWidth <= innerWidth'), `${name} at ${width}`).toBe(true);
    await page.screenshot({ path: join(screenshots, `${name}-${width}.png`) });
  }
}

test('a stranger creates a pod, connects, reads its log, and sees why a client was refused', async () => {
  const link = await loginLink();
  expect(link).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/#login=[\w-]{32}$/);
  await page.goto(link);
  await see('No pods yet');
  expect(page.url()).not.toContain('login');
  expect(await seriousProblems()).toEqual([]);

  await page.goto(`${origin()}/#/new`);
  await page.waitForSelector('#field-id');
  await page.type('#field-id', 'Bad');
  await see('Start with a lowercase letter');
  await page.$eval('#field-id', (field) => (field as unknown as { select: () => void }).select());
  await page.type('#field-id', 'mypod');
  await page.click('input[value="podgate/process"]');
  await page.type('#field-command', `sh -c "echo said by the pod; exec python3 -m http.server --bind 127.0.0.1 $PORT"`);
  await see('./podgate create mypod --template podgate/process -- sh -c');
  expect(await seriousProblems()).toEqual([]);
  await photograph('new');
  await page.click('button[type=submit]');

  await see('Running');
  await see('said by the pod');
  await see(`curl --cacert ${program.caPath} https://mypod.pods.localhost:${program.httpsPort}/`);
  expect(await seriousProblems()).toEqual([]);
  await photograph('pod');

  await clickButton('Stop');
  await see('Stopped');
  const { refusal } = await refusedRequest('mypod');
  await see(refusal);

  await clickButton('Explain');
  await see('The status of pod mypod is STOPPED.');
  await see('Start it: podgate start mypod.');
  expect(await page.$$eval('.waterfall li', (rows) => rows.length)).toBeGreaterThan(1);
  // Its refusal is among the last connections, and opens to its steps by the keyboard.
  await page.focus('.recent summary');
  await page.keyboard.press('Enter');
  await page.waitForSelector('.recent details[open] .waterfall');
  expect(await page.evaluate(`document.querySelector('.recent summary').textContent`)).toContain('route.stopped');
  expect(await seriousProblems()).toEqual([]);
  await photograph('explained');

  await page.goto(`${origin()}/#/pods`);
  await see('mypod');
  await photograph('pods');
  expect(complaints).toEqual([]);
}, 180_000);

test('the list follows what others do, without asking again', async () => {
  await page.goto(`${origin()}/#/pods`);
  await see('mypod');
  const asked: string[] = [];
  page.on('request', (request) => asked.push(request.url()));
  await program.api('POST', '/v3/pods/mypod/start');
  await see('Running');
  expect(asked.filter((url) => !url.includes('/events'))).toEqual([]);
  expect(complaints).toEqual([]);
});

test('the operator page and the documentation of the API', async () => {
  await page.goto(`${origin()}/#/operator`);
  await see('0 delayed, 0 parked.');
  await see('Sessions of TCP and Postgres');
  // The refusal of the first test.
  await see('route.stopped');
  expect(await seriousProblems()).toEqual([]);
  await photograph('operator');
  await page.goto(`${origin()}/docs`);
  await see('/v3/pods/{pod_id}/credentials');
  expect(await seriousProblems()).toEqual([]);
  await photograph('docs');
  expect(complaints).toEqual([]);
});

test('a login link works once, and a cookie alone is nothing', async () => {
  const link = await loginLink();
  const code = new URL(link).hash.slice('#login='.length);
  const logIn = (headers: Record<string, string> = {}) =>
    fetch(`${origin()}/console/session`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...headers },
      body: JSON.stringify({ code }),
    });
  expect((await logIn({ origin: 'https://mypod.pods.localhost' })).status).toBe(403);
  const first = await logIn();
  expect(first.status).toBe(200);
  expect((await logIn()).status).toBe(401);
  const setCookie = first.headers.get('set-cookie') ?? '';
  expect(setCookie).toMatch(/^podgate-console=[\w.-]+; Path=\/; Max-Age=43200; HttpOnly; SameSite=Strict$/);
  const cookie = setCookie.split(';')[0] ?? '';
  const { key } = ((await first.json()) as { result: { key: string } }).result;
  const list = async (headers: Record<string, string>) => (await fetch(`${origin()}/v3/pods`, { headers })).status;
  expect(await list({ cookie })).toBe(401);
  expect(await list({ 'x-podgate-session': key })).toBe(401);
  expect(await list({ cookie, 'x-podgate-session': `${key}x` })).toBe(401);
  expect(await list({ cookie, 'x-podgate-session': key, 'sec-fetch-site': 'same-site' })).toBe(403);
  expect(await list({ cookie, 'x-podgate-session': key })).toBe(200);
  // Pages can set no header for a WebSocket: the key is one of its subprotocols.
  const terminal = (key: string, headers: Record<string, string>) =>
    new Promise<number>((resolve) => {
      const protocols = ['podgate.terminal.v1', `podgate.session.${key}`];
      const socket = new WebSocket(`${origin()}/v3/pods/nopod/terminal`.replace('http', 'ws'), protocols, { headers });
      socket.on('error', () => undefined);
      socket.once('unexpected-response', (request, { statusCode = 0 }) => {
        resolve(statusCode);
        request.destroy();
      });
    });
  expect(await terminal(key, { cookie, origin: origin() })).toBe(404);
  expect(await terminal(`${key}x`, { cookie, origin: origin() })).toBe(401);
  expect(await terminal(key, { origin: origin() })).toBe(401);
  expect(await terminal(key, { cookie, origin: 'https://mypod.pods.localhost' })).toBe(403);
});

test('it is small, and allows no script or style but its own files', async () => {
  const paths = ['/', ...(await pathsOf('/'))];
  let bytes = 0;
  for (const path of paths) {
    const response = await fetch(`${origin()}${path}`, { headers: { 'accept-encoding': 'br' } });
    expect(response.status, path).toBe(200);
    expect(response.headers.get('content-security-policy')).toMatch(/^default-src 'none'; script-src 'self';/);
    bytes += Number(response.headers.get('content-length'));
  }
  expect(bytes).toBeLessThan(150_000);
});

/** The files that the page loads. */
async function pathsOf(path: string): Promise<readonly string[]> {
  const loaded: string[] = [];
  const fresh = await browser.newPage();
  fresh.on('request', (request) => loaded.push(new URL(request.url()).pathname));
  await fresh.goto(`${origin()}${path}`);
  // All modules have been loaded once it shows something of its own.
  await fresh.waitForSelector('h1', { timeout: DEADLINE_MS });
  await fresh.close();
  return [...new Set(loaded.filter((each) => each.startsWith('/console/') && each !== '/console/session'))];
}

/** A request to a pod that is stopped; the sentence that its client reads. */
async function refusedRequest(podId: string): Promise<{ refusal: string }> {
  const { request } = await import('node:https');
  const host = `${podId}.pods.localhost`;
  const status = await new Promise<number>((resolve, reject) => {
    const options = { host: '127.0.0.1', port: program.httpsPort, servername: host, ca: program.ca, headers: { host } };
    request(options, (response) => {
      response.resume();
      resolve(response.statusCode ?? 0);
    })
      .once('error', reject)
      .end();
  });
  expect(status).toBe(503);
  return { refusal: `Pod ${podId} is not running: its status is STOPPED.` };
}
