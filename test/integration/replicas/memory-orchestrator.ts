import { podKey } from '../../../core/ids.ts';
import type { Orchestrator } from '../../../core/orchestrator.ts';
import type { WorkloadRef } from '../../../core/workload-ref.ts';
import type { Observation, WorkloadEvent, WorkloadObservation, WorkloadPhase } from '../../../core/workloads.ts';
import { podRecord, workloadOf } from '../../support/pod-records.ts';
import { noOutput, noShell } from '../../support/no-shell.ts';

type Call = 'ensure' | 'remove' | 'observe' | 'list';

/**
 * Workloads that all replicas of a test share, as they share an API server. They move when the test says so. Each
 * replica has a view of its own, which counts what it asks for.
 */
export class MemoryOrchestrator {
  readonly #workloads = new Map<string, WorkloadObservation>();
  readonly #watchers = new Set<(key: WorkloadEvent) => void>();
  readonly calls = new Map<string, Record<Call, number>>();
  /** Phase of what is made from now on. */
  born: WorkloadPhase = 'ready';
  #ports = 10_000;

  view(replica: string): Orchestrator {
    const counts: Record<Call, number> = { ensure: 0, remove: 0, observe: 0, list: 0 };
    this.calls.set(replica, counts);
    return {
      ensure: async (workload) => {
        counts.ensure += 1;
        const { tenant, podId, uid, generation, run, annotations } = workload;
        const present = this.#workloads.get(podKey(tenant, podId));
        if (present !== undefined) {
          if (present.uid === uid && present.run === run && present.phase !== 'stopping') return { kind: 'ensured' };
          return { kind: 'wait', reason: 'another is there' };
        }
        const record = podRecord({ tenant, podId, uid, applied: { generation, run, spec: workload.spec } });
        const addresses = { default: { address: '127.0.0.1', port: (this.#ports += 1), service: null } };
        const { storeId, commit } = annotations;
        this.#put(workloadOf(record, { phase: this.born, addresses, storeId, commit }));
        return { kind: 'ensured' };
      },
      remove: async (ref, { run }) => {
        counts.remove += 1;
        const present = this.#workloads.get(podKey(ref.tenant, ref.podId));
        if (present?.uid === ref.uid && present.run <= run) this.vanish(ref);
      },
      observe: async (ref) => {
        counts.observe += 1;
        return this.#observation(ref);
      },
      glimpse: (ref) => this.#observation(ref),
      list: async () => {
        counts.list += 1;
        return [...this.#workloads.values()];
      },
      records: async () => [],
      watch: (signal) => this.#watch(signal),
      logs: async () => '',
      run: async () => undefined,
      shell: noShell,
      output: noOutput,
    };
  }

  become(ref: { readonly tenant: string; readonly podId: string }, phase: WorkloadPhase): void {
    const present = this.#workloads.get(podKey(ref.tenant, ref.podId));
    if (present === undefined) throw new Error(`no workload of ${ref.podId}`);
    this.#put({ ...present, phase });
  }

  vanish(ref: { readonly tenant: string; readonly podId: string }): void {
    this.#workloads.delete(podKey(ref.tenant, ref.podId));
    this.#tell(ref);
  }

  has(podId: string): boolean {
    return this.#workloads.has(podKey('default', podId));
  }

  #put(workload: WorkloadObservation): void {
    this.#workloads.set(podKey(workload.tenant, workload.podId), workload);
    this.#tell(workload);
  }

  #observation(ref: WorkloadRef): Observation {
    const present = this.#workloads.get(podKey(ref.tenant, ref.podId));
    return present?.uid === ref.uid ? present : { kind: 'absent', data: false };
  }

  #tell({ tenant, podId }: { readonly tenant: string; readonly podId: string }): void {
    for (const tell of this.#watchers) tell({ kind: 'changed', tenant, podId });
  }

  async *#watch(signal: AbortSignal): AsyncIterable<WorkloadEvent> {
    const events: WorkloadEvent[] = [...this.#workloads.values()].map(({ tenant, podId }) => ({
      kind: 'changed',
      tenant,
      podId,
    }));
    let wake = (): void => undefined;
    const tell = (event: WorkloadEvent): void => {
      events.push(event);
      wake();
    };
    this.#watchers.add(tell);
    const onAbort = (): void => wake();
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      while (!signal.aborted) {
        const event = events.shift();
        if (event !== undefined) yield event;
        else await new Promise<void>((resolve) => (wake = resolve));
      }
    } finally {
      this.#watchers.delete(tell);
    }
  }
}
