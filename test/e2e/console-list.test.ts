import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Browser, type CDPSession, type Page } from 'puppeteer-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { openConsolePages } from '../../control/resources/console/console-pages.ts';
import { LoginLinks } from '../../control/resources/console/login-links.ts';
import { OauthLogins } from '../../control/resources/console/oauth-logins.ts';
import { Sessions } from '../../control/resources/console/sessions.ts';
import { openKeyringVault } from '../../control/vault/keyring-vault.ts';
import { podPut } from '../../core/pod-put.ts';
import { ApiStand } from '../integration/api/api-stand.ts';
import { openChromium } from '../support/console-page.ts';
import { silentLog } from '../support/silent-log.ts';
import { until } from '../support/until.ts';
import { quotasOf } from '../unit/control/limits.ts';

/** The list of pods in Chromium, with 10,000 that run and whose traffic changes all the time. */
const PODS = 10_000;
const BATCH = 500;
/** A task of the page that takes longer is felt. In CPU time: the machine may have other things to do. */
const TASK_MAX_MS = 50;
let stand: ApiStand;
let browser: Browser;
let page: Page;
let devtools: CDPSession;
let directory: string;
/** How many pods each question to the workers was about. */
const asked: number[] = [];
const complaints: string[] = [];

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'podgate-console-list-'));
  const vault = openKeyringVault(join(directory, 'keyring.json'));
  const clock = { now: () => Date.now(), monotonicMs: () => performance.now() };
  const links = new LoginLinks(clock.monotonicMs);
  stand = await ApiStand.start({
    quotas: quotasOf({ pods: PODS + 1 }),
    pages: await openConsolePages(join(import.meta.dirname, '../../console')),
    console: {
      sessions: new Sessions({ vault, clock }),
      oauthLogins: new OauthLogins({ vault, clock, log: silentLog }),
      links,
      issueToken: () => stand.token('alice'),
      caPath: null,
      operator: {
        queue: { stats: () => stand.database.queue.stats(), parked: (now) => stand.database.queue.parked(now) },
        metrics: async () => '',
      },
    },
  });
  await stand.create('alice', 'model');
  await stand.overwrite('model', { status: 'RUNNING' });
  const model = await stand.record('model');
  for (let start = 0; start < PODS; start += BATCH) {
    const puts = Array.from({ length: BATCH }, (_, at) => {
      const podId = `pod${String(start + at).padStart(5, '0')}`;
      return podPut({ ...model, podId, uid: `uid-${podId}` }, 'absent');
    });
    await stand.database.store.commit({ puts });
  }
  let total = 0;
  stand.traffic = async (uids) => {
    asked.push(uids.length);
    total += 100_000;
    const counts = { sessionsNow: 1, requestsNow: 0, sessions: total, requests: total, refusals: 0, bytesIn: 0 };
    const of = (index: number) => ({ ...counts, bytesOut: total * (1 + (index % 7)) });
    return { traffic: new Map(uids.map((uid, index) => [uid, of(index)])), missing: [] };
  };
  ({ browser, page } = await openChromium(directory));
  page.on('pageerror', (error) => complaints.push(String(error)));
  page.on('console', (message) => {
    if (message.type() === 'error' || message.type() === 'warn') complaints.push(message.text());
  });
  devtools = await page.createCDPSession();
  await devtools.send('Performance.enable', { timeDomain: 'threadTicks' });
  await page.goto(`${stand.url}/#login=${links.create()}`);
}, 120_000);
afterAll(async () => {
  await browser.close();
  await stand.close();
  rmSync(directory, { recursive: true, force: true });
});

/** CPU time of the page's main thread so far. */
async function busyMs(): Promise<number> {
  const { metrics } = await devtools.send('Performance.getMetrics');
  return 1_000 * (metrics.find(({ name }) => name === 'TaskDuration')?.value ?? NaN);
}
const rows = (): Promise<unknown> => page.evaluate(`document.querySelectorAll('.pod-row[aria-rowindex]').length`);

test('10,000 pods scroll without jank, and only those in view are asked about, together', async () => {
  await until(
    'all are there',
    async () => String(await page.evaluate('document.body.innerText')).includes('10,001 pods'),
    {
      timeoutMs: 60_000,
    },
  );
  await page.waitForSelector('.traffic svg polyline', { timeout: 30_000 });
  // A screenful, however many there are.
  expect(await rows()).toBeLessThan(60);
  expect(Math.max(...asked)).toBeLessThan(60);
  const height = Number(await page.evaluate('document.documentElement.scrollHeight'));
  const steps: number[] = [];
  const before = asked.length;
  for (let step = 1; step <= 60; step += 1) {
    const startedMs = await busyMs();
    // Two frames: what the scroll has caused is drawn by then.
    await page.evaluate(
      `new Promise((done) => {
        scrollTo(0, ${Math.round((height * step) / 61)});
        requestAnimationFrame(() => requestAnimationFrame(done));
      })`,
    );
    steps.push((await busyMs()) - startedMs);
  }
  steps.sort((a, b) => b - a);
  console.log(
    `CPU per step of a scroll through ${PODS} pods: at most ${steps[0]?.toFixed(1)} ms, median ${steps[30]?.toFixed(1)} ms`,
  );
  expect(steps[0]).toBeLessThan(TASK_MAX_MS);
  // Those scrolled past are not asked about.
  expect(asked.length - before).toBeLessThan(10);
  const shown = await page.evaluate(`document.querySelector('.pod-row a[href^="#/pods/pod098"]') !== null`);
  expect(shown).toBe(true);
  expect(await rows()).toBeLessThan(60);
  expect(complaints).toEqual([]);
}, 120_000);

test('a reading of the traffic of 100 pods for five minutes is drawn in a short task', async () => {
  const read = (turns: number): Promise<unknown> =>
    page.evaluate(`import('/console/sparkline.js').then(({ noteTraffic }) => {
      for (let turn = 0; turn < ${turns}; turn += 1) {
        noteTraffic(Array.from({ length: 100 }, (_, at) => ({
          pod_id: 'drawn' + at,
          traffic: { bytes_in: turn * at, bytes_out: turn * turn * at },
        })));
      }
    })`);
  await read(60);
  const startedMs = await busyMs();
  await read(20);
  // CPU time, since others use the processor, too. What else the page does meanwhile counts as well.
  expect(((await busyMs()) - startedMs) / 20).toBeLessThan(TASK_MAX_MS);
  expect(complaints).toEqual([]);
});
