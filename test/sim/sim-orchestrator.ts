import type { WorkloadRef } from '../../core/workload-ref.ts';
import type {
  AnnotatedWorkload,
  EnsureResult,
  Observation,
  WorkloadAnnotations,
  WorkloadObservation,
  WorkloadSpec,
} from '../../core/workloads.ts';
import { podKey } from '../../core/ids.ts';
import type { Chance } from './scheduler.ts';

type SimWorkload = { -readonly [K in keyof WorkloadObservation]: WorkloadObservation[K] } & {
  startedMs: number;
  annotations: WorkloadAnnotations;
};

/** Few, and given out again at once: a route that outlives its workload meets another pod's. */
const ADDRESSES = Array.from({ length: 12 }, (_, index) => `10.0.0.${index + 1}`);

/**
 * Workloads as the laws of core/orchestrator.ts let them be, moved along by chance. Synchronous: the simulation puts the
 * waiting, the failures and the reordering around it.
 */
export class SimOrchestrator {
  readonly #chance: Chance;
  readonly #monotonicMs: () => number;
  readonly #workloads = new Map<string, SimWorkload>();
  readonly #data = new Set<string>();
  readonly #changed: (key: string) => void;
  /** Every owner an address ever had. */
  readonly ownersEver = new Map<string, Set<string>>();
  readonly dataDeleted = new Set<string>();

  constructor(chance: Chance, monotonicMs: () => number, changed: (key: string) => void) {
    this.#chance = chance;
    this.#monotonicMs = monotonicMs;
    this.#changed = changed;
  }

  ensure(workload: WorkloadSpec): EnsureResult {
    const key = podKey(workload.tenant, workload.podId);
    const existing = this.#workloads.get(key);
    if (existing !== undefined) {
      const { uid, generation, run, phase } = existing;
      const isSame = uid === workload.uid && generation === workload.generation && run === workload.run;
      if (isSame && phase !== 'stopping') return { kind: 'ensured' };
      const isNewer =
        (uid === workload.uid && run > workload.run) ||
        (existing.storeId === workload.annotations.storeId && existing.commit > workload.annotations.commit);
      if (!isNewer) this.#stop(key, existing);
      return { kind: 'wait', reason: isNewer ? 'a newer workload is there' : 'the former workload is ending' };
    }
    if (this.#chance.isHit(0.05)) return { kind: 'failed', reason: 'no room', retryable: true };
    const taken = new Set([...this.#workloads.values()].map((other) => other.addresses['default']?.address));
    const address = ADDRESSES.find((candidate) => !taken.has(candidate));
    if (address === undefined) return { kind: 'failed', reason: 'no address', retryable: true };
    const owners = this.ownersEver.get(address) ?? new Set();
    this.ownersEver.set(address, owners.add(workload.uid));
    this.#data.add(workload.uid);
    this.#workloads.set(key, {
      kind: 'workload',
      uid: workload.uid,
      tenant: workload.tenant,
      podId: workload.podId,
      generation: workload.generation,
      run: workload.run,
      phase: 'pending',
      message: '',
      ageMs: 0,
      startedMs: this.#monotonicMs(),
      annotations: workload.annotations,
      startTime: null,
      exitCode: null,
      signal: null,
      restarts: 0,
      addresses: { default: { address, port: 5000, service: null } },
      storeId: workload.annotations.storeId,
      commit: workload.annotations.commit,
    });
    this.#changed(key);
    return { kind: 'ensured' };
  }

  remove(ref: WorkloadRef, options: { data: 'keep' | 'delete'; run: number }): void {
    const key = podKey(ref.tenant, ref.podId);
    const existing = this.#workloads.get(key);
    if (existing?.uid === ref.uid && existing.run <= options.run) this.#stop(key, existing);
    if (options.data === 'delete' && existing?.uid !== ref.uid) {
      this.#data.delete(ref.uid);
      this.dataDeleted.add(ref.uid);
    }
  }

  observe(ref: WorkloadRef): Observation {
    const existing = this.#workloads.get(podKey(ref.tenant, ref.podId));
    if (existing?.uid !== ref.uid) return { kind: 'absent', data: this.#data.has(ref.uid) };
    return this.#seen(existing);
  }

  /** What the watch has told is what is there: the simulation delays events, not this. */
  glimpse(ref: WorkloadRef): Observation {
    return this.observe(ref);
  }

  list(): readonly WorkloadObservation[] {
    return [...this.#workloads.values()].map((workload) => this.#seen(workload));
  }

  records(): readonly AnnotatedWorkload[] {
    return [...this.#workloads.values()].map(({ tenant, podId, uid, annotations }) => ({
      tenant,
      podId,
      uid,
      ...annotations,
    }));
  }

  /** The uid that now has this address, or null. */
  ownerOf(address: string): string | null {
    for (const workload of this.#workloads.values()) {
      if (workload.addresses['default']?.address === address) return workload.uid;
    }
    return null;
  }

  /** One workload moves one phase on; with `isRough`, some fail, complete or vanish. */
  advance(isRough: boolean): void {
    const keys = [...this.#workloads.keys()];
    if (keys.length === 0) return;
    const key = this.#chance.pick(keys);
    const workload = this.#workloads.get(key);
    if (workload === undefined) return;
    const { phase } = workload;
    if (phase === 'stopping' || (isRough && this.#chance.isHit(0.02))) this.#workloads.delete(key);
    else if (phase === 'pending') workload.phase = 'starting';
    else if (phase === 'starting') workload.phase = isRough && this.#chance.isHit(0.2) ? 'crashing' : 'ready';
    else if (phase === 'crashing') workload.phase = 'ready';
    else if (phase === 'ready' && isRough && this.#chance.isHit(0.1)) {
      workload.phase = this.#chance.pick(['crashing', 'failed', 'completed', 'starting', 'evicted', 'exceeded']);
    } else return;
    this.#changed(key);
  }

  #stop(key: string, workload: SimWorkload): void {
    if (workload.phase === 'stopping') return;
    workload.phase = 'stopping';
    this.#changed(key);
  }

  #seen(workload: SimWorkload): WorkloadObservation {
    return { ...workload, ageMs: this.#monotonicMs() - workload.startedMs };
  }
}
