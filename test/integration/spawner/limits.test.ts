import { existsSync, readFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { WorkloadRef } from '../../../core/workload-ref.ts';
import { openCgroups } from '../../../spawner/orchestrator/process/cgroups.ts';
import { becomes, becomesAbsent, ensured, never } from '../../contract/orchestrator-harness.ts';
import { podSpec } from '../../support/pod-records.ts';
import { silentLog } from '../../support/silent-log.ts';
import { until } from '../../support/until.ts';
import {
  asRoot,
  processOptions,
  type RunningOrchestrator,
  runProcessOrchestrator,
  scriptPod,
  SERVE,
  temporaryRoot,
} from './process-harness.ts';

const probe = openCgroups('probe', asRoot, silentLog);
const { limits } = probe;
probe.close();

// Only root may set limits, and only where control groups may be written to.
describe.skipIf(limits.length < 3)('limits of pods', () => {
  const { root, remove: removeRoot } = temporaryRoot();
  let running: RunningOrchestrator;
  beforeAll(() => {
    running = runProcessOrchestrator(processOptions(root));
  });
  afterAll(async () => {
    await running.close();
    removeRoot();
  });
  const logsOf = (ref: WorkloadRef) => running.orchestrator.logs(ref, { tailBytes: 100_000 }, never());
  const limited = (script: string, resources: { cpuLimit?: number; memLimit?: number }) =>
    scriptPod(script, { resources: { ...podSpec({}).resources, ...resources } });
  async function removed(ref: WorkloadRef) {
    await running.orchestrator.remove(ref, { data: 'delete', run: 99 }, never());
    await becomesAbsent(running.orchestrator, ref);
  }

  it('a pod that uses more memory than its limit is killed, and its user gets the reason', async () => {
    const pod = limited('const kept = []; setInterval(() => kept.push(Buffer.alloc(16 << 20, 1)), 5);', {
      memLimit: 256,
    });
    await ensured(running.orchestrator, pod);
    const seen = await until('it is killed', async () => {
      const now = await running.orchestrator.observe(pod, never());
      return now.kind === 'workload' && /out of memory/.test(now.message) ? now : null;
    });
    expect(seen.message).toMatch(/out of memory \(limit 256 MiB\)/);
    await removed(pod);
  });

  it('a pod gets no more CPU time than its limit', async () => {
    const script = `
      const begun = Date.now();
      while (Date.now() - begun < 2_000);
      const { user, system } = process.cpuUsage();
      console.log('share', (user + system) / 1_000 / (Date.now() - begun));
    `;
    const pod = limited(script, { cpuLimit: 250 });
    await ensured(running.orchestrator, pod);
    await becomes(running.orchestrator, pod, 'completed');
    // On a busy machine it gets less. A period that has begun may be used up.
    expect(Number(/share (.*)/.exec(await logsOf(pod))?.[1])).toBeLessThan(0.4);
    await removed(pod);
  });

  it('every process of a pod is in its control groups, which are removed with it', async () => {
    const pod = scriptPod(`console.log(require('node:fs').readFileSync('/proc/self/cgroup', 'utf8')); ${SERVE}`);
    await ensured(running.orchestrator, pod);
    await becomes(running.orchestrator, pod, 'ready');
    const groups = new RegExp(`podgate-${running.options.installation}/${pod.uid}$`, 'gm');
    expect((await logsOf(pod)).match(groups)?.length).toBeGreaterThan(0);
    const files = openCgroups(running.options.installation, asRoot, silentLog).make(pod.uid, podSpec({}).resources);
    const pidsMax = files.map((file) => `${dirname(file)}/pids.max`).find((file) => existsSync(file)) ?? '';
    expect(readFileSync(pidsMax, 'utf8').trim()).toBe('4096');
    await removed(pod);
    for (const file of files) expect(existsSync(file)).toBe(false);
  });
});
