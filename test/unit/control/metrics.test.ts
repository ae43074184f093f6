import { describe, expect, it } from 'vitest';
import { controlMetrics } from '../../../control/metrics/control-metrics.ts';
import { collectMetrics, exposition } from '../../../control/metrics/exposition.ts';
import { createWorkerMetrics } from '../../../control/metrics/worker-metrics.ts';
import { newDurations } from '../../../core/durations.ts';
import { parseWorkerCounts, type WorkerCounts } from '../../../core/worker-counts.ts';
import { createCounters } from '../../../proxy/telemetry/counters.ts';
import { silentLog } from '../../support/silent-log.ts';

const counts: WorkerCounts = {
  ...createCounters(),
  accepted: 3,
  active: 1,
  requestsNow: 2,
  sessionsNow: 1,
  droppedLines: 0,
  durations: newDurations(),
  process: { cpuSeconds: 1.5, residentBytes: 1e8, eventLoopDelaySeconds: 0.001, eventLoopDelayMaxSeconds: 0.002 },
};

describe('the text of the metrics', () => {
  it('has help, type and samples, families of one name together, and escapes what could break a line', () => {
    const text = exposition([
      { name: 'a_total', help: 'As.\nMore \\ of them.', kind: 'counter', samples: [{ labels: {}, value: 1 }] },
      { name: 'b', help: 'B.', kind: 'gauge', samples: [] },
      { name: 'a_total', help: 'As.', kind: 'counter', samples: [{ labels: { x: 'q"\\\n' }, value: Number.NaN }] },
    ]);
    expect(text).toBe(
      '# HELP a_total As.\\nMore \\\\ of them.\n# TYPE a_total counter\na_total 1\na_total{x="q\\"\\\\\\n"} NaN\n' +
        '# HELP b B.\n# TYPE b gauge\n',
    );
  });

  it('omits a source that fails, and keeps the others', async () => {
    const text = await collectMetrics(
      [
        () => Promise.reject(new Error('the store is away')),
        () => [{ name: 'b', help: 'B.', kind: 'gauge', samples: [{ labels: {}, value: Infinity }] }],
      ],
      silentLog,
    );
    expect(text).toBe('# HELP b B.\n# TYPE b gauge\nb +Inf\n');
  });

  it('is well-formed, whatever the values are', () => {
    const workers = createWorkerMetrics();
    const [first, second] = [{}, {}];
    workers.tell({ worker: 0 }, counts, first);
    workers.tell({ worker: 1 }, { ...counts, accepted: 4 }, second);
    const feed = {
      isReady: true,
      sequence: 7,
      followerCount: 2,
      podsByStatus: () => ({ RUNNING: 2 }) as ReturnType<Parameters<typeof controlMetrics>[0]['feed']['podsByStatus']>,
    };
    const families = controlMetrics({
      version: '1',
      queue: { stats: () => Promise.resolve({ due: 0, delayed: 0, leased: 0, parked: 0 }) },
      feed,
      trust: () => null,
      heldBack: () => ({ removals: [1, 2, 3] }),
    });
    const lines = exposition([...families, ...workers.metrics()])
      .trimEnd()
      .split('\n');
    for (const line of lines)
      expect(line).toMatch(/^(# (HELP|TYPE) podgate_\w+ .+|podgate_\w+(\{(\w+="[^"]*",?)+\})? \S+)$/);
    const names = lines.filter((line) => line.startsWith('# TYPE')).map((line) => line.split(' ')[2]);
    expect(new Set(names).size).toBe(names.length);
    expect(lines).toContain('podgate_connections_accepted_total{worker="0"} 3');
    expect(lines).toContain('podgate_connections_accepted_total{worker="1"} 4');
    expect(lines).toContain('podgate_store_healthy 0');
    expect(lines).toContain('podgate_removals_held_back 3');
    expect(lines).toContain('podgate_pods{status="RUNNING"} 2');
    // A worker that was replaced goes later than its successor comes.
    workers.forget({ worker: 1 }, first);
    expect(exposition(workers.metrics())).toContain('worker="1"');
    workers.forget({ worker: 1 }, second);
    expect(exposition(workers.metrics())).not.toContain('worker="1"');
  });
});

describe('the counts of a worker', () => {
  it('are accepted as sent, and refused when they contain anything else', () => {
    expect(parseWorkerCounts(JSON.parse(JSON.stringify(counts)))).toEqual(counts);
    for (const wrong of [null, 1, {}, { ...counts, closed: null }, { ...counts, ended: { finished: 'x' } }]) {
      expect(parseWorkerCounts(wrong)).toBeNull();
    }
    const many = Object.fromEntries(Array.from({ length: 101 }, (_, at) => [`k${at}`, 1]));
    expect(parseWorkerCounts({ ...counts, closed: many })).toBeNull();
  });
});
