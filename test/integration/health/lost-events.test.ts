import { afterEach, beforeEach, expect, it } from 'vitest';
import { createLeadership } from '../../../control/leadership/leadership.ts';
import { createUsageOf } from '../../../control/objects/quota/count-usage.ts';
import { createUsageAudit } from '../../../control/objects/quota/usage-audit.ts';
import { createHealthLoop, pauseAfterPass } from '../../../control/resources/pods/reconcile/health-loop.ts';
import { openSqliteDatabase, type SqliteDatabase } from '../../../control/store/sqlite/sqlite-database.ts';
import { createStoreJudge } from '../../../control/store/store-judge.ts';
import { createStoreMemory } from '../../../control/store/store-guard.ts';
import { podKey } from '../../../core/ids.ts';
import type { PodRecord } from '../../../core/pod.ts';
import { podPut } from '../../../core/pod-put.ts';
import type { Store } from '../../../core/store.ts';
import type { WorkloadObservation } from '../../../core/workloads.ts';
import { podRecord, workloadOf } from '../../support/pod-records.ts';
import { silentLog } from '../../support/silent-log.ts';
import { until } from '../../support/until.ts';

const clock = { now: () => Date.now(), monotonicMs: () => performance.now() };

let database: SqliteDatabase;
let workloads: Map<string, WorkloadObservation>;
let stop: AbortController;
let running: Promise<void>;

beforeEach(() => {
  [workloads, stop, running] = [new Map<string, WorkloadObservation>(), new AbortController(), Promise.resolve()];
  database = openSqliteDatabase({ path: ':memory:', clock, log: silentLog, memory: createStoreMemory() });
});

afterEach(async () => {
  stop.abort();
  await running;
  database.close();
});

/** A health loop that no event reaches: nothing comes on the change feed, and nothing on the watch. */
function start(passEveryMs?: number): void {
  const { queue, lock, logs, guard } = database;
  const store: Store = { ...database.store, changes: (_, signal) => nothing(signal) };
  const orchestrator = {
    ensure: async () => ({ kind: 'ensured' as const }),
    remove: async ({ uid }: { readonly uid: string }) => void workloads.delete(uid),
    observe: async ({ uid }: { readonly uid: string }) =>
      workloads.get(uid) ?? ({ kind: 'absent', data: false } as const),
    glimpse: () => ({ kind: 'absent' as const, data: false }),
    records: async () => [],
    list: async () => [...workloads.values()],
    watch: nothing,
    logs: async () => '',
  };
  const health = createHealthLoop({
    ...{ store, queue, logs, orchestrator, clock, log: silentLog },
    judge: createStoreJudge({ store, guard, orchestrator }),
    leadership: createLeadership({ lock, name: 'health', clock, log: silentLog, retryMs: 20 }),
    usageAudit: createUsageAudit(createUsageOf(() => false)),
    reseal: async () => undefined,
    observed: () => undefined,
    look: () => undefined,
    lookAtAll: () => undefined,
    passed: () => undefined,
    ...(passEveryMs === undefined ? {} : { passEveryMs }),
  });
  running = health.run(stop.signal);
}

// eslint-disable-next-line require-yield -- a stream on which nothing comes
async function* nothing(signal: AbortSignal): AsyncGenerator<never> {
  await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
}

async function put(record: PodRecord, expected: number | 'absent' = 'absent'): Promise<void> {
  expect((await database.store.commit({ puts: [podPut(record, expected)] })).kind).toBe('committed');
}

async function stored(podId: string): Promise<{ readonly revision: number; readonly value: PodRecord }> {
  const found = await database.store.get('pod', podKey('default', podId));
  if (found === null) throw new Error('not there');
  return found;
}

/** A pod that runs, with its workload. */
async function runningPod(change: Partial<PodRecord> = {}): Promise<PodRecord> {
  const record = podRecord({ startInstanceMs: clock.now(), ...change });
  await put(record);
  const { storeId, commits } = await database.store.identity();
  const startedMs = clock.monotonicMs();
  workloads.set(record.uid, {
    ...workloadOf(record, { storeId, commit: commits }),
    get ageMs() {
      return clock.monotonicMs() - startedMs;
    },
  });
  return record;
}

it('notices at its next pass what no event reported: a stop, and a start', async () => {
  await runningPod();
  start(100);
  await until('the pod has been looked at', async () => (await stored('mypod')).value.statusContainer !== null);
  const { revision, value } = await stored('mypod');
  await put({ ...value, wish: 'OFF' }, revision);
  await until('the workload is removed', () => workloads.size === 0);
  await until('it is stopped', async () => (await stored('mypod')).value.status === 'STOPPED');

  const again = await stored('mypod');
  await put({ ...again.value, wish: 'ON' }, again.revision);
  await until('it is to be started', async () => (await stored('mypod')).value.status === 'REQUESTED');
});

it('stops a pod at its stop time, however far away the next pass is', async () => {
  await runningPod({ startInstanceMs: clock.now(), timeToStopInstance: 4 });
  start(600_000);
  await until('the pod has been looked at', async () => (await stored('mypod')).value.statusContainer !== null);
  expect(workloads.size).toBe(1);
  await until('its time is up', () => workloads.size === 0);
});

it('pauses for a hundred times the length of a pass: at least 3 s, at most two minutes, and 3 s after a failed one', () => {
  expect([1, 30, 31, 1_200, 5_000].map((ms) => pauseAfterPass(ms, true))).toEqual([
    3_000, 3_000, 3_100, 120_000, 120_000,
  ]);
  expect(pauseAfterPass(5_000, false)).toBe(3_000);
});
