/**
 * A process with one health loop, for paused-leader.test.ts, which stops it (SIGSTOP) in the middle of its work: while
 * it observes a workload, between the reading of the record and what follows from it.
 */
import { createHealthLoop, type HealthLoopOptions } from '../../../control/resources/pods/reconcile/health-loop.ts';
import { createUsageOf } from '../../../control/objects/quota/count-usage.ts';
import { createUsageAudit } from '../../../control/objects/quota/usage-audit.ts';
import { createLeadership } from '../../../control/leadership/leadership.ts';
import { createStoreJudge } from '../../../control/store/store-judge.ts';
import { openRedisDatabase } from '../../../control/store/redis/redis-database.ts';
import type { PodRecord } from '../../../core/pod.ts';
import { workloadOf } from '../../support/pod-records.ts';
import { silentLog } from '../../support/silent-log.ts';

export interface PausedLeaderOptions {
  readonly url: string;
  readonly record: PodRecord;
  /** `stands still`: as on a machine that was suspended, where the monotonic clock stops with everything else. */
  readonly clock: 'runs on' | 'stands still';
  readonly leaseMs: number;
}

/** What it says, one word a message. */
export type PausedLeaderWord = 'observing' | 'removed' | 'committed' | 'fenced' | 'no longer leading';

const options = JSON.parse(process.argv[2] ?? '') as PausedLeaderOptions;
const say = (word: PausedLeaderWord): void => void process.send?.(word);

let ticks = 0;
const TICK_MS = 20;
if (options.clock === 'stands still') setInterval(() => (ticks += 1), TICK_MS);
const clock = {
  now: () => Date.now(),
  monotonicMs: () => (options.clock === 'runs on' ? performance.now() : ticks * TICK_MS),
};
const never = new AbortController().signal;
const database = await openRedisDatabase({ url: options.url, site: 'test', log: silentLog });
const { store, queue, logs, lock } = database;
const { record } = options;
const { storeId } = await store.identity();
const present = workloadOf(record, { storeId, commit: 1 });

const orchestrator: HealthLoopOptions['orchestrator'] = {
  ensure: async () => ({ kind: 'wait', reason: 'not here' }),
  remove: async () => say('removed'),
  async observe() {
    say('observing');
    // Here it is stopped. What it has seen is long past when it goes on.
    await new Promise((resolve) => setTimeout(resolve, 300));
    return { ...present, phase: 'failed', message: 'as it was seen before the pause' };
  },
  glimpse: () => present,
  list: async () => [{ ...present, phase: 'failed' }],
  records: async () => [],
  // eslint-disable-next-line require-yield -- nothing comes
  watch: async function* (signal) {
    await new Promise((resolve) => signal.addEventListener('abort', resolve));
  },
  logs: async () => '',
};
const leadership = createLeadership({
  lock,
  name: 'health',
  clock,
  log: {
    ...silentLog,
    info(_fields, message) {
      if (message === 'no longer leading') say(message);
    },
  },
  leaseMs: options.leaseMs,
  renewEveryMs: options.leaseMs / 4,
  retryMs: 10_000,
});
const health = createHealthLoop({
  usageAudit: createUsageAudit(createUsageOf(() => false)),
  reseal: async () => undefined,
  store: {
    ...store,
    async commit(batch) {
      const result = await store.commit(batch);
      // The first one of a term is empty: it raises the fence. Usage records are no one's pods.
      if (batch.puts?.some(({ kind }) => kind === 'pod') === true)
        say(result.kind === 'fenced' ? 'fenced' : 'committed');
      return result;
    },
  },
  queue,
  logs,
  orchestrator,
  judge: createStoreJudge({ store, guard: database.guard, orchestrator }),
  leadership,
  clock,
  log: { ...silentLog, warn: () => undefined },
  observed: () => undefined,
  look: () => undefined,
  lookAtAll: () => undefined,
  passed: () => undefined,
});
process.on('disconnect', () => process.exit(0));
await health.run(never);
