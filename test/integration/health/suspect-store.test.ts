import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { createHealthLoop, type HealthLoopOptions } from '../../../control/resources/pods/reconcile/health-loop.ts';
import { createUsageOf } from '../../../control/objects/quota/count-usage.ts';
import { createUsageAudit } from '../../../control/objects/quota/usage-audit.ts';
import { createLeadership } from '../../../control/leadership/leadership.ts';
import { createStoreJudge, type StoreJudge } from '../../../control/store/store-judge.ts';
import { ControlRouteFeed } from '../../../control/routes/route-feed.ts';
import { createStoreMemory } from '../../../control/store/store-guard.ts';
import { openSqliteDatabase, type SqliteDatabase } from '../../../control/store/sqlite/sqlite-database.ts';
import { podKey } from '../../../core/ids.ts';
import { startRunChange } from '../../../core/lifecycle/plan.ts';
import { podPut } from '../../../core/pod-put.ts';
import type { StoreMemory } from '../../../core/store.ts';
import { createSpawner } from '../../../spawner/spawner.ts';
import { Chance } from '../../sim/scheduler.ts';
import { SimOrchestrator } from '../../sim/sim-orchestrator.ts';
import { podRecord, podSpec } from '../../support/pod-records.ts';
import { silentLog } from '../../support/silent-log.ts';
import { until } from '../../support/until.ts';

const PASS_MS = 20;
const clock = { now: () => Date.now(), monotonicMs: () => performance.now() };

let directory: string;
let workloads: SimOrchestrator;
let memory: StoreMemory;

/** A control plane over one store file; the workloads outlive it. */
class ControlPlane {
  readonly database: SqliteDatabase;
  readonly feed: ControlRouteFeed;
  readonly judge: StoreJudge;
  passes = 0;
  readonly #stop = new AbortController();
  readonly #running: Promise<unknown>;

  constructor(file: string) {
    this.database = openSqliteDatabase({ path: join(directory, file), clock, log: silentLog, memory });
    const { store, queue, lock, logs } = this.database;
    this.feed = new ControlRouteFeed({ store, log: silentLog, baseHostOf: () => 'localhost' });
    const orchestrator: HealthLoopOptions['orchestrator'] = {
      ensure: async (workload) => workloads.ensure(workload),
      remove: async (ref, options) => workloads.remove(ref, options),
      observe: async (ref) => workloads.observe(ref),
      glimpse: (ref) => workloads.glimpse(ref),
      records: async () => workloads.records(),
      list: async () => {
        this.passes += 1;
        workloads.advance(false);
        return workloads.list();
      },
      // Nothing is told: what these tests look at comes by the regular pass.
      watch: (signal) => untilAborted(signal),
      logs: async () => '',
    };
    this.judge = createStoreJudge({ store, guard: this.database.guard, orchestrator });
    const health = createHealthLoop({
      usageAudit: createUsageAudit(createUsageOf(() => false)),
      reseal: async () => undefined,
      store,
      queue,
      logs,
      orchestrator,
      judge: this.judge,
      leadership: createLeadership({ lock, name: 'health', clock, log: silentLog }),
      clock,
      log: silentLog,
      observed: (key, uid, observation) => this.feed.observed(key, uid, observation),
      look: (key) => this.feed.look(key),
      lookAtAll: () => this.feed.lookAtAll(),
      passed: () => this.feed.observationsComplete(),
      passEveryMs: PASS_MS,
    });
    const spawner = createSpawner({
      store,
      queue,
      logs,
      orchestrator,
      vault: { seal: (text) => text, open: (text) => text, isOfFirstKey: () => true },
      templates: { find: () => null, list: () => [] },
      clock,
      log: silentLog,
      hostsOf: () => ({}),
      publicHttpsPort: 443,
      concurrency: 2,
      mayWork: () => this.judge.trust()?.kind === 'healthy',
      trusted: () => this.judge.trusted(),
    });
    const { signal } = this.#stop;
    this.#running = Promise.all([health.run(signal), spawner.run(signal), this.feed.run(signal)]);
  }

  async create(podId: string): Promise<void> {
    const base = podRecord({
      podId,
      uid: `uid-${podId}`,
      applied: null,
      run: 0,
      spec: podSpec({ timeToStopDefault: -1 }),
    });
    const put = podPut({ ...base, ...startRunChange(base) }, 'absent');
    await this.database.store.commit({ puts: [put], enqueue: [{ key: put.key }] });
  }

  async running(podId: string): Promise<void> {
    await until(`${podId} is RUNNING`, async () => {
      const stored = await this.database.store.get('pod', podKey('default', podId));
      return stored?.value.status === 'RUNNING';
    });
  }

  /** Several whole passes from now on. */
  async morePasses(): Promise<void> {
    const target = this.passes + 10;
    await until('ten more passes', () => this.passes >= target);
  }

  async end(): Promise<void> {
    this.#stop.abort();
    await this.#running;
    this.database.close();
  }
}

// eslint-disable-next-line require-yield -- a stream on which nothing comes
async function* untilAborted(signal: AbortSignal): AsyncIterable<never> {
  await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
}

let plane: ControlPlane | null = null;

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'podgate-suspect-'));
  workloads = new SimOrchestrator(
    new Chance(1),
    () => performance.now(),
    () => undefined,
  );
  memory = createStoreMemory();
  // Two pods run; between them a copy of the store was taken.
  plane = new ControlPlane('store.db');
  await plane.create('first');
  await plane.running('first');
  await plane.end();
  cpSync(join(directory, 'store.db'), join(directory, 'older.db'));
  plane = new ControlPlane('store.db');
  await plane.create('second');
  await plane.running('second');
  await plane.end();
  plane = null;
});

afterEach(async () => {
  await plane?.end();
  plane = null;
  rmSync(directory, { recursive: true, force: true });
});

const phases = () =>
  workloads
    .list()
    .map(({ podId, phase }) => `${podId} ${phase}`)
    .sort();

test.each([
  ['older than last seen', 'older.db', false],
  ['older than what runs, with nothing remembered', 'older.db', true],
  ['empty', 'empty.db', true],
  ['another one than before', 'empty.db', false],
])(
  'a store that is %s is suspect: nothing is removed or created, and no route table is sent',
  async (_, file, forgets) => {
    if (forgets) memory = createStoreMemory();
    plane = new ControlPlane(file);
    const wanted = plane;
    await until('it is judged', () => wanted.judge.trust() !== null);
    await expect(wanted.create('third')).rejects.toMatchObject({ code: 'store.suspect' });
    await wanted.morePasses();
    expect(wanted.judge.trust()).toMatchObject({ kind: 'suspect' });
    expect(phases()).toEqual(['first ready', 'second ready']);
    expect(wanted.feed.isReady).toBe(false);
  },
);

test('a store is healthy again after a restart, and works', async () => {
  plane = new ControlPlane('store.db');
  await plane.create('third');
  await plane.running('third');
  expect(plane.judge.trust()).toEqual({ kind: 'healthy' });
  expect(phases()).toEqual(['first ready', 'second ready', 'third ready']);
});

test('a workload whose pod was deleted meanwhile is removed; one without any trace is kept for now', async () => {
  plane = new ControlPlane('store.db');
  const { store } = plane.database;
  const { storeId, commits } = await store.identity();
  const stranger = { tenant: 'default', podId: 'stranger', uid: 'nobody', generation: 1, run: 1 };
  const annotations = { storeId, commit: commits, record: '', credential: null };
  const workload = { ...stranger, spec: podSpec(), credentials: null, hosts: {}, publicHttpsPort: 443, annotations };
  // By chance there is "no room".
  await until('the stranger is there', () => workloads.ensure(workload).kind === 'ensured');
  const key = podKey('default', 'second');
  await until('its tombstone stands', async () => {
    const stored = await store.get('pod', key);
    if (stored === null) return true;
    await store.commit({ deletes: [{ kind: 'pod', key, expected: stored.revision, uid: 'uid-second' }] });
    return false;
  });
  await until('it is gone', () => !phases().some((phase) => phase.startsWith('second')));
  await plane.morePasses();
  expect(phases().map((phase) => phase.split(' ')[0])).toEqual(['first', 'stranger']);
  expect(phases().join()).not.toContain('stopping');
});
