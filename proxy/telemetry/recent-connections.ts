import { RECENT_KEPT, type SeenConnection } from '../../core/pod-connections.ts';
import type { Route } from '../../core/route.ts';
import type { SessionTelemetry } from '../connection/session-telemetry.ts';

/** Pods whose last connections are kept: some 17 KB each (measured). The one that came first goes first; it starts anew. */
const PODS_MAX = 1_000;

/**
 * One of the last connections of a pod. Written over and over, since there is one for each request: times are numbers, NaN
 * for none, so that writing one allocates nothing. Times are of the monotonic clock.
 */
export class RecentConnection {
  beganMs = NaN;
  tlsMs = NaN;
  routeMs = NaN;
  dialMs = NaN;
  firstByteMs = NaN;
  totalMs = NaN;
  status = 0;
  port = 0;
  requestId = '';
  address = '';
  protocol = '';
  stanza = '';
  code: string | null = null;
  end: string | null = null;
  /** While it goes on, where it is a session. */
  session: SessionTelemetry | null = null;
}

interface Ring {
  readonly slots: RecentConnection[];
  next: number;
}

/** The last connections of each pod, by uid. */
export class RecentConnections {
  readonly #pods = new Map<string, Ring>();

  /** The next one to write: every field of it must be written. */
  next({ uid, protocol, stanza }: Route): RecentConnection {
    let ring = this.#pods.get(uid);
    if (ring === undefined) {
      const [first] = this.#pods.keys();
      if (this.#pods.size >= PODS_MAX && first !== undefined) this.#pods.delete(first);
      ring = { slots: [], next: 0 };
      this.#pods.set(uid, ring);
    }
    let slot = ring.slots[ring.next];
    if (slot === undefined) {
      slot = new RecentConnection();
      ring.slots.push(slot);
    }
    ring.next = (ring.next + 1) % RECENT_KEPT;
    slot.protocol = protocol;
    slot.stanza = stanza;
    slot.session = null;
    return slot;
  }

  /** In the order in which they began. `nowMs` of the wall clock, `monotonicMs` at the same moment. */
  report(uid: string, nowMs: number, monotonicMs: number): readonly SeenConnection[] {
    const slots = this.#pods.get(uid)?.slots ?? [];
    return slots
      .map((slot): SeenConnection => ({
        // With fractions: several begin within a millisecond.
        ...{ atMs: nowMs - (monotonicMs - slot.beganMs), requestId: slot.requestId },
        ...{ address: slot.address, port: slot.port, protocol: slot.protocol, stanza: slot.stanza },
        ...{ status: slot.status === 0 ? null : slot.status, code: slot.code, end: slot.end },
        ...{ tlsMs: rounded(slot.tlsMs), routeMs: rounded(slot.routeMs), dialMs: rounded(slot.dialMs) },
        ...{ firstByteMs: rounded(firstByteOf(slot)), totalMs: rounded(slot.totalMs) },
      }))
      .toSorted((a, b) => a.atMs - b.atMs);
  }

  /** How many pods there are, for tests. */
  get size(): number {
    return this.#pods.size;
  }
}

/** That of a session that goes on is not copied before its end. */
function firstByteOf({ session, firstByteMs }: RecentConnection): number {
  return session === null ? firstByteMs : firstByteOfSession(session);
}

/** NaN: there was none. */
export function firstByteOfSession({ connectedMs, firstByteMs }: SessionTelemetry): number {
  return connectedMs === null || firstByteMs === null ? NaN : firstByteMs - connectedMs;
}

/** To the microsecond. */
function rounded(ms: number): number | null {
  return Number.isNaN(ms) ? null : Math.round(Math.max(0, ms) * 1_000) / 1_000;
}
