import type { Clock } from '../../core/clock.ts';
import type { PodConnections } from '../../core/pod-connections.ts';
import type { PodUse } from '../../core/pod-use.ts';

/** Pods of which it is known what was counted at the last report. */
const PODS_MAX = 10_000;

interface Reported {
  readonly total: number;
  readonly changedMs: number | null;
}

/**
 * Use of a pod as it shows in its counters: a request in flight, a session that is open, and whatever has come since the
 * last report. It is coarse: also an idle session counts.
 */
export class CountedUse {
  readonly #clock: Pick<Clock, 'now'>;
  readonly #reported = new Map<string, Reported>();

  constructor(clock: Pick<Clock, 'now'>) {
    this.#clock = clock;
  }

  /** What is told of the pod. `use`: undefined for one that never sleeps, of which nothing is added. */
  report(uid: string, seen: PodConnections | null, use: PodUse | undefined): PodConnections | null {
    if (use === undefined) return seen;
    const connections = seen ?? { sinceMs: this.#clock.now(), stanzas: {}, refusals: [], recent: [] };
    let [sessionsNow, requestsNow, total] = [0, 0, 0];
    for (const counts of Object.values(connections.stanzas)) {
      sessionsNow += counts.sessionsNow;
      requestsNow += counts.requestsNow;
      total += counts.sessions + counts.requests;
    }
    const { requests = 0, traffic = 0 } = use.because;
    const because = {
      ...use.because,
      ...(requestsNow > 0 && { requests: Math.max(requests, requestsNow) }),
      ...(sessionsNow > 0 && { traffic: Math.max(traffic, sessionsNow) }),
    };
    const isNow = sessionsNow + requestsNow > 0;
    const changedMs = this.#changedMs(uid, total, isNow);
    const lastUsedMs = changedMs === null ? use.lastUsedMs : Math.max(changedMs, use.lastUsedMs ?? changedMs);
    return { ...connections, use: { ...use, because, lastUsedMs } };
  }

  #changedMs(uid: string, total: number, isNow: boolean): number | null {
    const before = this.#reported.get(uid) ?? { total: 0, changedMs: null };
    const changedMs = isNow || before.total !== total ? this.#clock.now() : before.changedMs;
    this.#reported.delete(uid);
    this.#reported.set(uid, { total, changedMs });
    const [first] = this.#reported.keys();
    if (this.#reported.size > PODS_MAX && first !== undefined) this.#reported.delete(first);
    return changedMs;
  }
}
