import { afterAll, beforeAll, expect, test } from 'vitest';
import { WebSocket } from 'ws';
import { ConsolePage } from '../support/console-page.ts';
import { until } from '../support/until.ts';

/** The console in Chromium. A message in its log, a CSP violation or a failed request that nobody expects fails the test. */
let shown: ConsolePage;

beforeAll(async () => {
  shown = await ConsolePage.start();
}, 120_000);
afterAll(() => shown.dispose());

test('a new user creates a pod, connects, reads its log, and sees why a client was refused', async () => {
  const link = await shown.loginLink();
  expect(link).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/#login=[\w-]{32}$/);
  await shown.page.goto(link);
  await shown.see('No pods yet');
  expect(shown.page.url()).not.toContain('login');
  expect(await shown.seriousProblems()).toEqual([]);

  await shown.page.goto(`${shown.origin}/#/new`);
  await shown.page.waitForSelector('#field-id');
  await shown.page.type('#field-id', 'Bad');
  await shown.see('Start with a lowercase letter');
  expect(await nameProblem()).toMatch(/^in red below the field: Start with a lowercase letter/);
  expect(await shown.seriousProblems()).toEqual([]);
  await shown.photograph('new-wrong-name');
  await shown.page.$eval('#field-id', (field) => (field as unknown as { select: () => void }).select());
  // Too short is a problem only once the field is left.
  await shown.page.type('#field-id', 'my');
  expect(await nameProblem()).toBeNull();
  await shown.page.keyboard.press('Tab');
  await shown.see('At least 3 characters.');
  await shown.page.$eval('#field-id', (field) => (field as unknown as { select: () => void }).select());
  await shown.page.type('#field-id', 'mypod');
  await shown.page.click('input[value="podgate/process"]');
  await shown.page.type(
    '#field-command',
    `sh -c "echo said by the pod; exec python3 -m http.server --bind 127.0.0.1 $PORT"`,
  );
  await shown.see('./podgate create mypod --template podgate/process -- sh -c');
  // Generated from the schema of the API: bounds, choices and explanations are those of the call.
  await shown.page.click('form.new summary');
  await shown.page.waitForSelector('#field-resources-mem_limit[type=number][min="256"]');
  await shown.page.type('#field-resources-mem_limit', '512');
  await shown.page.type('#field-environment_variables', 'GREETING=hello');
  await shown.see('./podgate create mypod --template podgate/process --memory 512 --env GREETING=hello -- sh -c');
  await shown.page.type('#field-networking', '{');
  await shown.page.click('button[type=submit]');
  await shown.see('Networking: this is not JSON.');
  await shown.page.$eval('#field-networking', (field) => (field as unknown as { select: () => void }).select());
  await shown.page.keyboard.press('Backspace');
  await until('the problem is gone', async () => !(await shown.text()).includes('not JSON'));
  expect(await shown.seriousProblems()).toEqual([]);
  await shown.photograph('new');
  await shown.page.click('button[type=submit]');

  await shown.see('Running');
  const pod = (await shown.program.get('/v3/pods/mypod')).body.result;
  expect(pod).toMatchObject({ resources: { mem_limit: 512 }, environment_variables: { GREETING: 'hello' } });
  await shown.see('said by the pod');
  await shown.see(/Uses \d+(\.\d)? MiB of 512 MiB of memory and [\d.]+ of [\d.]+ CPU cores\./);
  await shown.see(`curl --cacert ${shown.program.caPath} https://mypod.pods.localhost:${shown.program.httpsPort}/`);
  expect(await shown.seriousProblems()).toEqual([]);
  await shown.photograph('pod');

  await shown.clickButton('Stop');
  await shown.see('Stopped');
  const { refusal } = await refusedRequest('mypod');
  await shown.see(refusal);

  // The ribbon of the last 24 hours; its list says why each status began.
  await shown.page.click('.history summary');
  await shown.see("'admin' ran stop_pod, set to OFF");
  await shown.page.waitForSelector('.ribbon[aria-label^="In the last 24 hours"]');

  await shown.clickButton('Explain');
  await shown.see('The status of pod mypod is STOPPED.');
  await shown.see('Start it: podgate start mypod.');
  expect(await shown.page.$$eval('.waterfall li', (rows) => rows.length)).toBeGreaterThan(1);
  // The time to the first byte of the requests that its readiness took, and the traffic since the page was opened.
  await shown.page.waitForSelector('.chart polyline');
  // Its refusal is among the last connections, and opens to its steps by the keyboard.
  await shown.page.focus('.recent summary');
  await shown.page.keyboard.press('Enter');
  await shown.page.waitForSelector('.recent details[open] .waterfall');
  expect(await shown.page.evaluate(`document.querySelector('.recent summary').textContent`)).toContain('route.stopped');
  expect(await shown.seriousProblems()).toEqual([]);
  await shown.photograph('explained');

  // A name that is taken is a problem of the field, too.
  await shown.page.goto(`${shown.origin}/#/new`);
  await shown.page.type('#field-id', 'mypod');
  await shown.page.click('button[type=submit]');
  await shown.see('There is already a pod mypod.');
  expect(await nameProblem()).toBe('in red below the field: There is already a pod mypod.');
  expect(await shown.page.evaluate(`document.activeElement.id`)).toBe('field-id');
  // The browser writes the status 409 to its log.
  expect(shown.complaints.splice(0)).toEqual([expect.stringContaining('409')]);

  await shown.page.goto(`${shown.origin}/#/pods`);
  await shown.see('mypod');
  await shown.photograph('pods');
  expect(shown.complaints).toEqual([]);
}, 300_000);

test('a list that cannot be read says so after a few seconds, and is shown as soon as Podgate responds', async () => {
  await shown.page.goto(`${shown.origin}/#/operator`);
  await shown.see('0 delayed, 0 parked.');
  const pid = shown.program.children('control')[0]?.pid ?? 0;
  process.kill(pid, 'SIGSTOP');
  try {
    await shown.page.evaluate(`location.hash = '#/pods'`);
    await shown.see('Podgate does not respond. It may be busy or starting again.');
    await shown.see('run ./podgate doctor on the machine that runs Podgate');
    expect(await shown.seriousProblems()).toEqual([]);
    await shown.photograph('no-response');
  } finally {
    process.kill(pid, 'SIGCONT');
  }
  await shown.see('mypod');
  expect(await shown.text()).not.toContain('does not respond');
  expect(shown.complaints).toEqual([]);
});

test('a list that is open while the control process ends says so, and goes on by itself', async () => {
  const pid = shown.program.children('control')[0]?.pid ?? 0;
  process.kill(pid, 'SIGKILL');
  await shown.see('The page tries again.');
  await until('it is gone', async () => !(await shown.text()).includes('tries again'), { timeoutMs: 30_000 });
  await shown.program.api('POST', '/v3/pods/mypod/start');
  await shown.see('Running');
  await shown.program.api('POST', '/v3/pods/mypod/stop');
  await shown.see('Stopped');
  // The browser writes refused requests to its log.
  for (const each of shown.complaints.splice(0)) expect(each).toMatch(/Failed to load resource/);
}, 60_000);

test('the list shows changes by others without a reload', async () => {
  await shown.page.goto(`${shown.origin}/#/pods`);
  await shown.see('mypod');
  const asked: string[] = [];
  shown.page.on('request', (request) => asked.push(request.url()));
  await shown.program.api('POST', '/v3/pods/mypod/start');
  await shown.see('Running');
  await shown.see(/\d MiB of 512 MiB/);
  await shown.see(/\d of 2/);
  expect(asked.filter((url) => !/\/(events|metrics\?.*)$/.test(url))).toEqual([]);
  // The traffic, once it has been read twice: a line with its values in words.
  const load = setInterval(() => void requestTo('mypod').catch(() => undefined), 500);
  try {
    await shown.page.waitForSelector('.traffic svg polyline');
    await shown.page.waitForSelector(
      '.traffic svg[aria-label^="In the last "][aria-label$="/s"]:not([aria-label*=" 0 B/s"])',
    );
  } finally {
    clearInterval(load);
  }
  expect(await shown.text()).toMatch(/\d B\/s|\d [KM]iB\/s/);
  expect(await shown.seriousProblems()).toEqual([]);
  await shown.photograph('pods');
  expect(shown.complaints).toEqual([]);
});

test('the operator page and the documentation of the API', async () => {
  await shown.page.goto(`${shown.origin}/#/operator`);
  await shown.see('0 delayed, 0 parked.');
  await shown.see('Sessions of TCP and Postgres');
  // The refusal of the first test.
  await shown.see('route.stopped');
  expect(await shown.seriousProblems()).toEqual([]);
  await shown.photograph('operator');
  await shown.page.goto(`${shown.origin}/docs`);
  await shown.see('/v3/pods/{pod_id}/credentials');
  expect(await shown.seriousProblems()).toEqual([]);
  await shown.photograph('docs');
  expect(shown.complaints).toEqual([]);
});

test('the history of a pod shows its action log', async () => {
  await shown.page.goto(`${shown.origin}/`);
  const lines = [
    "26/11/28 09:00: Pod object created by 'alice'",
    "26/11/28 10:00: 'alice' ran start_pod, set to ON and REQUESTED",
    '26/11/28 10:00: spawner set status to SPAWNER_SETUP',
    '26/11/28 10:02: health set status to RUNNING',
    "26/11/28 10:03: 'alice' ran a command: ls",
    '26/11/28 11:00: health set status to ERROR: It ended with code 1.',
    'no line of a log',
  ];
  const at = (time: string) => Date.parse(`2026-11-28T${time}:00Z`);
  const over = (lines: readonly string[], fromMs: number, now: string) =>
    shown.page.evaluate(`import('/console/history.js').then(({ statusHistory }) =>
      statusHistory(${JSON.stringify(lines)}, ${JSON.stringify({ fromMs, toMs: at('12:00'), now })}))`);
  const span = (status: string | null, from: string, to: string, reason = '') => ({
    ...{ status, fromMs: at(from), toMs: at(to), reason },
  });
  expect(await over(lines, at('08:00'), 'ERROR')).toEqual([
    span('STOPPED', '09:00', '10:00', "Pod object created by 'alice'"),
    span('SPAWNER_SETUP', '10:00', '10:02', "'alice' ran start_pod, set to ON and REQUESTED"),
    span('RUNNING', '10:02', '11:00'),
    span('ERROR', '11:00', '12:00', 'It ended with code 1.'),
  ]);
  // Only what is left of a long log, and a status that is not in it yet.
  expect(await over(lines.slice(3, 5), at('09:30'), 'SHUTTING_DOWN')).toEqual([
    span(null, '09:30', '10:02'),
    span('RUNNING', '10:02', '11:59'),
    span('SHUTTING_DOWN', '11:59', '12:00'),
  ]);
  expect(await over([], at('09:30'), 'RUNNING')).toEqual([span('RUNNING', '09:30', '12:00')]);
});

test('a login link works once, and a cookie alone gives no access', async () => {
  const link = await shown.loginLink();
  const code = new URL(link).hash.slice('#login='.length);
  const logIn = (headers: Record<string, string> = {}) =>
    fetch(`${shown.origin}/console/session`, {
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
  const list = async (headers: Record<string, string>) => (await fetch(`${shown.origin}/v3/pods`, { headers })).status;
  expect(await list({ cookie })).toBe(401);
  expect(await list({ 'x-podgate-session': key })).toBe(401);
  expect(await list({ cookie, 'x-podgate-session': `${key}x` })).toBe(401);
  expect(await list({ cookie, 'x-podgate-session': key, 'sec-fetch-site': 'same-site' })).toBe(403);
  expect(await list({ cookie, 'x-podgate-session': key })).toBe(200);
  // Pages can set no header for a WebSocket: the key is one of its subprotocols.
  const terminal = (key: string, headers: Record<string, string>) =>
    new Promise<number>((resolve) => {
      const protocols = ['podgate.terminal.v1', `podgate.session.${key}`];
      const socket = new WebSocket(`${shown.origin}/v3/pods/nopod/terminal`.replace('http', 'ws'), protocols, {
        headers,
      });
      socket.on('error', () => undefined);
      socket.once('unexpected-response', (request, { statusCode = 0 }) => {
        resolve(statusCode);
        request.destroy();
      });
    });
  expect(await terminal(key, { cookie, origin: shown.origin })).toBe(404);
  expect(await terminal(`${key}x`, { cookie, origin: shown.origin })).toBe(401);
  expect(await terminal(key, { origin: shown.origin })).toBe(401);
  expect(await terminal(key, { cookie, origin: 'https://mypod.pods.localhost' })).toBe(403);
});

test('it is small, and allows only its own scripts and styles', async () => {
  const sizes = new Map<string, number>();
  for (const waiting = ['/', '/docs']; waiting.length > 0;) {
    const path = waiting.pop() ?? '';
    if (sizes.has(path)) continue;
    const response = await fetch(`${shown.origin}${path}`, { headers: { 'accept-encoding': 'br' } });
    expect(response.status, path).toBe(200);
    expect(response.headers.get('content-security-policy')).toMatch(/^default-src 'none'; script-src 'self';/);
    sizes.set(path, Number(response.headers.get('content-length')));
    const named = (await response.text()).matchAll(/["'](\/console\/[\w.-]+\.(?:js|css|svg))["']/g);
    for (const [, each = ''] of named) waiting.push(each);
  }
  expect([...sizes.keys()]).toContain('/console/xterm.js');
  const total = (paths: Iterable<string>) => [...paths].reduce((sum, path) => sum + (sizes.get(path) ?? 0), 0);
  expect(total(sizes.keys())).toBeLessThan(150_000);
  // The terminal, most of it, is loaded when somebody opens one.
  expect(total(['/', ...(await pathsOf('/'))])).toBeLessThan(60_000);
});

/** The files that the page loads. */
async function pathsOf(path: string): Promise<readonly string[]> {
  const loaded: string[] = [];
  const fresh = await shown.browser.newPage();
  fresh.on('request', (request) => loaded.push(new URL(request.url()).pathname));
  await fresh.goto(`${shown.origin}${path}`);
  // All modules have been loaded once it shows something of its own.
  await fresh.waitForSelector('h1');
  await fresh.close();
  return [...new Set(loaded.filter((each) => each.startsWith('/console/') && each !== '/console/session'))];
}

/** What the form says about the name, if it is in the color of problems and below the field; null where it says nothing. */
async function nameProblem(): Promise<unknown> {
  return await shown.page.evaluate(`(() => {
    const [field, hint] = ['field-id', 'id-hint'].map((id) => document.getElementById(id));
    if (field.getAttribute('aria-invalid') !== 'true') return null;
    const [red, green, blue] = getComputedStyle(hint).color.match(/\\d+/g).map(Number);
    const below = hint.getBoundingClientRect().top - field.getBoundingClientRect().bottom;
    const isThere = red > 2 * green && red > 2 * blue && below >= 0 && below < 20;
    return (isThere ? 'in red below the field: ' : 'elsewhere: ') + hint.innerText;
  })()`);
}

/** A request to a pod that is stopped; the sentence that its client reads. */
async function refusedRequest(podId: string): Promise<{ refusal: string }> {
  expect(await requestTo(podId)).toBe(503);
  return { refusal: `Pod ${podId} is not running: its status is STOPPED.` };
}

async function requestTo(podId: string): Promise<number> {
  const { request } = await import('node:https');
  const host = `${podId}.pods.localhost`;
  return await new Promise<number>((resolve, reject) => {
    const options = {
      host: '127.0.0.1',
      port: shown.program.httpsPort,
      servername: host,
      ca: shown.program.ca,
      headers: { host },
    };
    request(options, (response) => {
      response.resume();
      resolve(response.statusCode ?? 0);
    })
      .once('error', reject)
      .end();
  });
}
