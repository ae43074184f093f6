import type { Clock } from '../../core/clock.ts';
import type { Lock } from '../../core/lock.ts';
import type { LogStore } from '../../core/log-store.ts';
import type { Orchestrator } from '../../core/orchestrator.ts';
import type { Queue } from '../../core/queue.ts';
import type { Store } from '../../core/store.ts';
import type { Scheduler, SimProcess } from './scheduler.ts';
import type { SimOrchestrator } from './sim-orchestrator.ts';

/** Time moves by what the simulation says; the wall clock also jumps. */
export class SimClock implements Clock {
  #monotonicMs = 1_000_000;
  #wallMs = 1_750_000_000_000;

  now(): number {
    return this.#wallMs;
  }
  monotonicMs(): number {
    return this.#monotonicMs;
  }
  advance(ms: number): void {
    this.#monotonicMs += ms;
    this.#wallMs += ms;
  }
  jumpWall(ms: number): void {
    this.#wallMs += ms;
  }
}

/** The store as a process of the simulation sees it: every call is a point where anything may happen first. */
export function simStore(store: Store, scheduler: Scheduler, process: SimProcess): Store {
  const call = <T>(label: string, apply: () => Promise<T>) => scheduler.call(process, label, apply);
  return {
    commit: (batch) => call('commit', () => store.commit(batch)),
    get: (kind, key) => call(`get ${kind} ${key}`, () => store.get(kind, key)),
    tombstone: (kind, key) => call('tombstone', () => store.tombstone(kind, key)),
    list: (kind, query) => call('list', () => store.list(kind, query)),
    identity: () => call('identity', () => store.identity()),
    adopt: (adoption) => call('adopt', () => store.adopt(adoption)),
    changes: (after, signal) => store.changes(after, signal),
  };
}

export function simLock(lock: Lock, scheduler: Scheduler, process: SimProcess): Lock {
  return {
    acquire: (name, leaseMs) => scheduler.call(process, 'acquire', () => lock.acquire(name, leaseMs)),
    renew: (lease, leaseMs) => scheduler.call(process, 'renew', () => lock.renew(lease, leaseMs)),
    release: (lease) => scheduler.call(process, 'release', () => lock.release(lease)),
  };
}

export function simLogs(logs: LogStore, scheduler: Scheduler, process: SimProcess): LogStore {
  return {
    appendAction: (uid, line) => scheduler.call(process, 'append action', () => logs.appendAction(uid, line)),
    actions: (uid, last) => logs.actions(uid, last),
    saveOutput: (uid, run, text, mark) =>
      scheduler.call(process, 'save output', () => logs.saveOutput(uid, run, text, mark)),
    appendOutput: (uid, run, text, mark) =>
      scheduler.call(process, 'append output', () => logs.appendOutput(uid, run, text, mark)),
    outputOfRun: (uid, run) => logs.outputOfRun(uid, run),
    output: (uid) => logs.output(uid),
    remove: (uid) => scheduler.call(process, 'remove logs', () => logs.remove(uid)),
  };
}

export function simQueue(queue: Queue, scheduler: Scheduler, process: SimProcess): Queue {
  return {
    add: (key, options) => scheduler.call(process, `add ${key}`, () => queue.add(key, options)),
    claim: (leaseMs) => scheduler.call(process, 'claim', () => claimNow(queue, leaseMs)),
    extend: (claim, leaseMs) => scheduler.call(process, 'extend', () => queue.extend(claim, leaseMs)),
    acknowledge: (claim) => scheduler.call(process, 'acknowledge', () => queue.acknowledge(claim)),
    retry: (claim, delayMs) => scheduler.call(process, 'retry', () => queue.retry(claim, delayMs)),
    park: (claim, reason, forMs) => scheduler.call(process, 'park', () => queue.park(claim, reason, forMs)),
    parked: (limit) => queue.parked(limit),
    unpark: (key) => queue.unpark(key),
    stats: () => queue.stats(),
  };
}

/** What is due now, or null: the simulation does the waiting. */
async function claimNow(queue: Queue, leaseMs: number) {
  const abort = new AbortController();
  const claim = queue.claim(leaseMs, abort.signal);
  setImmediate(() => abort.abort());
  return claim;
}

/** The orchestrator as a process sees it; now and then it does not answer. */
export function simOrchestrator(
  orchestrator: SimOrchestrator,
  scheduler: Scheduler,
  process: SimProcess,
): Pick<Orchestrator, 'ensure' | 'remove' | 'observe' | 'list' | 'logs'> {
  return {
    ensure: (workload) => scheduler.call(process, `ensure ${workload.podId}`, () => orchestrator.ensure(workload)),
    remove: (ref, options) => scheduler.call(process, `remove ${ref.podId}`, () => orchestrator.remove(ref, options)),
    observe: (ref) => scheduler.call(process, `observe ${ref.podId}`, () => orchestrator.observe(ref)),
    list: () => scheduler.call(process, 'list workloads', () => orchestrator.list()),
    logs: async () => '',
  };
}
