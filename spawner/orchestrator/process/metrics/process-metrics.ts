import { setImmediate as nextLoop } from 'node:timers/promises';

import { pause } from '../../../../core/abort.ts';
import type { Clock } from '../../../../core/clock.ts';
import {
  MEASURED_MAX,
  type MeasuredWorkload,
  type MetricsReading,
  type WorkloadMetrics,
} from '../../../../core/workload-metrics.ts';
import type { WorkloadRef } from '../../../../core/workload-ref.ts';
import type { ProcessName } from '../belonging.ts';
import type { Cgroups } from '../cgroups.ts';
import { groupsOf, readProcLines, usageOf } from './proc-usage.ts';

/** CPU is a difference: of a workload that nobody has asked about lately, it is measured over this time. */
const FIRST_WINDOW_MS = 500;
/** An answer is as old as this at most; whoever asks within it gets the same. */
const FRESH_MS = 1_000;
/** A sample that is older says nothing about now. */
const SAMPLE_MAX_AGE_MS = 60_000;
/** Workloads measured in one turn of the event loop: some 50 us each. */
const TURN = 20;
const NOT_LINUX = 'Memory and CPU of pods are measured on Linux alone.';

interface Sample {
  readonly atMs: number;
  readonly memoryBytes: number | null;
  readonly cpuMs: number | null;
}

interface Kept {
  readonly sample: Sample;
  readonly measured: MeasuredWorkload;
}

export interface ProcessMetricsOptions {
  readonly cgroups: Pick<Cgroups, 'usage'>;
  /** Of the process group of its program; null: nothing of it runs. */
  readonly leaderOf: (uid: string) => ProcessName | null;
  readonly clock: Clock;
  readonly platform?: NodeJS.Platform;
}

/** Memory and CPU of process pods: from their control groups, and from /proc where those do not tell. */
export class ProcessMetrics implements WorkloadMetrics {
  readonly #options: ProcessMetricsOptions;
  /** Of workloads that run and that somebody has asked about in the last minute. */
  readonly #kept = new Map<string, Kept>();

  constructor(options: ProcessMetricsOptions) {
    this.#options = options;
  }

  async read(refs: readonly WorkloadRef[], signal: AbortSignal): Promise<MetricsReading> {
    if (refs.length > MEASURED_MAX) throw new RangeError(`at most ${MEASURED_MAX} workloads are measured in one call`);
    if ((this.#options.platform ?? process.platform) !== 'linux') return { kind: 'unavailable', reason: NOT_LINUX };
    this.#forget();
    const nowMs = this.#options.clock.monotonicMs();
    const uids = [...new Set(refs.map(({ uid }) => uid))];
    const due = uids.filter((uid) => nowMs - (this.#kept.get(uid)?.sample.atMs ?? -Infinity) >= FRESH_MS);
    const first = await this.#sample(due.filter((uid) => !this.#kept.has(uid)));
    if (first.size > 0) await pause(FIRST_WINDOW_MS, signal);
    for (const [uid, sample] of await this.#sample(due)) {
      const former = first.get(uid) ?? this.#kept.get(uid)?.sample;
      this.#kept.set(uid, { sample, measured: this.#measured(former, sample) });
    }
    const measured = uids.flatMap((uid): [string, MeasuredWorkload][] => {
      const kept = this.#kept.get(uid);
      return kept === undefined || this.#leaderOf(uid) === null ? [] : [[uid, kept.measured]];
    });
    return { kind: 'measured', workloads: new Map(measured) };
  }

  /** Of those that run. */
  async #sample(uids: readonly string[]): Promise<ReadonlyMap<string, Sample>> {
    const samples = new Map<string, Sample>();
    let groups: ReadonlyMap<number, Iterable<number>> | null = null;
    for (const [index, uid] of uids.entries()) {
      if (index > 0 && index % TURN === 0) await nextLoop();
      const leader = this.#leaderOf(uid);
      if (leader === null) continue;
      const told = this.#options.cgroups.usage(uid);
      let { memoryBytes, cpuMs } = told;
      if (memoryBytes === null || cpuMs === null) {
        groups ??= told.pids === null ? groupsOf(readProcLines(), this.#leaders(uids)) : null;
        const usage = usageOf(told.pids ?? groups?.get(leader.pid) ?? []);
        memoryBytes ??= usage?.memoryBytes ?? null;
        cpuMs ??= usage?.cpuMs ?? null;
      }
      samples.set(uid, { atMs: this.#options.clock.monotonicMs(), memoryBytes, cpuMs });
    }
    return samples;
  }

  #leaderOf(uid: string): ProcessName | null {
    return this.#options.leaderOf(uid);
  }

  #leaders(uids: readonly string[]): ReadonlySet<number> {
    return new Set(uids.flatMap((uid) => this.#leaderOf(uid)?.pid ?? []));
  }

  #measured(former: Sample | undefined, { atMs, memoryBytes, cpuMs }: Sample): MeasuredWorkload {
    const measuredAtMs = this.#options.clock.now();
    const windowMs = Math.round(atMs - (former?.atMs ?? atMs));
    const beforeMs = former?.cpuMs ?? null;
    const usedMs = beforeMs === null || cpuMs === null ? -1 : cpuMs - beforeMs;
    // Less than before: it was started again.
    if (windowMs <= 0 || usedMs < 0) return { memoryBytes, cpuMillis: null, windowMs: 0, measuredAtMs };
    return { memoryBytes, cpuMillis: Math.round((1_000 * usedMs) / windowMs), windowMs, measuredAtMs };
  }

  #forget(): void {
    const oldestMs = this.#options.clock.monotonicMs() - SAMPLE_MAX_AGE_MS;
    for (const [uid, { sample }] of this.#kept) {
      if (sample.atMs < oldestMs || this.#leaderOf(uid) === null) this.#kept.delete(uid);
    }
  }
}
