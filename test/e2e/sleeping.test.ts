import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect as connectTcp } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect as connectTls } from 'node:tls';
import pg from 'pg';
import { launch, type Page } from 'puppeteer-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { preparedNeo4jHome } from '../../scripts/setup/cache.mjs';
import { freePorts } from '../support/free-ports.ts';
import { OauthServer } from '../support/oauth-server.ts';
import { Program } from '../support/program.ts';
import { run } from '../support/run.ts';
import { until } from '../support/until.ts';
import { askDriver, type Language, LANGUAGES, type Said } from './clients/neo4j-drivers.ts';
import { logIn } from './clients/oauth-pages.ts';

const WEB = 'web.pods.localhost';
const PG = 'mypg.pods.localhost';
const GRAPH = 'mygraph.pods.localhost';
const SITE = 'site.pods.localhost';
/** Of a tenant with an OAuth server: its pod asks for a login. */
const DEV = 'dev.localhost';
const PRIVATE = `private.pods.${DEV}`;
/** Each is woken while the control process is killed, so long after its client has come. */
const KILLED_AFTER_MS: Readonly<Record<string, number>> = { kill0: 0, kill1: 60, kill2: 150, kill3: 400, kill4: 900 };
const KILLED = Object.keys(KILLED_AFTER_MS);
const ALL = ['web', 'site', 'mypg', 'mygraph', ...KILLED];
/** The least that the API takes. */
const SLEEP = { after_seconds: 60, hold_seconds: 60 };
/** The time without use, or twice as long as a slow start took, a tenth of it between two looks, and the shutdown. */
const ASLEEP_WITHIN_MS = 170_000;

interface Credentials {
  readonly user_username: string;
  readonly user_password: string;
}

const directory = mkdtempSync(join(tmpdir(), 'podgate-sleeping-'));
let oauth: OauthServer;
let program: Program;
let ofPg: Credentials;
let ofGraph: Credentials;
/** Of a pool, so to say: it asks nothing after its login. */
let idle: pg.Client;
const errorsOfIdle: unknown[] = [];

beforeAll(async () => {
  const ports = await freePorts(3);
  const file = join(directory, 'podgate.yaml');
  writeFileSync(file, await configuration(ports[0] ?? 0));
  program = await Program.start({ ports, env: { NEO4J_HOME: preparedNeo4jHome(), PODGATE_CONFIG: file } });
  await Promise.all([
    apiOfDev('/v3/pods', '--json', JSON.stringify(PRIVATE_POD)),
    program.createPod({
      ...{ pod_id: 'web', pod_template: 'podgate/hello' },
      sleep: { ...SLEEP, probe_paths: ['/healthz'] },
    }),
    ...['site', ...KILLED].map((podId) =>
      program.createPod({ pod_id: podId, pod_template: 'podgate/hello', sleep: SLEEP }),
    ),
    program.createPod({ pod_id: 'mypg', pod_template: 'postgres', sleep: SLEEP }),
    program.api('POST', '/v3/pods', { pod_id: 'mygraph', pod_template: 'neo4j', sleep: SLEEP }),
  ]);
  await program.podStatus('mygraph', 'RUNNING', 150_000);
  const credentials = async (podId: string) =>
    (await program.get(`/v3/pods/${podId}/credentials`)).body.result as Credentials;
  [ofPg, ofGraph] = await Promise.all([credentials('mypg'), credentials('mygraph')]);
  expect(await psql('create table kept (word text); insert into kept values ($$still here$$)')).toMatchObject({
    code: 0,
  });
  idle = npmPg();
  idle.on('error', (error) => errorsOfIdle.push(error));
  await idle.connect();
  expect(await cypher('JavaScript', 'CREATE (n:Kept {word: "still here"}) RETURN n.word AS word')).toMatchObject(
    STILL_HERE,
  );
}, 240_000);
afterAll(async () => {
  await program.dispose();
  await oauth.close();
  rmSync(directory, { recursive: true, force: true });
});

const PRIVATE_POD = {
  ...{ pod_id: 'private', pod_template: 'podgate/hello', sleep: SLEEP },
  networking: { default: { protocol: 'http', port: 8080, tapis_auth: true } },
};
/** Two tenants: Podgate's own, and one with an OAuth server, which this starts. */
const configuration = async (port: number) => {
  oauth = await OauthServer.start([`https://${DEV}:${port}/v3/pods/auth/callback`]);
  const endpoints = { tokenEndpoint: `${oauth.issuer}/token`, authorizationEndpoint: `${oauth.issuer}/auth` };
  const dev = { id: 'dev', baseHost: DEV, issuer: oauth.issuer, jwks: oauth.jwks, administrators: ['alice'] };
  const ofDev = { ...dev, oauth: { clientId: 'podgate-web', scope: 'pods', ...endpoints } };
  // YAML contains JSON.
  return JSON.stringify({ tenants: [{ id: 'default', baseHost: 'localhost' }, ofDev] });
};
const STILL_HERE = { record: { word: 'still here' } };
const psql = (sql: string, as = ofPg.user_username) => {
  const at = `host=${PG} hostaddr=127.0.0.1 port=${program.httpsPort}`;
  const conninfo = `${at} sslmode=verify-full sslrootcert=${program.caPath} user=${as} dbname=postgres`;
  return run('psql', [conninfo, '-XAtq', '-v', 'ON_ERROR_STOP=1', '-c', sql], {
    env: { PGPASSWORD: ofPg.user_password },
  });
};
const npmPg = () =>
  new pg.Client({
    ...{ host: '127.0.0.1', port: program.httpsPort, database: 'postgres' },
    ...{ user: ofPg.user_username, password: ofPg.user_password },
    ssl: { servername: PG, ca: program.ca },
  });
/** What a driver says, with its defaults, over neo4j+s: it asks for a routing table first. */
const cypher = async (language: Language, query: string): Promise<Said | undefined> => {
  const uris = [`neo4j+s://${GRAPH}:${program.httpsPort}`];
  const { user_username: user, user_password: password } = ofGraph;
  const { caPath } = program;
  return (await askDriver(language, { uris, user, password, query, caPath, directory: program.dataDir }))[0];
};
const curl = (path: string, ...options: readonly string[]) => curlOf(WEB, path, ...options);
const curlOf = (host: string, path: string, ...options: readonly string[]) => {
  const resolve = `${host}:${program.httpsPort}:127.0.0.1`;
  const url = `https://${host}:${program.httpsPort}${path}`;
  return run('curl', [
    '-sS',
    '--cacert',
    program.caPath,
    '--resolve',
    resolve,
    '-w',
    '\n%{http_code}',
    ...options,
    url,
  ]);
};
interface PodState {
  readonly status: string;
  readonly status_requested: string;
  readonly asleep_since: string | null;
  readonly last_used_ts: string | null;
  readonly awake_because: readonly string[] | null;
  readonly action_logs: readonly string[];
}
const pod = async (podId: string) => (await program.get(`/v3/pods/${podId}`)).body.result as PodState;
/** The host of a call decides on its tenant. */
const apiOfDev = async (path: string, ...options: readonly string[]): Promise<PodState> => {
  const token = ['-H', `X-Tapis-Token: ${await oauth.tokenOf('alice')}`];
  const { stdout, stderr } = await curlOf(DEV, path, ...token, ...options);
  const lines = stdout.trimEnd().split('\n');
  expect(lines.pop(), stdout + stderr).toBe('200');
  return (JSON.parse(lines.join('\n')) as { readonly result: PodState }).result;
};
const browse = async <T>(work: (page: Page) => Promise<T>): Promise<T> => {
  const browser = await launch({
    executablePath: '/usr/bin/chromium',
    args: ['--no-sandbox', '--disable-gpu', `--user-data-dir=${mkdtempSync(join(directory, 'chromium-'))}`],
    acceptInsecureCerts: true,
  });
  try {
    return await work(await browser.newPage());
  } finally {
    await browser.close();
  }
};
const untilPodResponds = (page: Page) =>
  page.waitForFunction('performance.getEntriesByType("navigation")[0].responseStatus === 200', { timeout: 30_000 });
const pathOf = (page: Page) => page.url().slice(page.url().indexOf('/', 'https://'.length));
/** Opens a page until the pod itself responds: what the browser saw first, and where it is in the end. */
const browseSite = (path: string) =>
  browse(async (page) => {
    const first = await page.goto(`https://${SITE}:${program.httpsPort}${path}`);
    await untilPodResponds(page);
    return { firstStatus: first?.status(), path: pathOf(page) };
  });
/** Seldom: each call asks the gateway workers. */
const untilAllSleep = () =>
  until('all are asleep', async () => (await Promise.all(ALL.map(pod))).every(({ status }) => status === 'ASLEEP'), {
    timeoutMs: ASLEEP_WITHIN_MS,
    everyMs: 1_000,
  });
const wakes = async (podId: string) => {
  const { action_logs: lines } = (await program.get(`/v3/pods/${podId}/logs`)).body.result as { action_logs: string[] };
  return lines.filter((line) => line.includes('woken by'));
};

test('a pod in use says why it is awake, and goes to sleep a minute after its last use', async () => {
  const sleeper = psql('select pg_sleep(3)');
  await until('the query is seen', async () => (await pod('mypg')).awake_because?.join().includes('1 query running'));
  await sleeper;
  await untilAllSleep();
  for (const podId of ALL) {
    const asleep = await pod(podId);
    expect(asleep).toMatchObject({ status_requested: 'ON', awake_because: null });
    expect(Date.parse(asleep.asleep_since ?? '')).toBeGreaterThan(Date.parse(asleep.last_used_ts ?? '0'));
    expect(asleep.action_logs.join()).toContain('went to sleep after 1 min without use');
  }
  expect(errorsOfIdle[0]).toMatchObject({ code: '57P01' });
  const { body } = await program.get('/v3/pods/web?status_names=tapis');
  expect(body.result).toMatchObject({ status: 'AVAILABLE' });
}, 240_000);

test('connections alone, probes, HEAD, pg_isready and unknown users wake no pod', async () => {
  const tcp = connectTcp(program.httpsPort, '127.0.0.1');
  await once(tcp, 'connect');
  tcp.destroy();
  for (const servername of [WEB, PG, GRAPH]) {
    const tls = connectTls({ port: program.httpsPort, host: '127.0.0.1', servername, ca: program.ca });
    await once(tls, 'secureConnect');
    tls.destroy();
  }
  expect((await curl('/healthz')).stdout).toMatch(/200$/);
  expect((await curl('/', '--head')).stdout).toMatch(/retry-after: \d+[\s\S]*503$/i);
  const isReady = await run('pg_isready', [
    '-d',
    `host=${PG} hostaddr=127.0.0.1 port=${program.httpsPort} sslmode=require`,
  ]);
  expect(isReady.stdout).toContain('rejecting');
  expect((await psql('select 1', 'stranger')).code).not.toBe(0);
  for (const podId of ALL) expect(await pod(podId)).toMatchObject({ status: 'ASLEEP' });
});

test('a browser without a login does not wake its pod; after the login it wakes it, and ends on the page that it asked for', async () => {
  const privatePod = () => apiOfDev('/v3/pods/private');
  await until('it is asleep', async () => (await privatePod()).status === 'ASLEEP', {
    timeoutMs: ASLEEP_WITHIN_MS,
    everyMs: 1_000,
  });
  await browse(async (page) => {
    await page.goto(`https://${PRIVATE}:${program.httpsPort}/a/page?of=mine`);
    expect(new URL(page.url()).origin).toBe(oauth.issuer);
    expect(await privatePod()).toMatchObject({ status: 'ASLEEP' });
    await logIn(page, 'alice');
    await untilPodResponds(page);
    expect(pathOf(page)).toBe('/a/page?of=mine');
    expect(await page.evaluate('document.body.innerText')).toContain('Hello from private');
  });
  const awake = await privatePod();
  expect(awake).toMatchObject({ status: 'RUNNING' });
  expect(awake.action_logs.filter((line) => line.includes('woken by'))).toHaveLength(1);
}, 240_000);

test('clients wake their pods and get their answer at the first attempt, also forty at once: one start of each', async () => {
  const words = LANGUAGES.map(async (language) => {
    for (;;) {
      const said = await cypher(language, 'MATCH (n:Kept) RETURN n.word AS word');
      // A Neo4j may need longer for its start than a driver can wait: then the driver is to try again.
      if (said?.retryable !== true) return said;
    }
  });
  const pages = Array.from({ length: 30 }, () => curl('/'));
  const browsed = browseSite('/a/page?of=mine');
  const npm = npmPg();
  const connected = npm.connect();
  const rows = Array.from({ length: 10 }, () => psql('select word from kept'));
  for (const page of await Promise.all(pages)) {
    expect(page).toMatchObject({ code: 0, stderr: '' });
    expect(page.stdout).toMatch(/200$/);
  }
  for (const row of await Promise.all(rows)) expect(row).toEqual({ code: 0, stdout: 'still here\n', stderr: '' });
  await connected;
  expect((await npm.query('select word from kept')).rows).toEqual([{ word: 'still here' }]);
  await npm.end();
  expect(await browsed).toEqual({ firstStatus: 503, path: '/a/page?of=mine' });
  for (const said of await Promise.all(words)) expect(said).toMatchObject(STILL_HERE);
  for (const podId of ['web', 'site', 'mypg', 'mygraph']) {
    const woken = await wakes(podId);
    expect(woken, `${podId}: ${woken.join(' ')}`).toHaveLength(1);
    expect(await pod(podId)).toMatchObject({ status: 'RUNNING', asleep_since: null });
  }
}, 120_000);

test.each(KILLED)(
  'a client that waits for %s is served even if the control process is killed',
  async (podId) => {
    const [control] = program.children('control');
    const page = curlOf(`${podId}.pods.localhost`, '/');
    await new Promise((resolve) => setTimeout(resolve, KILLED_AFTER_MS[podId]));
    process.kill(Number(control?.pid), 'SIGKILL');
    const { code, stdout, stderr } = await page;
    expect([code, stdout.slice(-3), stderr]).toEqual([0, '200', '']);
    await until('another one has taken its place', async () => {
      const [next] = program.children('control');
      if (next === undefined || next.pid === control?.pid) return false;
      return program.get('/readyz').then(
        ({ status }) => status === 200,
        () => false,
      );
    });
    expect(await pod(podId)).toMatchObject({ status: 'RUNNING', asleep_since: null });
  },
  70_000,
);

test('a pod that is stopped stays stopped', async () => {
  await program.api('POST', '/v3/pods/web/stop');
  await program.podStatus('web', 'STOPPED');
  // A worker may still be waiting to connect to a control process that was just killed.
  await until('its clients hear that it is stopped', async () => (await curl('/')).stdout.includes('"route.stopped"'));
  expect(await pod('web')).toMatchObject({ status: 'STOPPED', status_requested: 'OFF' });
});
