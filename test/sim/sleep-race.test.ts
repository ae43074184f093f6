import { expect, test } from 'vitest';
import { SleepMetrics } from '../../control/resources/pods/sleep/sleep-metrics.ts';
import { goToSleep } from '../../control/resources/pods/sleep/sleep-watch.ts';
import { openSqliteDatabase } from '../../control/store/sqlite/sqlite-database.ts';
import { podKey } from '../../core/ids.ts';
import { planPod, wakeChange } from '../../core/lifecycle/plan.ts';
import type { PodConnectionsReport } from '../../core/pod-connections-reader.ts';
import type { PodRecord } from '../../core/pod.ts';
import { podPut } from '../../core/pod-put.ts';
import { isWaking, type Route, routesOf } from '../../core/route.ts';
import type { Store } from '../../core/store.ts';
import type { UseInside } from '../../core/use-inside.ts';
import { podRecord, podSpec, workloadOf } from '../support/pod-records.ts';
import { silentLog } from '../support/silent-log.ts';
import { Chance } from './scheduler.ts';

const TRIALS = Number(process.env['PODGATE_SLEEP_TRIALS'] ?? 10_000);
const SEED = Number(process.env['PODGATE_SIM_SEED'] ?? Math.floor(Math.random() * 1e9));
const clock = { now: () => Date.now(), monotonicMs: () => performance.now() };
const spec = podSpec({ sleep: { afterSeconds: 900, holdSeconds: 60, probePaths: [] } });

/** A gateway worker: it applies routes late, and answers from what it has applied. */
class Worker {
  route: Route;
  inFlight = 0;
  waiting = 0;
  lastUsedMs: number | null = null;

  constructor(route: Route) {
    this.route = route;
  }

  use() {
    const because = {
      ...(this.inFlight > 0 && { requests: this.inFlight }),
      ...(this.waiting > 0 && { waiting: this.waiting }),
    };
    return { lastUsedMs: this.lastUsedMs, because, isHeld: this.route.backend === null };
  }
}

/** One pod that is about to sleep, while clients come at every moment. What went wrong, or null. */
async function trial(
  store: Store,
  podId: string,
  chance: Chance,
  seen: Record<string, number>,
): Promise<string | null> {
  const { logs } = database;
  const key = podKey('default', podId);
  const read = async (): Promise<PodRecord> => {
    const stored = await store.get('pod', key);
    if (stored === null) throw new Error(`${podId} has a record`);
    return stored.value;
  };
  const moment = async (most: number): Promise<void> => {
    for (let left = chance.below(most); left > 0; left -= 1) await new Promise((resolve) => setImmediate(resolve));
  };
  const awake = podRecord({ podId, uid: `uid-${podId}`, spec });
  await store.commit({ puts: [podPut(awake, 'absent')] });
  const ready = workloadOf(awake);
  const routeOf = (record: PodRecord): Route => {
    const [route] = routesOf(record, ready, { baseHost: 'localhost', site: 'test' });
    if (route === undefined) throw new Error('a pod has a route');
    return route;
  };
  const workers = [1, 2, 3].map(() => new Worker(routeOf(awake)));
  let problem: string | null = null;
  let isOver = false;
  let uses = 0;

  /** Each worker hears of the record's changes in its own time. */
  const applying = workers.map(async (worker) => {
    while (!isOver) {
      const route = routeOf(await read());
      await moment(6);
      worker.route = route;
    }
  });
  const client = async (): Promise<void> => {
    await moment(60);
    const worker = chance.pick(workers);
    if (worker.route.backend !== null) {
      worker.inFlight += 1;
      worker.lastUsedMs = uses += 1;
      await moment(12);
      worker.lastUsedMs = uses += 1;
      worker.inFlight -= 1;
      return;
    }
    if (!isWaking(worker.route)) {
      problem ??= `refused: ${worker.route.status}`;
      return;
    }
    worker.waiting += 1;
    // Repeated until it is served: the message may be late or lost, and the record may change meanwhile.
    for (;;) {
      await moment(4);
      const stored = await store.get('pod', key);
      if (stored === null) throw new Error('it has a record');
      const wake = chance.isHit(0.3) ? null : wakeChange(stored.value);
      if (wake !== null) await store.commit({ puts: [podPut({ ...stored.value, ...wake.change }, stored.revision)] });
      const { sleep, status } = await read();
      if ((sleep ?? null) === null && (status === 'RUNNING' || status === 'REQUESTED')) break;
      if (status === 'SHUTTING_DOWN') {
        // As the health loop does, once the workload is gone.
        const now = await store.get('pod', key);
        const step = now === null ? null : planPod(now.value, { kind: 'absent', data: true }, clock.now());
        if (now !== null && step?.kind === 'write') {
          await store.commit({ puts: [podPut({ ...now.value, ...step.change }, now.revision)] });
        }
      }
      if (status === 'STOPPED') break;
    }
    worker.waiting -= 1;
  };
  const connections = {
    read: async (): Promise<PodConnectionsReport> => {
      const replicas = [];
      for (const [at, worker] of workers.entries()) {
        await moment(5);
        const empty = { sinceMs: 0, stanzas: {}, refusals: [], recent: [] };
        replicas.push({
          ...{ ...empty, replica: `r${at}`, use: worker.use() },
          workers: [{ worker: 0, sessionsNow: 0, requestsNow: 0 }],
        });
      }
      return { replicas, missing: [] };
    },
  };
  const orchestrator = {
    useInside: async (): Promise<UseInside> => {
      await moment(8);
      return chance.isHit(0.1) ? { kind: 'in-use', because: ['a vacuum'] } : { kind: 'idle' };
    },
  };
  const decide = async (): Promise<void> => {
    await moment(30);
    const term = { fence: { lease: 'health', number: 1 }, signal: never, isOver: () => false, end: () => undefined };
    const acting = {
      store,
      logs,
      clock,
      term,
      connections,
      log: silentLog,
      metrics,
      templates,
      orchestrator,
      askAgainMs: 0,
    };
    // Judged idle from what was heard before: the moment at which clients come meanwhile.
    const lastUsedMs = uses === 0 ? null : Math.max(...workers.map((worker) => worker.lastUsedMs ?? 0));
    const slept = await goToSleep(acting, key, awake, { lastUsedMs, workers: new Set() });
    seen[slept ? 'slept' : 'stayed awake'] = (seen[slept ? 'slept' : 'stayed awake'] ?? 0) + 1;
    if (!slept) return;
    await moment(4);
    const stored = await store.get('pod', key);
    if (stored === null) throw new Error('it has a record');
    const step = planPod(stored.value, ready, clock.now());
    if (step.kind !== 'write' || step.change.status !== 'SHUTTING_DOWN') return;
    const next = { ...stored.value, ...step.change };
    if ((await store.commit({ puts: [podPut(next, stored.revision)] })).kind !== 'committed') return;
    const cut = workers.reduce((sum, { inFlight }) => sum + inFlight, 0);
    if (cut > 0) problem ??= `${cut} requests were cut off`;
  };
  await Promise.all([decide(), ...Array.from({ length: 1 + chance.below(4) }, client)]);
  isOver = true;
  await Promise.all(applying);
  const { sleep, status } = await read();
  if (sleep?.stage === 'holding') problem ??= `kept from its clients, ${status}`;
  return problem;
}

const database = openSqliteDatabase({ path: ':memory:', clock, log: silentLog });
const metrics = new SleepMetrics();
const templates = { find: () => null };
const never = new AbortController().signal;

test(`clients that come while a pod goes to sleep are neither cut off nor refused, ${TRIALS} times (seed ${SEED})`, async () => {
  const seen: Record<string, number> = {};
  for (let at = 0; at < TRIALS; at += 1) {
    const problem = await trial(database.store, `pod${at}`, new Chance(SEED + at), seen);
    expect(problem, `trial ${at}`).toBeNull();
  }
  console.log(`sleep race: seed ${SEED}, ${JSON.stringify(seen)}`);
  expect(seen['slept']).toBeGreaterThan(TRIALS / 20);
  expect(seen['stayed awake']).toBeGreaterThan(TRIALS / 20);
  database.close();
});
