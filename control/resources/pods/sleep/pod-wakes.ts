import type { Clock } from '../../../../core/clock.ts';
import type { RouteFeed, WakeMessage } from '../../../../core/feed-protocol.ts';
import { podKey } from '../../../../core/ids.ts';
import { wakeChange } from '../../../../core/lifecycle/plan.ts';
import type { LogStore } from '../../../../core/log-store.ts';
import type { Logger } from '../../../../core/logger.ts';
import type { PodRecord } from '../../../../core/pod.ts';
import type { Store } from '../../../../core/store.ts';
import { KeyedWork } from '../../../objects/keyed-work.ts';
import { noteAction } from '../pod-parts.ts';
import { changeRecord } from './change-record.ts';
import type { SleepMetrics } from './sleep-metrics.ts';

const CONCURRENCY = 16;
const RETRY_MS = 1_000;
/** Wakes whose duration is measured at a time. */
const MEASURED_MAX = 1_000;
const MEASURED_MS = 15 * 60_000;

export interface PodWakesOptions {
  readonly store: Pick<Store, 'get' | 'commit'>;
  readonly logs: LogStore;
  /** Knows the records of this replica, and when a woken pod is reached. */
  readonly feed: RouteFeed & { recordOf(key: string): PodRecord | null };
  /** False: the store is suspect, and nothing is started. */
  readonly mayWork: () => boolean;
  readonly clock: Clock;
  readonly log: Logger;
  readonly metrics: SleepMetrics;
}

/**
 * Wakes pods that clients wait for, in whatever replica their worker's message arrives: by compare-and-set, so that any
 * number of messages cause one start. What is in memory says first that there is nothing to do; a message that comes before
 * this replica knows of the sleep is repeated by the worker.
 */
export class PodWakes {
  readonly #options: PodWakesOptions;
  readonly #wanted = new Map<string, WakeMessage>();
  readonly #work: KeyedWork;
  #measured = 0;

  constructor(options: PodWakesOptions) {
    this.#options = options;
    const work = (key: string): Promise<void> => this.#wake(key);
    this.#work = new KeyedWork({ work, concurrency: CONCURRENCY, retryMs: RETRY_MS, log: options.log });
  }

  wanted(message: WakeMessage): void {
    const key = podKey(message.tenant, message.podId);
    const known = this.#options.feed.recordOf(key);
    if (known?.uid !== message.uid || wakeChange(known) === null) return;
    this.#wanted.set(key, message);
    this.#work.add(key);
  }

  close(): Promise<void> {
    return this.#work.close();
  }

  async #wake(key: string): Promise<void> {
    const { store, clock, mayWork, metrics } = this.#options;
    const message = this.#wanted.get(key);
    this.#wanted.delete(key);
    if (message === undefined || !mayWork()) return;
    const woken = await changeRecord({ store, clock }, key, (record) =>
      record.uid === message.uid ? wakeChange(record) : null,
    );
    // Too many conflicts: the worker asks again while its client waits.
    if (woken === null) return;
    metrics.woken();
    void this.#measure(woken);
    await noteAction(this.#options, woken, `woken by a connection to ${message.host}`);
  }

  async #measure({ tenant, podId, uid, run }: PodRecord): Promise<void> {
    if (this.#measured >= MEASURED_MAX) return;
    this.#measured += 1;
    const startedMs = performance.now();
    const { kind } = await this.#options.feed.waitRoutable({ tenant, podId, uid, run }, MEASURED_MS);
    this.#measured -= 1;
    if (kind === 'routable') this.#options.metrics.wakeTook((performance.now() - startedMs) / 1000);
  }
}
