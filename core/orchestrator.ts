import type { DataSnapshots } from './data-snapshots.ts';
import type { Shell } from './shell.ts';
import type { CheckUseInside } from './use-inside.ts';
import type { WorkloadLogs } from './workload-logs.ts';
import type { WorkloadMetrics } from './workload-metrics.ts';
import type { WorkloadOutput } from './workload-output.ts';
import type { Workloads } from './workloads.ts';

/**
 * What pods run on: one object with a small interface for each thing it does. A part of Podgate takes the interface that
 * it needs, such as `Workloads`, not all of it. What is added later gets an interface in a file of its own and a property
 * here, as `shell` has.
 */
export interface Orchestrator extends Workloads, WorkloadLogs {
  readonly shell: Shell;
  readonly output: WorkloadOutput;
  /** What workloads use. Absent: this orchestrator cannot tell. */
  readonly metrics?: WorkloadMetrics;
  /** Names of the templates whose data a new workload can begin with a copy of (`WorkloadSpec.origin`). Absent: none. */
  readonly clones?: ReadonlySet<string>;
  /** Absent: it cannot copy the data of pods. */
  readonly snapshots?: DataSnapshots;
  /** Absent: no template has such a check. */
  readonly useInside?: CheckUseInside;
  /** Does the background work until the signal aborts. */
  run(signal: AbortSignal): Promise<void>;
}
