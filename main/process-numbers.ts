import { monitorEventLoopDelay } from 'node:perf_hooks';
import type { ProcessNumbers } from '../core/worker-counts.ts';

const RESOLUTION_MS = 20;

/** Returns what this process uses; the delay is that since the last call. Never throws. */
export function watchProcessNumbers(): () => ProcessNumbers {
  const delay = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
  delay.enable();
  let residentBytes = 0;
  return () => {
    const { user, system } = process.cpuUsage();
    const lateNs = delay.count === 0 ? 0 : delay.percentile(99);
    const latestNs = delay.count === 0 ? 0 : delay.max;
    delay.reset();
    try {
      residentBytes = process.memoryUsage.rss();
    } catch {
      // It opens a file in /proc. Without a descriptor left, the last number stands.
    }
    return {
      cpuSeconds: (user + system) / 1e6,
      residentBytes,
      eventLoopDelaySeconds: delaySeconds(lateNs),
      eventLoopDelayMaxSeconds: delaySeconds(latestNs),
    };
  };
}

/** The histogram counts the time between two of its own timers. */
function delaySeconds(betweenNs: number): number {
  return Math.max(0, betweenNs / 1e9 - RESOLUTION_MS / 1e3);
}
