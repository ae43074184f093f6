import { createHistogram, monitorEventLoopDelay } from 'node:perf_hooks';
import { coalesce } from '../core/coalesce.ts';
import type { ProcessNumbers } from '../core/worker-counts.ts';

/** How often the event loop is looked at, in a process that has work. */
const LOOK_EVERY_MS = 20;
/** In an idle one, where each look would be a wake-up of its own: together with its other timers. */
const IDLE_LOOK_EVERY_MS = 1_000;
/** An idle process uses at most this part of a core. */
const IDLE_CPU = 0.03;
const ADJUST_EVERY_MS = 2_000;

/** Returns what this process uses; the delay is that since the last call. Never throws. */
export function watchProcessNumbers(): () => ProcessNumbers {
  const lateNs = createHistogram();
  // How long each turn of the event loop took. Costs no wake-up, so an idle process misses no delay between two looks.
  const turnsNs = monitorEventLoopDelay({ samplePerIteration: true });
  turnsNs.enable();
  let residentBytes = 0;
  let usedMs = cpuMs();
  let lookEveryMs = LOOK_EVERY_MS;
  let adjustedMs = performance.now();

  const adjust = (nowMs: number): void => {
    const beforeMs = usedMs;
    usedMs = cpuMs();
    // By CPU time: on a machine that others keep busy, an idle process waits long for its turn.
    const isIdle = usedMs - beforeMs < IDLE_CPU * (nowMs - adjustedMs);
    lookEveryMs = isIdle ? IDLE_LOOK_EVERY_MS : LOOK_EVERY_MS;
    adjustedMs = nowMs;
  };
  const lookLater = (): void => {
    const isIdle = lookEveryMs === IDLE_LOOK_EVERY_MS;
    const waitMs = coalesce(lookEveryMs);
    const dueMs = performance.now() + waitMs;
    setTimeout(() => {
      const nowMs = performance.now();
      const longestTurnNs = isIdle ? turnsNs.max : 0;
      turnsNs.reset();
      lateNs.record(Math.max(1, Math.round((nowMs - dueMs) * 1e6), longestTurnNs));
      if (nowMs - adjustedMs >= ADJUST_EVERY_MS) adjust(nowMs);
      lookLater();
    }, waitMs).unref();
  };
  lookLater();

  return () => {
    const seconds = (ns: number): number => (lateNs.count === 0 ? 0 : ns / 1e9);
    const eventLoopDelaySeconds = seconds(lateNs.percentile(99));
    const eventLoopDelayMaxSeconds = seconds(lateNs.max);
    lateNs.reset();
    try {
      residentBytes = process.memoryUsage.rss();
    } catch {
      // It opens a file in /proc. Without a descriptor left, the last number stands.
    }
    return { cpuSeconds: cpuMs() / 1e3, residentBytes, eventLoopDelaySeconds, eventLoopDelayMaxSeconds };
  };
}

function cpuMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e3;
}
