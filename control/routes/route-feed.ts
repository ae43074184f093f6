import { isAborted, pause } from '../../core/abort.ts';
import type { WantedName } from '../../core/certificates.ts';
import { errorText } from '../../core/errors.ts';
import type { RoutableAnswer, RoutableQuestion, RouteFeed } from '../../core/feed-protocol.ts';
import { podKey } from '../../core/ids.ts';
import type { Logger } from '../../core/logger.ts';
import type { WorkloadRef } from '../../core/workload-ref.ts';
import type { Observation } from '../../core/workloads.ts';
import { POD_STATUSES, type PodRecord, type PodStatus } from '../../core/pod.ts';
import { type Route, routesEqual, routesOf } from '../../core/route.ts';
import { listAll } from '../../core/list-all.ts';
import type { Store } from '../../core/store.ts';

const FEED_RETRY_MS = 500;

/** One step of the table: routes set and host names removed, applied together. */
export interface TableChange {
  readonly sequence: number;
  readonly set: readonly Route[];
  readonly removed: readonly string[];
}

/** A follower of the table, such as a worker's connection. */
export interface Follower {
  /** For people: who is late. */
  readonly name: string;
  /** The greatest sequence this follower has reported as applied; -1 before the first snapshot. */
  readonly appliedSequence: number;
  changed(change: TableChange): void;
  /** The table is complete for the first time. */
  becameReady(): void;
}

export interface RouteFeedOptions {
  readonly store: Store;
  readonly log: Logger;
  readonly baseHostOf: (tenant: string) => string;
  /** Default: it has no name. */
  readonly site?: string;
  /** What the orchestrator's watch last told of a workload, from memory. Default: only `observed` tells. */
  readonly glimpse?: (ref: WorkloadRef) => Observation;
  /** A fresh judgement: may what the store says replace a table that is in use? Default: it may. */
  readonly isStoreHealthy?: (signal: AbortSignal) => Promise<boolean>;
  /** The followers that will connect. Default: nobody waits for any. */
  readonly arrivals?: { readonly areAwaited: boolean; readonly over: Promise<unknown> };
}

interface PodEntry {
  record: PodRecord;
  observation: Observation | null;
  /** The pod's present routes, and the sequence at which they last changed. */
  routes: readonly Route[];
  sequence: number;
}

interface Waiter {
  readonly key: string;
  readonly question: RoutableQuestion;
  readonly settle: (answer: RoutableAnswer) => void;
}

/**
 * The route table of this replica, derived from the store's changes and from what was observed of the workloads: never
 * a second thing to write. It is complete once all records are read and the first pass of a healthy store is over;
 * until then no snapshot leaves, and workers keep the table they have.
 */
export class ControlRouteFeed implements RouteFeed {
  readonly #store: Store;
  readonly #log: Logger;
  readonly #baseHostOf: (tenant: string) => string;
  readonly #site: string;
  readonly #glimpse: NonNullable<RouteFeedOptions['glimpse']>;
  readonly #isStoreHealthy: NonNullable<RouteFeedOptions['isStoreHealthy']>;
  readonly #arrivals: RouteFeedOptions['arrivals'];
  readonly #pods = new Map<string, PodEntry>();
  /** Observations that came before their record. */
  readonly #early = new Map<string, { uid: string; observation: Observation }>();
  readonly #followers = new Set<Follower>();
  readonly #waiters = new Set<Waiter>();
  #sequence = 0;
  #hasRecords = false;
  #hasObservations = false;

  constructor(options: RouteFeedOptions) {
    this.#store = options.store;
    this.#log = options.log;
    this.#baseHostOf = options.baseHostOf;
    this.#site = options.site ?? '';
    this.#glimpse = options.glimpse ?? (() => ({ kind: 'unknown', reason: 'not observed yet' }));
    this.#isStoreHealthy = options.isStoreHealthy ?? (async () => true);
    this.#arrivals = options.arrivals;
    void options.arrivals?.over.then(() => this.applied());
  }

  get isReady(): boolean {
    return this.#hasRecords && this.#hasObservations;
  }
  get sequence(): number {
    return this.#sequence;
  }
  get followerCount(): number {
    return this.#followers.size;
  }

  podsByStatus(): Readonly<Record<PodStatus, number>> {
    const counts = Object.fromEntries(POD_STATUSES.map((status) => [status, 0])) as Record<PodStatus, number>;
    for (const { record } of this.#pods.values()) counts[record.status]++;
    return counts;
  }

  /** What the table says of a host name, of a pod of this tenant; null = it is not there. */
  nameOf(tenant: string, host: string): WantedName | null {
    // Pod ids hold no '-', which divides them from the stanza's name.
    const podId = /^[^.-]*/.exec(host)?.[0] ?? '';
    const entry = this.#pods.get(podKey(tenant, podId));
    const route = entry?.routes.find((one) => one.host === host);
    if (entry === undefined || route === undefined) return null;
    return { host, tenant, user: entry.record.createdBy, isEndedHere: route.tls !== 'passthrough' };
  }

  /** As of the last change that has arrived here. */
  recordOf(key: string): PodRecord | null {
    return this.#pods.get(key)?.record ?? null;
  }

  *records(): IterableIterator<PodRecord> {
    for (const { record } of this.#pods.values()) yield record;
  }

  *routes(): IterableIterator<Route> {
    for (const entry of this.#pods.values()) yield* entry.routes;
  }

  follow(follower: Follower): () => void {
    this.#followers.add(follower);
    return () => {
      this.#followers.delete(follower);
      this.applied();
    };
  }

  /** A follower has applied something or has left: waiters check again. */
  applied(): void {
    for (const waiter of this.#waiters) this.#ask(waiter);
  }

  /** From the health loop: a fresh look at the workload of this pod. */
  observed(key: string, uid: string, observation: Observation): void {
    const entry = this.#pods.get(key);
    if (entry?.record.uid !== uid) {
      this.#early.set(key, { uid, observation });
      return;
    }
    // No answer is no evidence: what was known stays.
    if (observation.kind === 'unknown') return;
    entry.observation = observation;
    this.#derive(key, entry);
  }

  /** From the watch: something about this pod's workload has changed. No call: every replica does this. */
  look(key: string): void {
    const entry = this.#pods.get(key);
    if (entry === undefined) return;
    this.observed(key, entry.record.uid, this.#glimpse(refOf(entry.record)));
  }

  lookAtAll(): void {
    for (const key of this.#pods.keys()) this.look(key);
  }

  /** From the health loop: every workload has been observed once, and the store is healthy. */
  observationsComplete(): void {
    if (this.#hasObservations) return;
    this.#hasObservations = true;
    this.#becomeReady();
  }

  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        if ((await this.#follow(signal)) === 'gap') continue;
      } catch (error) {
        if (!isAborted(signal))
          this.#log.warn({ error: errorText(error) }, 'the change feed broke; reloading the records');
      }
      await pause(FEED_RETRY_MS, signal);
    }
    for (const waiter of this.#waiters) waiter.settle(this.#late(waiter));
  }

  /** A store that is not to be believed replaces no table in use. */
  async #follow(signal: AbortSignal): Promise<'aborted' | 'gap' | 'suspect'> {
    const { commits } = await this.#store.identity();
    const records = await this.#readAll();
    // After the reading: the store may have been replaced while it was read.
    if (this.isReady && !(await this.#isStoreHealthy(signal))) return 'suspect';
    this.#replaceAll(records);
    for await (const change of this.#store.changes(commits, signal)) {
      if (change.kind === 'gap') return 'gap';
      if (change.kind === 'delete') {
        if (change.tombstone.kind === 'pod') this.#remove(change.tombstone.key);
      } else if (change.record.kind === 'pod') {
        this.#put(change.record.key, change.record.value as PodRecord);
      }
    }
    return 'aborted';
  }

  waitRoutable(question: RoutableQuestion, timeoutMs: number, signal?: AbortSignal): Promise<RoutableAnswer> {
    const { promise, resolve } = Promise.withResolvers<RoutableAnswer>();
    const waiter: Waiter = { key: podKey(question.tenant, question.podId), question, settle };
    const giveUp = (): void => settle(this.#late(waiter));
    const timer = setTimeout(giveUp, timeoutMs);
    signal?.addEventListener('abort', giveUp, { once: true });
    this.#waiters.add(waiter);
    if (signal?.aborted === true) giveUp();
    else this.#ask(waiter);
    return promise.finally(() => {
      signal?.removeEventListener('abort', giveUp);
      this.#waiters.delete(waiter);
    });

    function settle(answer: RoutableAnswer): void {
      clearTimeout(timer);
      resolve(answer);
    }
  }

  /** Many may wait, and much changes meanwhile: a look costs no turn of the event loop. */
  #ask(waiter: Waiter): void {
    const entry = this.#entryOf(waiter);
    if (entry !== null && hasEnded(entry.record)) waiter.settle({ kind: 'ended' });
    else if (this.#laggards(entry).length === 0) waiter.settle({ kind: 'routable' });
  }

  #late(waiter: Waiter): RoutableAnswer {
    return { kind: 'timeout', laggards: this.#laggards(this.#entryOf(waiter)) };
  }

  /** Null while the pod is not known here as it is asked for. */
  #entryOf({ key, question }: Waiter): PodEntry | null {
    const entry = this.#pods.get(key);
    return entry?.record.uid === question.uid && entry.record.run >= question.run ? entry : null;
  }

  #laggards(entry: PodEntry | null): readonly string[] {
    if (entry?.record.status !== 'RUNNING') return [`the pod (${entry?.record.status ?? 'not known yet'})`];
    if (entry.routes.some((route) => route.stanza === 'default' && route.backend === null)) return ['the pod'];
    if (this.#followers.size === 0 || this.#arrivals?.areAwaited === true) return ['the gateway'];
    return [...this.#followers]
      .filter((follower) => follower.appliedSequence < entry.sequence)
      .map((follower) => follower.name);
  }

  async #readAll(): Promise<ReadonlyMap<string, PodRecord>> {
    const records = new Map<string, PodRecord>();
    for await (const { key, value } of listAll(this.#store, 'pod')) records.set(key, value);
    return records;
  }

  #replaceAll(records: ReadonlyMap<string, PodRecord>): void {
    for (const [key, record] of records) this.#put(key, record);
    for (const key of [...this.#pods.keys()]) if (!records.has(key)) this.#remove(key);
    if (this.#hasRecords) return;
    this.#hasRecords = true;
    this.#becomeReady();
  }

  #put(key: string, record: PodRecord): void {
    const known = this.#pods.get(key);
    const entry: PodEntry = known ?? { record, observation: null, routes: [], sequence: 0 };
    // What was seen of another uid under this name says nothing about this pod.
    if (known !== undefined && known.record.uid !== record.uid) entry.observation = null;
    entry.record = record;
    this.#pods.set(key, entry);
    const early = this.#early.get(key);
    if (early !== undefined) {
      this.#early.delete(key);
      if (early.uid === record.uid) entry.observation = early.observation;
    }
    // What the watch reported before the record was known will not be reported again.
    const glimpsed = this.#glimpse(refOf(record));
    if (glimpsed.kind !== 'unknown') entry.observation = glimpsed;
    this.#derive(key, entry);
  }

  #remove(key: string): void {
    this.#early.delete(key);
    const entry = this.#pods.get(key);
    if (entry === undefined) return;
    this.#pods.delete(key);
    this.#publish([], hostsOf(entry.routes));
  }

  #derive(key: string, entry: PodEntry): void {
    const before = entry.routes;
    const place = { baseHost: this.#baseHostOf(entry.record.tenant), site: this.#site };
    const after = routesOf(entry.record, entry.observation, place);
    const set = after.filter((route) => {
      const former = before.find(({ host }) => host === route.host);
      return former === undefined || !routesEqual(former, route);
    });
    const removed = hostsOf(before).filter((host) => !after.some((route) => route.host === host));
    entry.routes = after;
    if (set.length === 0 && removed.length === 0) {
      // The status may still have changed what a waiter waits for.
      this.applied();
      return;
    }
    entry.sequence = this.#publish(set, removed);
    this.#log.debug({ key, set: set.length, removed: removed.length, sequence: entry.sequence }, 'routes changed');
  }

  #publish(set: readonly Route[], removed: readonly string[]): number {
    this.#sequence += 1;
    const change: TableChange = { sequence: this.#sequence, set, removed };
    if (this.isReady) for (const follower of this.#followers) follower.changed(change);
    this.applied();
    return this.#sequence;
  }

  #becomeReady(): void {
    if (!this.isReady) return;
    for (const follower of this.#followers) follower.becameReady();
  }
}

function hasEnded({ wish, status, deleting }: PodRecord): boolean {
  if (deleting !== null || wish === 'OFF') return true;
  return wish === 'ON' && (status === 'ERROR' || status === 'COMPLETE');
}

function refOf({ tenant, podId, uid }: PodRecord): WorkloadRef {
  return { tenant, podId, uid };
}

function hostsOf(routes: readonly Route[]): readonly string[] {
  return routes.map((route) => route.host);
}
