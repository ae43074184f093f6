import type { Clock } from '../../core/clock.ts';
import type { RefusalCode } from '../../core/errors.ts';
import { isWaking, type Route } from '../../core/route.ts';
import { AddressBuckets } from '../limits/token-bucket.ts';
import { type WaitingLimit, WaitingPlaces } from '../limits/waiting-places.ts';
import type { RouteTable } from '../routes/route-table.ts';
import type { PodUses } from '../use/pod-uses.ts';

/** A wake is asked again while somebody waits: the message may be lost, and control away. */
const WAKE_AGAIN_MS = 2_000;
/** Wakes asked for one pod are at least this far apart, whoever comes and goes. */
const WAKE_EVERY_MS = 1_000;
/** Pods that one address may wake: all at once, and a second from then on (one every 20 s). */
export const WAKES_PER_ADDRESS = { most: 30, perSecond: 0.05 } as const;
/** Sessions and requests that wait in one worker. */
const WAITING = { perPod: 1_000, inTotal: 10_000 };
/** Of all places to wait in, those that one address may hold. */
const ADDRESS_SHARE = 0.5;

/**
 * How a hold came to its end: `woken` = the pod is there, `ended` = it will not start, `left` = the client went away,
 * `full` = too many wait already, `asleep` = its address has woken too many, `drained` = this gateway ends.
 */
export type HoldOutcome = 'woken' | 'timeout' | 'ended' | 'left' | 'full' | 'asleep' | 'drained';

/** Changed in place. */
export interface HoldCounts {
  readonly holds: Record<HoldOutcome, number>;
  heldNow: number;
  wakesAsked: number;
  readonly limited: Record<WaitingLimit, number>;
}

export interface HoldsOptions {
  readonly table: RouteTable;
  readonly uses: PodUses;
  readonly counts: HoldCounts;
  readonly clock: Pick<Clock, 'monotonicMs'>;
  /** Asks control to wake a pod; false when it cannot be asked now. */
  readonly askWake: (route: Route) => boolean;
  /** Default: ADDRESS_SHARE. 1 = all clients come from one address. */
  readonly addressShare?: number;
}

/** Of a pod that this worker asks to wake. */
interface Waking {
  waiting: number;
  /** A host that somebody waits for. */
  host: string;
  askedMs: number;
  timer: NodeJS.Timeout | undefined;
}

/** Clients that wait for a pod to wake. Asks control to wake it for as long as one does. */
export class Holds {
  readonly #options: HoldsOptions;
  readonly addressShare: number;
  readonly #addresses: AddressBuckets;
  readonly #places: WaitingPlaces;
  readonly #waking = new Map<string, Waking>();
  /** How to end each wait. */
  readonly #waits = new Set<() => void>();
  #isDrained = false;

  constructor(options: HoldsOptions) {
    this.#options = options;
    this.addressShare = options.addressShare ?? ADDRESS_SHARE;
    this.#places = new WaitingPlaces({ ...WAITING, addressShare: this.addressShare });
    this.#addresses = new AddressBuckets(options.clock, WAKES_PER_ADDRESS);
  }

  /**
   * Of one client. `mostMs`: how long its protocol can wait, if that is less than the pod's owner allows. `isCounted`: the
   * use of its pod includes it already.
   */
  of(address: string, mostMs = Infinity, isCounted = false): Hold {
    return new Hold(this, address, mostMs, isCounted);
  }

  /** One more than may wait has come. Returns how it is refused. */
  refusedBy(limit: WaitingLimit): RefusalCode {
    this.#options.counts.limited[limit]++;
    this.#options.counts.holds.full++;
    return limit === 'held' ? 'route.full' : 'route.held-full';
  }

  /** This gateway ends: all who wait are refused as by a pod that starts, in their own protocols. Returns how many they are. */
  drain(): number {
    this.#isDrained = true;
    const waits = [...this.#waits];
    for (const end of waits) end();
    return waits.length;
  }

  get isDrained(): boolean {
    return this.#isDrained;
  }

  /** Asks for a wake without waiting for it. Null = done; otherwise why not. */
  wake(route: Route, address: string): RefusalCode | null {
    const waking = this.#enter(route, address);
    if (waking === null) return 'route.asleep';
    this.#options.uses.of(route.uid).touch();
    this.#leave(route.uid, waking);
    return null;
  }

  /** See Located. Rejects when the signal aborts. */
  async wait(
    route: Route,
    address: string,
    leftMs: number,
    signal: AbortSignal,
    isCounted: boolean,
  ): Promise<RefusalCode | null> {
    const { table, uses, counts } = this.#options;
    if (this.#isDrained) {
      counts.holds.drained++;
      return 'route.starting';
    }
    const waking = this.#enter(route, address);
    if (waking === null) {
      counts.holds.asleep++;
      return 'route.asleep';
    }
    const limit = this.#places.take(route.uid, address);
    if (limit !== null) {
      this.#leave(route.uid, waking);
      return this.refusedBy(limit);
    }
    const pod = isCounted ? null : uses.of(route.uid);
    pod?.begin('waiting');
    counts.heldNow++;
    const ending = new AbortController();
    const end = (): void => ending.abort();
    signal.addEventListener('abort', end, { once: true });
    if (signal.aborted) end();
    this.#waits.add(end);
    const timer = setTimeout(end, leftMs);
    let outcome: HoldOutcome = 'timeout';
    try {
      const wait = await table.whenRouted(route.host, ending.signal);
      outcome = wait === 'live' ? 'woken' : 'ended';
      return null;
    } catch (error) {
      if (!signal.aborted) {
        if (this.isDrained) outcome = 'drained';
        return 'route.starting';
      }
      outcome = 'left';
      throw error;
    } finally {
      clearTimeout(timer);
      this.#waits.delete(end);
      signal.removeEventListener('abort', end);
      counts.holds[outcome]++;
      counts.heldNow--;
      pod?.end('waiting');
      this.#places.release(route.uid, address);
      this.#leave(route.uid, waking);
    }
  }

  /** Null: this address has woken too many pods. Whoever comes to a pod that is being woken already wakes nothing. */
  #enter(route: Route, address: string): Waking | null {
    let waking = this.#waking.get(route.uid);
    const isFirst = waking === undefined || waking.waiting === 0;
    if (isFirst && needsWake(route) && !this.#addresses.take(address)) return null;
    if (waking === undefined) {
      waking = { waiting: 0, host: route.host, askedMs: -Infinity, timer: undefined };
      this.#waking.set(route.uid, waking);
    }
    waking.waiting++;
    waking.host = route.host;
    if (isFirst) this.#ask(route.uid, waking);
    return waking;
  }

  #leave(uid: string, waking: Waking): void {
    waking.waiting--;
    // Kept for a while: the next one may be asked only then.
    if (waking.waiting === 0) this.#askLater(uid, waking, WAKE_EVERY_MS);
  }

  #ask(uid: string, waking: Waking): void {
    const { table, counts, clock, askWake } = this.#options;
    clearTimeout(waking.timer);
    if (waking.waiting === 0) {
      this.#waking.delete(uid);
      return;
    }
    const sinceMs = clock.monotonicMs() - waking.askedMs;
    if (sinceMs < WAKE_EVERY_MS) {
      this.#askLater(uid, waking, WAKE_EVERY_MS - sinceMs);
      return;
    }
    const route = table.get(waking.host);
    if (route?.uid === uid && needsWake(route) && askWake(route)) {
      waking.askedMs = clock.monotonicMs();
      counts.wakesAsked++;
    }
    this.#askLater(uid, waking, WAKE_AGAIN_MS);
  }

  #askLater(uid: string, waking: Waking, ms: number): void {
    clearTimeout(waking.timer);
    waking.timer = setTimeout(() => this.#ask(uid, waking), ms);
    waking.timer.unref();
  }
}

/** Of one client, however often its pod comes and goes while it is dialed: its time is counted from its first wait. */
export class Hold {
  readonly address: string;
  readonly #holds: Holds;
  readonly #mostMs: number;
  readonly #isCounted: boolean;
  #sinceMs: number | null = null;

  constructor(holds: Holds, address: string, mostMs: number, isCounted: boolean) {
    this.#holds = holds;
    this.address = address;
    this.#mostMs = mostMs;
    this.#isCounted = isCounted;
  }

  /** How long it has waited, from its first wait; null = it never had to. */
  get heldMs(): number | null {
    return this.#sinceMs === null ? null : performance.now() - this.#sinceMs;
  }

  /** See Located. */
  whenChanged(route: Route, signal: AbortSignal): Promise<RefusalCode | null> {
    const nowMs = performance.now();
    this.#sinceMs ??= nowMs;
    const untilMs = this.#sinceMs + Math.min(this.#mostMs, route.sleep?.holdMs ?? 0);
    if (nowMs >= untilMs) return Promise.resolve('route.starting');
    return this.#holds.wait(route, this.address, untilMs - nowMs, signal, this.#isCounted);
  }
}

/** It starts by itself otherwise. */
function needsWake(route: Route): boolean {
  const { status } = route;
  return isWaking(route) && (status === 'ASLEEP' || status === 'SHUTTING_DOWN' || status === 'RUNNING');
}
