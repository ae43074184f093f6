import { afterEach, beforeEach, expect, test } from 'vitest';
import { createHealthLoop, type HealthLoopOptions } from '../../../control/resources/pods/reconcile/health-loop.ts';
import { createUsageOf } from '../../../control/objects/quota/count-usage.ts';
import { createUsageAudit } from '../../../control/objects/quota/usage-audit.ts';
import { createLeadership } from '../../../control/leadership/leadership.ts';
import { createStoreJudge } from '../../../control/store/store-judge.ts';
import { keepAllOutput } from '../../../control/resources/pods/reconcile/keep-output.ts';
import { openSqliteDatabase, type SqliteDatabase } from '../../../control/store/sqlite/sqlite-database.ts';
import { PodgateError } from '../../../core/errors.ts';
import type { LogStore } from '../../../core/log-store.ts';
import { podPut } from '../../../core/pod-put.ts';
import { Chance } from '../../sim/scheduler.ts';
import { SimOrchestrator } from '../../sim/sim-orchestrator.ts';
import { podRecord, podSpec } from '../../support/pod-records.ts';
import { silentLog } from '../../support/silent-log.ts';
import { until } from '../../support/until.ts';

const clock = { now: () => Date.now(), monotonicMs: () => performance.now() };
const full = (): never => {
  throw new PodgateError('store.unavailable', { detail: 'ENOSPC: no space left on device' });
};

let database: SqliteDatabase;
let stop: AbortController;
let running: Promise<void> | null;
let workloads: SimOrchestrator;

beforeEach(() => {
  database = openSqliteDatabase({ path: ':memory:', clock, log: silentLog });
  stop = new AbortController();
  running = null;
  workloads = new SimOrchestrator(
    new Chance(1),
    () => performance.now(),
    () => undefined,
  );
});
afterEach(async () => {
  stop.abort();
  await running;
  database.close();
});

/** A health loop where the output of pods cannot be written. */
function start(): void {
  const orchestrator: HealthLoopOptions['orchestrator'] = {
    ensure: async (workload) => workloads.ensure(workload),
    remove: async (ref, options) => workloads.remove(ref, options),
    observe: async (ref) => workloads.observe(ref),
    glimpse: (ref) => workloads.glimpse(ref),
    records: async () => workloads.records(),
    list: async () => {
      workloads.advance(false);
      return workloads.list();
    },
    watch: async function* () {
      // The regular pass is enough here.
    },
    logs: async () => 'what it printed',
  };
  const { store, queue, lock } = database;
  const loop = createHealthLoop({
    usageAudit: createUsageAudit(createUsageOf(() => false)),
    reseal: async () => undefined,
    store,
    queue,
    logs: { ...database.logs, saveOutput: async () => full() },
    orchestrator,
    judge: createStoreJudge({ store, guard: database.guard, orchestrator }),
    leadership: createLeadership({ lock, name: 'health', clock, log: silentLog }),
    clock,
    log: silentLog,
    observed: () => undefined,
    look: () => undefined,
    lookAtAll: () => undefined,
    passed: () => undefined,
    passEveryMs: 20,
  });
  running = loop.run(stop.signal);
}

test('a pod can be stopped even if its output cannot be saved', async () => {
  const spec = podSpec({ timeToStopDefault: -1 });
  const record = podRecord({ wish: 'OFF', status: 'RUNNING', run: 1, spec, applied: { generation: 1, run: 1, spec } });
  const { tenant, podId, uid } = record;
  const { storeId } = await database.store.identity();
  const annotations = { storeId, commit: 0, record: '', credential: null };
  const workload = { tenant, podId, uid, generation: 1, run: 1, spec, credentials: null, hosts: {}, annotations };
  await database.store.commit({ puts: [podPut(record, 'absent')] });
  // By chance there is "no room".
  await until('it runs', () => workloads.ensure({ ...workload, publicHttpsPort: 443 }).kind === 'ensured');
  start();
  await until('it is STOPPED', async () => {
    const stored = await database.store.get('pod', podPut(record, 'absent').key);
    return stored?.value.status === 'STOPPED';
  });
  expect(workloads.list()).toEqual([]);
});

test('at shutdown, outputs are saved one after the other, and only until the deadline', async () => {
  const time = new AbortController();
  const saved: string[] = [];
  const logs: LogStore = {
    ...database.logs,
    saveOutput: async (uid) => {
      saved.push(uid);
      if (saved.length === 2) time.abort();
    },
  };
  const observation = { tenant: 'dev', podId: 'p', generation: 1, run: 1 };
  const list = async () => ['a', 'b', 'c'].map((uid) => ({ ...observation, uid })) as never;
  const orchestrator = { list, logs: async () => 'text' };
  await expect(keepAllOutput({ logs, orchestrator, log: silentLog }, time.signal)).rejects.toThrow();
  expect(saved).toEqual(['a', 'b']);
});
