import { monitorEventLoopDelay } from 'node:perf_hooks';
import type { ProcessNumbers } from '../core/worker-counts.ts';

const RESOLUTION_MS = 20;

/** Answers what this process uses; the delay is that since the last call. */
export function watchProcessNumbers(): () => ProcessNumbers {
  const delay = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
  delay.enable();
  return () => {
    const { user, system } = process.cpuUsage();
    const lateNs = delay.count === 0 ? 0 : delay.percentile(99);
    delay.reset();
    return {
      cpuSeconds: (user + system) / 1e6,
      residentBytes: process.memoryUsage.rss(),
      eventLoopDelaySeconds: Math.max(0, lateNs / 1e9 - RESOLUTION_MS / 1e3),
    };
  };
}
