/**
 * What the health loop costs at rest: `node bench/idle-health-loop.ts [pods] [seconds]`. The embedded store in a file, that
 * many stopped pods and nothing that changes; prints the CPU time of the process as a share of one core.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createLeadership } from '../control/leadership/leadership.ts';
import { createUsageOf } from '../control/objects/quota/count-usage.ts';
import { createUsageAudit } from '../control/objects/quota/usage-audit.ts';
import { createHealthLoop } from '../control/resources/pods/reconcile/health-loop.ts';
import { openSqliteDatabase } from '../control/store/sqlite/sqlite-database.ts';
import { createStoreMemory } from '../control/store/store-guard.ts';
import { createStoreJudge } from '../control/store/store-judge.ts';
import { performance } from 'node:perf_hooks';
import { pause } from '../core/abort.ts';
import { podKey } from '../core/ids.ts';
import { podPut } from '../core/pod-put.ts';
import { podRecord } from '../test/support/pod-records.ts';
import { silentLog } from '../test/support/silent-log.ts';
import { helpIfAsked } from '../scripts/help.ts';

helpIfAsked(import.meta.filename);

const [pods = 100_000, seconds = 180] = process.argv.slice(2).map(Number);
const BATCH = 500;
const WARM_UP_MS = 20_000;

const directory = mkdtempSync(join(tmpdir(), 'podgate-idle-'));
const stop = new AbortController();
const clock = { now: () => Date.now(), monotonicMs: () => performance.now() };
const database = openSqliteDatabase({
  path: join(directory, 'store.db'),
  clock,
  log: silentLog,
  memory: createStoreMemory(),
});
try {
  const { store, queue, lock, logs, guard } = database;
  for (let start = 0; start < pods; start += BATCH) {
    const puts = Array.from({ length: Math.min(BATCH, pods - start) }, (_, at) => {
      const podId = `pod${String(start + at).padStart(7, '0')}`;
      return podPut(podRecord({ podId, uid: `uid-${podId}`, wish: 'OFF', status: 'STOPPED' }), 'absent');
    });
    await store.commit({ puts });
  }
  if ((await store.get('pod', podKey(podRecord().tenant, 'pod0000000'))) === null)
    throw new Error('the pods are not there');
  let passes = 0;
  const orchestrator = {
    ensure: async () => ({ kind: 'ensured' as const }),
    remove: async () => undefined,
    observe: async () => ({ kind: 'absent' as const, data: false }),
    glimpse: () => ({ kind: 'absent' as const, data: false }),
    records: async () => [],
    list: async () => [],
    async *watch(signal: AbortSignal) {
      await pause(2 ** 31 - 1, signal);
      yield* [];
    },
    logs: async () => '',
  };
  const health = createHealthLoop({
    ...{ store, queue, logs, orchestrator, clock, log: silentLog },
    judge: createStoreJudge({ store, guard, orchestrator }),
    leadership: createLeadership({ lock, name: 'health', clock, log: silentLog }),
    usageAudit: createUsageAudit(createUsageOf(() => false)),
    reseal: async () => undefined,
    observed: () => undefined,
    look: () => undefined,
    lookAtAll: () => undefined,
    passed: () => (passes += 1),
  });
  const running = health.run(stop.signal);
  await pause(WARM_UP_MS, stop.signal);
  const before = { cpu: process.cpuUsage(), passes };
  await pause(seconds * 1_000, stop.signal);
  const { user, system } = process.cpuUsage(before.cpu);
  const share = (user + system) / (seconds * 1e6);
  console.log(
    `${pods} pods at rest: ${(100 * share).toFixed(2)} % of a core, ${passes - before.passes} passes in ${seconds} s, ` +
      `${(process.memoryUsage.rss() / 2 ** 20).toFixed(0)} MiB`,
  );
  stop.abort();
  await running;
} finally {
  database.close();
  rmSync(directory, { recursive: true, force: true });
}
