import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import {
  createHealthLoop,
  type HealthLoop,
  type HealthLoopOptions,
} from '../../../control/resources/pods/reconcile/health-loop.ts';
import { createLeadership } from '../../../control/leadership/leadership.ts';
import { createStoreJudge, type StoreJudge } from '../../../control/store/store-judge.ts';
import { confirmRemovals } from '../../../control/operator/confirm-removals.ts';
import { OPERATOR_SOCKET, type OperatorCalls } from '../../../control/operator/operator-handler.ts';
import { createUsageOf } from '../../../control/objects/quota/count-usage.ts';
import { createUsageAudit } from '../../../control/objects/quota/usage-audit.ts';
import { createStoreMemory } from '../../../control/store/store-guard.ts';
import { openSqliteDatabase, type SqliteDatabase } from '../../../control/store/sqlite/sqlite-database.ts';
import type { ControlRouteFeed } from '../../../control/routes/route-feed.ts';
import type { CertificateReport } from '../../../core/certificate-admin.ts';
import type { Leadership } from '../../../core/leadership.ts';
import type { Logger } from '../../../core/logger.ts';
import type { WorkloadObservation } from '../../../core/workloads.ts';
import type { Replicas } from '../../../core/replicas.ts';
import { createOperatorServer, type OperatorServer } from '../../../main/control/operator-server.ts';
import { controlReport } from '../../../main/control/readiness.ts';
import type { SupervisorLink } from '../../../main/supervisor-link.ts';
import { podRecord, workloadOf } from '../../support/pod-records.ts';
import { run } from '../../support/run.ts';
import { silentLog } from '../../support/silent-log.ts';
import { until } from '../../support/until.ts';

const CLI = join(import.meta.dirname, '../../../bin/podgate.mjs');
const ELEVEN_MINUTES_MS = 11 * 60_000;
const clock = { now: () => Date.now(), monotonicMs: () => performance.now() };

let directory: string;
let database: SqliteDatabase;
let workloads: Map<string, WorkloadObservation>;
let passes: number;
/** Called when a pass begins: no other pass is under way then. */
let onPass: () => void;
let isRemovalRefused: boolean;
/** What the clock of the health loop is ahead by. */
let skippedMs: number;
let logged: string[];
let judge: StoreJudge;
let health: HealthLoop;
let operator: OperatorServer;
let stop: AbortController;
let running: Promise<void>;
let leadership: Leadership;

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'podgate-confirm-'));
  [workloads, stop, logged] = [new Map<string, WorkloadObservation>(), new AbortController(), []];
  [passes, skippedMs] = [0, 0];
  [onPass, isRemovalRefused] = [() => undefined, false];
  const path = join(directory, 'store.db');
  database = openSqliteDatabase({ path, clock, log: silentLog, memory: createStoreMemory() });
  const { store, queue, lock, logs } = database;
  const log: Logger = { ...silentLog, warn: (...args) => void logged.push(JSON.stringify(args)) };
  const orchestrator: HealthLoopOptions['orchestrator'] = {
    ensure: async () => ({ kind: 'ensured' }),
    remove: async ({ uid }, { data }) => {
      expect(data).toBe('keep');
      if (isRemovalRefused) throw new Error('not now');
      workloads.delete(uid);
    },
    observe: async () => ({ kind: 'absent', data: false }),
    glimpse: () => ({ kind: 'absent', data: false }),
    records: async () => [],
    list: async () => {
      passes += 1;
      onPass();
      return [...workloads.values()];
    },
    watch: (signal) => untilAborted(signal),
    logs: async () => '',
  };
  judge = createStoreJudge({ store, guard: database.guard, orchestrator });
  leadership = createLeadership({ lock, name: 'health', clock, log: silentLog, retryMs: 20 });
  health = createHealthLoop({
    ...{ store, queue, logs, orchestrator, judge, leadership, log },
    usageAudit: createUsageAudit(createUsageOf(() => false)),
    reseal: async () => undefined,
    clock: { now: () => Date.now() + skippedMs, monotonicMs: () => performance.now() + skippedMs },
    observed: () => undefined,
    look: () => undefined,
    lookAtAll: () => undefined,
    passed: () => undefined,
    passEveryMs: 20,
  });
  const calls = { confirm: async (options) => confirmRemovals({ health, judge }, options) } satisfies Pick<
    OperatorCalls,
    'confirm'
  >;
  operator = createOperatorServer({ calls: calls as unknown as OperatorCalls, log: silentLog });
  await operator.listen(join(directory, OPERATOR_SOCKET));
  writeFileSync(join(directory, 'endpoints.json'), JSON.stringify({ runDir: directory }));
});

afterEach(async () => {
  stop.abort();
  await operator.close();
  await running;
  database.close();
  rmSync(directory, { recursive: true, force: true });
});

// eslint-disable-next-line require-yield -- a stream on which nothing comes
async function* untilAborted(signal: AbortSignal): AsyncIterable<never> {
  await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
}

const confirm = (...args: readonly string[]) =>
  run(process.execPath, [CLI, 'confirm', ...args], { env: { PODGATE_DATA_DIR: directory } });

async function start(): Promise<void> {
  running = health.run(stop.signal);
  await until('it leads', () => leadership.isLeading());
}

async function morePasses(): Promise<void> {
  const target = passes + 5;
  await until('more passes', () => passes >= target);
}

function readyzDetail(): Readonly<Record<string, unknown>> {
  const config = { roles: ['health'], store: 'sqlite' };
  return controlReport({
    ...{ judge, leadership, health },
    link: { start: { settings: { config } } } as unknown as SupervisorLink,
    feed: { isReady: true, followerCount: 0 } as ControlRouteFeed,
    replicas: { id: 'own', live: () => [] } as unknown as Replicas,
    certificates: { report: () => ({ certificates: [], accounts: [] }) as unknown as CertificateReport },
    exercise: { store: () => null, api: () => null },
  }).detail;
}

/** Workloads of this store that no record and no tombstone knows. */
async function addOrphans(count: number, prefix: string): Promise<void> {
  const { storeId, commits } = await database.store.identity();
  for (let i = 0; i < count; i += 1) {
    const uid = `${prefix}${i}`;
    workloads.set(uid, workloadOf(podRecord({ podId: uid, uid }), { storeId, commit: commits }));
  }
  await morePasses();
}

async function heldBack(count: number): Promise<string> {
  return until(`${count} are held back`, () => {
    const held = health.heldBack();
    return held?.removals.length === count ? held.code : null;
  });
}

it('lists the removals held back, removes exactly the confirmed ones, and logs how', async () => {
  await database.store.commit({});
  await start();
  await addOrphans(8, 'lost');
  expect(await confirm()).toMatchObject({
    code: 0,
    stdout: 'No removal is held back.\n8 workloads without a pod: first seen less than ten minutes ago.\n',
  });
  skippedMs += ELEVEN_MINUTES_MS;
  const code = await heldBack(8);
  await morePasses();
  expect(workloads.size).toBe(8);
  expect(logged.filter((line) => line.includes('confirm with: podgate confirm'))).toHaveLength(1);

  const listed = await confirm();
  expect(listed.code).toBe(0);
  expect(listed.stdout).toMatch(/^Held back: the removal of 8 workloads without a pod; a pass removes at most 5 unc/);
  expect(listed.stdout).toMatch(/ {2}default\/lost3 {2}uid lost3, no record and no tombstone .* since \d{4}-/);
  expect(listed.stdout).toContain(`podgate.mjs confirm --yes ${code}\n`);
  const json = JSON.parse((await confirm('--json')).stdout) as { code: string; removals: { uid: string }[] };
  expect(json).toMatchObject({ kind: 'held-back', code, limit: 5, youngerCount: 0 });
  expect(json.removals[3]).toMatchObject({ tenant: 'default', podId: 'lost3', uid: 'lost3' });

  // One more is held back than the operator has seen.
  await addOrphans(1, 'later');
  skippedMs += ELEVEN_MINUTES_MS;
  const next = await heldBack(9);
  const refused = await confirm('--yes', code);
  expect(refused).toMatchObject({ code: 1, stdout: '' });
  expect(refused.stderr).toContain('nothing was confirmed');
  await morePasses();
  expect(workloads.size).toBe(9);

  await addOrphans(6, 'young');
  expect(await confirm('--yes', next)).toMatchObject({ code: 0 });
  await until('the confirmed ones are gone', () => workloads.size === 6);
  expect(readyzDetail()).not.toHaveProperty('cleanUp');
  // Once: the next ones need a confirmation of their own.
  skippedMs += ELEVEN_MINUTES_MS;
  await heldBack(6);
  expect(await confirm('--yes', next)).toMatchObject({ code: 1 });
  await morePasses();
  expect(workloads.size).toBe(6);
}, 60_000);

it('removes nothing of a store that became suspect after the confirmation', async () => {
  await database.store.commit({});
  await start();
  await addOrphans(8, 'lost');
  skippedMs += ELEVEN_MINUTES_MS;
  const code = await heldBack(8);
  let isConfirmed = false;
  onPass = () => {
    isConfirmed ||= health.confirmRemovals(code);
    // Of another store: this one is not believed from here on.
    workloads.set('foreign', workloadOf(podRecord({ podId: 'foreign', uid: 'foreign' }), { storeId: 'another' }));
  };
  await until('it no longer leads', () => health.heldBack() === null);
  await morePasses();
  expect(isConfirmed).toBe(true);
  expect(workloads.size).toBe(9);
  const refused = await confirm('--yes', code);
  expect(refused.code).toBe(1);
  expect(refused.stderr).toContain('the store is suspect, so nothing is removed');
}, 60_000);

it('retries a confirmed removal for ten minutes, then asks for a new confirmation', async () => {
  await database.store.commit({});
  await start();
  await addOrphans(8, 'lost');
  skippedMs += ELEVEN_MINUTES_MS;
  const code = await heldBack(8);
  isRemovalRefused = true;
  expect(health.confirmRemovals(code)).toBe(true);
  const failures = () => logged.filter((line) => line.includes('failed to remove a workload')).length;
  await until('each was tried twice', () => failures() >= 16);
  expect(health.heldBack()?.removals).toEqual([]);
  skippedMs += ELEVEN_MINUTES_MS;
  await heldBack(8);
  isRemovalRefused = false;
  await morePasses();
  expect(workloads.size).toBe(8);
});

it('refuses on a replica that is not the leader, and for unknown options', async () => {
  await database.store.commit({});
  await database.lock.acquire('health', 60_000);
  running = health.run(stop.signal);
  await morePasses();
  const refused = await confirm();
  expect(refused.code).toBe(1);
  expect(refused.stderr).toContain('this replica is not the leader');
  expect(await confirm('--yes')).toMatchObject({ code: 2 });
  expect(await confirm('--all')).toMatchObject({ code: 2 });
  const help = await confirm('--help');
  expect(help.code).toBe(0);
  expect(help.stdout).toContain('--yes <code>');
}, 60_000);
