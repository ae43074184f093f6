import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { WorkloadRef } from '../../../core/workload-ref.ts';
import { Cgroups } from '../../../spawner/orchestrator/process/cgroups.ts';
import { ProcessMetrics } from '../../../spawner/orchestrator/process/metrics/process-metrics.ts';
import { readProcLines } from '../../../spawner/orchestrator/process/metrics/proc-usage.ts';
import { becomes, ensured, never } from '../../contract/orchestrator-harness.ts';
import { until } from '../../support/until.ts';
import {
  processOptions,
  type RunningOrchestrator,
  runProcessOrchestrator,
  scriptPod,
  SERVE,
  temporaryRoot,
} from './process-harness.ts';

const MIB = 1024 * 1024;
/** Holds 200 MiB and works without a pause, in a child of the first process. */
const BUSY = `
  if (process.env.IS_CHILD) {
    globalThis.held = Buffer.alloc(200 << 20, 1);
    console.log('busy');
    setInterval(() => { const until = Date.now() + 50; while (Date.now() < until); }, 0);
  } else require('node:child_process').spawn(process.execPath, ['-e', process.env.SCRIPT],
    { stdio: 'inherit', env: { ...process.env, IS_CHILD: '1' } });
`;

const { root, remove: removeRoot } = temporaryRoot();
let running: RunningOrchestrator;
/** A process group of its own, outside of any group of the kernel that is ours. */
let group: ChildProcess;
beforeAll(async () => {
  running = runProcessOrchestrator(processOptions(root));
  group = spawn(process.execPath, ['-e', BUSY], {
    ...{ detached: true, stdio: ['ignore', 'pipe', 'inherit'] },
    env: { ...process.env, SCRIPT: BUSY },
  });
  if (group.stdout !== null) await once(group.stdout, 'data');
});
afterAll(async () => {
  if (group.pid !== undefined) process.kill(-group.pid, 'SIGKILL');
  await running.close();
  removeRoot();
});

const refTo = (uid: string): WorkloadRef => ({ tenant: 'dev', podId: 'mypod', uid });

it('measures a running pod on request, with its children', async () => {
  const pod = scriptPod(`process.env.SCRIPT = ${JSON.stringify(BUSY)}; ${BUSY} ${SERVE}`);
  await ensured(running.orchestrator, pod);
  await becomes(running.orchestrator, pod, 'ready');
  const read = async () => {
    const reading = await running.orchestrator.metrics?.read([pod], never());
    return reading?.kind === 'measured' ? reading.workloads.get(pod.uid) : undefined;
  };
  // On a busy machine it gets only part of a CPU, and sometimes none for a while.
  const first = await until('it uses memory and CPU', async () => {
    const now = await read();
    return (now?.memoryBytes ?? 0) > 200 * MIB && (now?.cpuMillis ?? 0) > 0 ? (now ?? null) : null;
  });
  expect(first.memoryBytes).toBeLessThan(600 * MIB);
  expect(first.cpuMillis).toBeLessThan(4_000);
});

it('measures a process group by /proc without a control group, and nothing of a program that has ended', async () => {
  const pid = group.pid ?? 0;
  const metrics = new ProcessMetrics({
    cgroups: new Cgroups([]),
    leaderOf: (uid) => (uid === 'here' ? { pid, start: '' } : uid === 'ended' ? { pid: 2 ** 22, start: '' } : null),
    clock: { now: () => Date.now(), monotonicMs: () => performance.now() },
  });
  const reading = await metrics.read(['here', 'ended', 'nowhere'].map(refTo), never());
  if (reading.kind !== 'measured') throw new Error(reading.reason);
  expect([...reading.workloads.keys()]).toEqual(['here', 'ended']);
  const { memoryBytes, cpuMillis, windowMs } = reading.workloads.get('here') ?? {};
  expect(memoryBytes).toBeGreaterThan(200 * MIB);
  expect(memoryBytes).toBeLessThan(500 * MIB);
  expect(cpuMillis).toBeGreaterThanOrEqual(0);
  expect(windowMs).toBeGreaterThanOrEqual(499);
  expect(reading.workloads.get('ended')).toMatchObject({ memoryBytes: null, cpuMillis: null });
  expect(readProcLines().some((line) => line.ppid === pid)).toBe(true);
});

it('reports why it measures nothing on systems other than Linux', async () => {
  const { clock } = processOptions(root);
  const metrics = new ProcessMetrics({ cgroups: new Cgroups([]), leaderOf: () => null, clock, platform: 'darwin' });
  expect(await metrics.read([refTo('here')], never())).toEqual({
    kind: 'unavailable',
    reason: 'Memory and CPU of pods are measured on Linux alone.',
  });
});
