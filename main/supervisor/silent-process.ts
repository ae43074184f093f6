import { readFileSync } from 'node:fs';
import type { SilentProcess } from './hang-watch.ts';

/** What /proc says about a process; null without /proc. Never throws. */
export function lookAtSilentProcess(pid: number): SilentProcess | null {
  try {
    const status = readFileSync(`/proc/${pid}/status`, 'latin1');
    return {
      waitedMs: waitedMsOf(pid),
      isTraced: !/^TracerPid:\t0$/m.test(status),
      isBlocked: /^State:\tD/m.test(status),
    };
  } catch {
    return null;
  }
}

/** The second number: ns spent waiting on a run queue (Documentation/scheduler/sched-stats.rst), of the main thread. */
function waitedMsOf(pid: number): number {
  try {
    return Number(readFileSync(`/proc/${pid}/schedstat`, 'latin1').split(' ')[1]) / 1e6 || 0;
  } catch {
    // A kernel without it.
    return 0;
  }
}
