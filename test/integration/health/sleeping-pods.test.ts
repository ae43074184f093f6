import { afterEach, beforeEach, expect, test } from 'vitest';
import { PodWakes } from '../../../control/resources/pods/sleep/pod-wakes.ts';
import { SleepMetrics } from '../../../control/resources/pods/sleep/sleep-metrics.ts';
import { shownUse } from '../../../control/resources/pods/sleep/shown-use.ts';
import { SLEEP_EVERY_MS } from '../../../control/resources/pods/sleep/sleep-budget.ts';
import { watchSleepers } from '../../../control/resources/pods/sleep/sleep-watch.ts';
import { postgresTemplate } from '../../../spawner/templates/postgres.ts';
import { ControlRouteFeed } from '../../../control/routes/route-feed.ts';
import { openSqliteDatabase, type SqliteDatabase } from '../../../control/store/sqlite/sqlite-database.ts';
import { podKey } from '../../../core/ids.ts';
import { parsePodUse, type PodUse } from '../../../core/pod-use.ts';
import type { PodConnectionsReport } from '../../../core/pod-connections-reader.ts';
import type { PodRecord } from '../../../core/pod.ts';
import { podPut } from '../../../core/pod-put.ts';
import type { Store } from '../../../core/store.ts';
import type { CheckUseInside, UseInside } from '../../../core/use-inside.ts';
import { podRecord, podSpec, workloadOf } from '../../support/pod-records.ts';
import { silentLog } from '../../support/silent-log.ts';
import { until } from '../../support/until.ts';

const clock = { now: () => Date.now(), monotonicMs: () => performance.now() };
const KEY = podKey('default', 'mypod');
const WAKE = { kind: 'wake', tenant: 'default', podId: 'mypod', uid: 'uid-1', host: 'mypod.pods.localhost' } as const;
/** Short, to be over soon: the API takes no less than a minute. */
const spec = podSpec({ sleep: { afterSeconds: 0.3, holdSeconds: 60, probePaths: [] } });

let database: SqliteDatabase;
let feed: ControlRouteFeed;
let stop: AbortController;
let metrics: SleepMetrics;
const running: Promise<unknown>[] = [];

beforeEach(async () => {
  database = openSqliteDatabase({ path: ':memory:', clock, log: silentLog });
  feed = new ControlRouteFeed({ store: database.store, log: silentLog, baseHostOf: () => 'localhost' });
  stop = new AbortController();
  metrics = new SleepMetrics();
  running.push(feed.run(stop.signal));
  feed.observationsComplete();
});

afterEach(async () => {
  stop.abort();
  await Promise.all(running.splice(0));
  database.close();
});

async function put(record: PodRecord): Promise<void> {
  const stored = await database.store.get('pod', KEY);
  const result = await database.store.commit({ puts: [podPut(record, stored?.revision ?? 'absent')] });
  expect(result.kind).toBe('committed');
  await until('the feed knows the record', () => feed.recordOf(KEY)?.updatedAtMs === record.updatedAtMs);
}

async function present(): Promise<PodRecord> {
  const stored = await database.store.get('pod', KEY);
  if (stored === null) throw new Error('the pod has a record');
  return stored.value;
}

/** What all workers report, with the pod as their table has it. */
function report(use: Partial<PodUse> | null, missing: readonly string[] = []): PodConnectionsReport {
  const [route] = feed.routes();
  const complete = { lastUsedMs: null, because: {}, isHeld: route?.backend === null, ...use };
  const seen = {
    sinceMs: 0,
    stanzas: {},
    refusals: [],
    recent: [],
    workers: [{ worker: 1, sessionsNow: 0, requestsNow: 0 }],
  };
  return { replicas: [{ ...seen, replica: 'a', ...(use !== null && { use: complete }) }], missing };
}

/** The decisions of a leader whose workers report that. */
function watch(
  read: () => PodConnectionsReport | Promise<PodConnectionsReport>,
  useInside?: CheckUseInside,
  store: Store = database.store,
): void {
  const term = {
    fence: { lease: 'health', number: 1 },
    signal: stop.signal,
    isOver: () => stop.signal.aborted,
    end: () => undefined,
  };
  const connections = { read: async () => read() };
  const { logs } = database;
  const templates = { find: () => postgresTemplate };
  const orchestrator = useInside === undefined ? {} : { useInside };
  const options = { connections, feed, logs, templates, orchestrator, clock, log: silentLog, metrics };
  running.push(watchSleepers({ ...options, checkInsideMs: 300 }, store, term));
}

const awake = (): PodRecord => podRecord({ spec, updatedAtMs: Date.now() });

test('an unused pod first gets no new connections, and goes to sleep once all workers hold back', async () => {
  await put(awake());
  feed.observed(KEY, 'uid-1', workloadOf(awake()));
  const stages: unknown[] = [];
  watch(async () => {
    const { sleep } = await present();
    stages.push(sleep?.stage ?? 'awake');
    return report({ users: ['app', 'mypod'] });
  });
  await until('it is decided', async () => (await present()).sleep?.stage === 'decided');
  expect(stages.at(-1), 'the last answer came while it was held').toBe('holding');
  expect(await present()).toMatchObject({ wish: 'ON', status: 'RUNNING', knownUsers: ['mypod', 'app'] });
  await until('gateways know whom to wake it for', () => [...feed.routes()][0]?.sleep?.users?.includes('app'));
  const actions = await until('the action is logged', async () => {
    const lines = await database.logs.actions('uid-1');
    return lines.length > 0 ? lines : undefined;
  });
  expect(actions.join()).toContain('went to sleep after 0 s without use');
  // Woken before it has shut down, it is looked at as before.
  await put({ ...(await present()), sleep: null, updatedAtMs: Date.now() });
  await until('it is decided again', async () => (await present()).sleep?.stage === 'decided');
});

test('a pod that is in use, or not known to every worker, stays awake', async () => {
  await put(awake());
  feed.observed(KEY, 'uid-1', workloadOf(awake()));
  const reports = [
    () => report({ because: { transactions: 1 } }),
    () => report({}, ['worker 2 of replica a']),
    // A worker of an earlier release, or one that does not know the pod yet.
    () => report(null),
    // Used between two looks.
    () => report({ lastUsedMs: Date.now() }),
    () => ({ replicas: [], missing: [] }),
  ];
  let looks = 0;
  watch(() => (reports[looks++ % reports.length] ?? (() => report(null)))());
  await until('each was looked at twice', () => looks >= 2 * reports.length);
  expect((await present()).sleep ?? null).toBeNull();
});

test('a pod that was used while held stays awake, and its clients get their backend back', async () => {
  await put(awake());
  feed.observed(KEY, 'uid-1', workloadOf(awake()));
  let isHeldSeen = false;
  watch(() => {
    const [route] = feed.routes();
    if (route?.backend !== null) return report(isHeldSeen ? { because: { requests: 1 } } : {});
    isHeldSeen = true;
    return report({ because: { waiting: 1 } });
  });
  await until('it was held', () => isHeldSeen);
  await until('it is awake again', async () => ((await present()).sleep ?? null) === null);
  await until('the backend is back', () => [...feed.routes()][0]?.backend !== null);
  expect(metrics.families().find(({ name }) => name === 'podgate_pods_kept_awake_total')?.samples[0]?.value).toBe(1);
});

test('use inside the pod, and a check that fails or hangs, keep it awake, and are reported', async () => {
  await put(awake());
  feed.observed(KEY, 'uid-1', workloadOf(awake()));
  const vacuum: UseInside = { kind: 'in-use', because: ['autovacuum of table public.orders'] };
  const checks: (() => Promise<UseInside>)[] = [
    () => Promise.resolve(vacuum),
    () => Promise.reject(new Error('its server is away')),
    () => new Promise(() => undefined),
    () => Promise.resolve({ kind: 'idle' }),
  ];
  const shown: unknown[] = [];
  const stages: unknown[] = [];
  watch(
    async () => {
      const record = await present();
      if (record.sleep === null) {
        const connections = { read: async () => report({}) };
        shown.push((await shownUse({ connections, nowMs: Date.now() }, record))?.awake_because?.join());
      }
      return report({});
    },
    async ({ template }) => {
      expect(template).toBe('podgate/hello');
      stages.push((await present()).sleep?.stage);
      return (checks.shift() ?? (() => Promise.reject(new Error('checked too often'))))();
    },
  );
  await until('it sleeps once a check finds nothing', async () => (await present()).sleep?.stage === 'decided');
  expect(stages, 'clients were held meanwhile').toEqual(['holding', 'holding', 'holding', 'holding']);
  expect([...new Set(shown)]).toEqual([
    'autovacuum of table public.orders',
    'the check inside the pod failed',
    'the check inside the pod did not end in time',
  ]);
  expect((await present()).usedInside).toBeNull();
});

test('a session that continues during the check keeps the pod awake', async () => {
  await put(awake());
  feed.observed(KEY, 'uid-1', workloadOf(awake()));
  let isChecked = false;
  watch(
    () => report(isChecked ? { lastUsedMs: 5 } : {}),
    () => {
      isChecked = true;
      return Promise.resolve({ kind: 'idle' });
    },
  );
  await until('it was checked', () => isChecked);
  await until('it is awake again', async () => (await present()).sleep === null);
});

test('a pod that was woken too often sleeps only as its token bucket allows, and reports that', async () => {
  const atMs = Date.now();
  const record: PodRecord = { ...awake(), sleepsLeft: { count: 1 - 1_500 / SLEEP_EVERY_MS, atMs } };
  await put(record);
  feed.observed(KEY, 'uid-1', workloadOf(record));
  const connections = { read: async () => report({}) };
  expect((await shownUse({ connections, nowMs: atMs }, record))?.awake_because).toEqual([
    'it has slept and been woken too often in the last hour',
  ]);
  watch(() => report({}));
  await until('it is decided', async () => (await present()).sleep?.stage === 'decided');
  const { sleep, sleepsLeft } = await present();
  expect(sleep?.sinceMs).toBeGreaterThanOrEqual(atMs + 1_500);
  expect(sleepsLeft?.count).toBeLessThan(0.1);
});

test('a worker that leaves while the others hold back keeps the pod awake, because its clients are unknown', async () => {
  await put(awake());
  feed.observed(KEY, 'uid-1', workloadOf(awake()));
  let questionsWhileHeld = 0;
  watch(async () => {
    const { replicas, missing } = report({});
    const [first] = replicas;
    if (first === undefined) throw new Error('there is a replica');
    const other = { worker: 2, sessionsNow: 0, requestsNow: 0 };
    const isHeld = (await present()).sleep?.stage === 'holding';
    if (isHeld) questionsWhileHeld += 1;
    return { replicas: [{ ...first, workers: isHeld ? first.workers : [...first.workers, other] }], missing };
  });
  await until('it was to sleep', () => questionsWhileHeld > 0);
  await until('its clients get their backend back', () => [...feed.routes()][0]?.backend !== null);
  expect(await present()).toMatchObject({ sleep: null, status: 'RUNNING' });
});

test('workers that do not hold back in time keep the pod awake', async () => {
  await put(awake());
  feed.observed(KEY, 'uid-1', workloadOf(awake()));
  const stages: string[] = [];
  watch(async () => {
    stages.push((await present()).sleep?.stage ?? 'awake');
    return report({ isHeld: false });
  });
  await until('it was given up', () => stages.includes('holding') && stages.at(-1) === 'awake', { timeoutMs: 20_000 });
  expect(stages).not.toContain('decided');
}, 30_000);

test('any number of messages, in three replicas at once, cause one start', async () => {
  const asleep: PodRecord = { ...awake(), status: 'ASLEEP', sleep: { stage: 'decided', sinceMs: 0 } };
  await put(asleep);
  const options = {
    store: database.store,
    logs: database.logs,
    feed,
    mayWork: () => true,
    clock,
    log: silentLog,
    metrics,
  };
  const replicas = [1, 2, 3].map(() => new PodWakes(options));
  for (let message = 0; message < 10_000; message += 1) replicas[message % 3]?.wanted(WAKE);
  await until('it is woken', async () => (await present()).status === 'REQUESTED');
  await Promise.all(replicas.map((wakes) => wakes.close()));
  expect(await present()).toMatchObject({ run: 2, wish: 'ON', sleep: null });
  expect(await database.queue.stats()).toMatchObject({ due: 1 });
  expect(metrics.families()[0]?.samples[0]?.value).toBe(1);
  expect((await database.logs.actions('uid-1')).filter((line) => line.includes('woken by'))).toHaveLength(1);
});

test('only a sleeping pod with this uid is woken, and none while the store is suspect', async () => {
  const asleep: PodRecord = { ...awake(), status: 'ASLEEP', sleep: { stage: 'decided', sinceMs: 0 } };
  await put(asleep);
  let isHealthy = false;
  const wakes = new PodWakes({
    ...{ store: database.store, logs: database.logs, feed, clock, log: silentLog, metrics },
    mayWork: () => isHealthy,
  });
  wakes.wanted(WAKE);
  wakes.wanted({ ...WAKE, uid: 'another' });
  wakes.wanted({ ...WAKE, podId: 'unknown' });
  isHealthy = true;
  wakes.wanted({ ...WAKE, uid: 'another' });
  await wakes.close();
  expect(await present()).toMatchObject({ status: 'ASLEEP', run: 1 });
});

test('reports of use from workers are copied within limits; a reason from a newer release counts as use', () => {
  const use = { lastUsedMs: 5, because: { transactions: 2, dancing: 1 }, isHeld: false, more: 'text' };
  expect(parsePodUse(use)).toEqual({ lastUsedMs: 5, because: { transactions: 2, traffic: 1 }, isHeld: false });
  for (const other of [
    null,
    5,
    { ...use, lastUsedMs: '5' },
    { ...use, because: { requests: -1 } },
    { ...use, isHeld: 1 },
  ]) {
    expect(parsePodUse(other)).toBeUndefined();
  }
});
