import { statSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { WorkloadRef } from '../../../core/workload-ref.ts';
import { becomes, becomesAbsent, ensured, never } from '../../contract/orchestrator-harness.ts';
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
const LIMIT_MIB = 64;

/** Writes so many MiB into a file, some at a time, and then does nothing. */
const fill = (file: string, mib: number) => `
  const { openSync, writeSync } = require('node:fs');
  const fd = openSync(${file}, 'a');
  let left = ${mib};
  const more = setInterval(() => {
    for (let at = 0; at < 4 && left > 0; at += 1, left -= 1) writeSync(fd, Buffer.alloc(${MIB}, 1));
    if (left === 0) clearInterval(more);
  }, 20);
  ${SERVE}
`;

describe('the disk of process pods', () => {
  const { root, remove: removeRoot } = temporaryRoot();
  let running: RunningOrchestrator;
  beforeAll(() => {
    const disk = { homeMiB: LIMIT_MIB, volumeMiB: LIMIT_MIB, files: 2_000 };
    running = runProcessOrchestrator(processOptions(root, { disk, limits: { diskCheckMs: 50 } }));
  });
  afterAll(async () => {
    await running.close();
    removeRoot();
  });

  const removed = async (pod: WorkloadRef, data: 'keep' | 'delete', run = 1) => {
    await running.orchestrator.remove(pod, { data, run }, never());
    await becomesAbsent(running.orchestrator, pod);
  };
  const messageOf = async (pod: WorkloadRef) => {
    const seen = await running.orchestrator.observe(pod, never());
    return seen.kind === 'workload' ? seen.message : '';
  };

  it('a pod that comes near its limit is warned, and continues to run', async () => {
    const pod = scriptPod(fill("'big'", 61));
    await ensured(running.orchestrator, pod);
    await until('it is told', async () => /^its volume uses more than 9[05] % of 64 MiB/.test(await messageOf(pod)));
    await becomes(running.orchestrator, pod, 'ready');
    await removed(pod, 'delete');
  });

  it('a pod that fills its volume is stopped for good, with the reason', async () => {
    const pod = scriptPod(fill("'big'", 100_000));
    await ensured(running.orchestrator, pod);
    await becomes(running.orchestrator, pod, 'failed');
    expect(await messageOf(pod)).toMatch(/^its volume uses \d+ MiB of 64 MiB: stopped/);
    const file = join(root, 'pods', 'volumes', pod.uid, 'big');
    const { size } = statSync(file);
    await running.orchestrator.observe(pod, never());
    expect(statSync(file).size).toBe(size);
    await removed(pod, 'delete');
  });

  it('a pod that creates too many files is stopped, including those in directories closed to itself', async () => {
    const pod = scriptPod(`
      const fs = require('node:fs');
      fs.mkdirSync('closed');
      fs.mkdirSync('open');
      for (let i = 0; i < 1_500; i += 1) fs.writeFileSync('closed/' + i, '');
      fs.chmodSync('closed', 0);
      for (let i = 0; i < 1_500; i += 1) fs.writeFileSync('open/' + i, '');
      ${SERVE}
    `);
    await ensured(running.orchestrator, pod);
    await becomes(running.orchestrator, pod, 'failed');
    // Neither directory alone has as many. It may be counted while it still writes.
    expect(await messageOf(pod)).toMatch(/^it has [23]\d\d\d of 2000 files: stopped/);
    await removed(pod, 'delete');
  });

  it('a pod that was stopped for its volume starts again so that its user can free space, and cannot fill more', async () => {
    const full = scriptPod(fill("process.env.DATA_DIR + '/big'", 100_000), { persistentVolume: true });
    await ensured(running.orchestrator, full);
    await becomes(running.orchestrator, full, 'failed');
    await removed(full, 'keep');
    const cleaner = `
      setTimeout(() => require('node:fs').rmSync(process.env.DATA_DIR + '/big'), 500);
      ${SERVE}
    `;
    const again = { ...scriptPod(cleaner, { persistentVolume: true }), uid: full.uid, podId: full.podId, run: 2 };
    await ensured(running.orchestrator, again);
    await becomes(running.orchestrator, again, 'ready');
    await until('the warning is gone', async () => (await messageOf(again)) === '');
    await removed(again, 'delete', 2);
  });
});
