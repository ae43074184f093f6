import { existsSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { WorkloadRef } from '../../../core/workload-ref.ts';
import { becomes, becomesAbsent, ensured, never } from '../../contract/orchestrator-harness.ts';
import { podSpec } from '../../support/pod-records.ts';
import {
  processOptions,
  type RunningOrchestrator,
  runProcessOrchestrator,
  scriptPod,
  SERVE,
  temporaryRoot,
  walls,
} from './process-harness.ts';

const MIB = 1024 * 1024;

// Without a mount namespace pods use the machine's.
describe.skipIf(!walls.hasNamespaces && !walls.hasUserNamespaces)('shared memory of process pods', () => {
  const { root, remove: removeRoot } = temporaryRoot();
  let running: RunningOrchestrator;
  beforeAll(() => {
    running = runProcessOrchestrator(processOptions(root));
  });
  afterAll(async () => {
    await running.close();
    removeRoot();
  });

  it('is private, as large as their memory limit, and removed with them', async () => {
    const file = `podgate-test-${process.pid}`;
    const script = `
      const fs = require('node:fs');
      const { blocks, bsize } = fs.statfsSync('/dev/shm');
      console.log('bytes', blocks * bsize, 'files', fs.readdirSync('/dev/shm').length);
      fs.writeFileSync('/dev/shm/${file}', 'mine');
      ${SERVE}
    `;
    const said = async (pod: ReturnType<typeof scriptPod>) => {
      await ensured(running.orchestrator, pod);
      await becomes(running.orchestrator, pod, 'ready');
      return running.orchestrator.logs(pod, { tailBytes: 10_000 }, never());
    };
    const removed = async (pod: WorkloadRef, run: number) => {
      await running.orchestrator.remove(pod, { data: 'keep', run }, never());
      await becomesAbsent(running.orchestrator, pod);
    };
    const resources = { ...podSpec({}).resources, memLimit: 300 };
    const [first, second] = [scriptPod(script, { resources }), scriptPod(script, { resources })];
    const expected = `bytes ${300 * MIB} files 0`;
    expect(await said(first)).toContain(expected);
    // At the same time, and again after an end.
    expect(await said(second)).toContain(expected);
    await removed(first, 1);
    expect(await said({ ...first, run: 2 })).toContain(expected);
    expect(existsSync(`/dev/shm/${file}`)).toBe(false);
    await removed(first, 2);
    await removed(second, 1);
  });
});
