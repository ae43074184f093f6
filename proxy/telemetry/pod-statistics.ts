import type { Clock } from '../../core/clock.ts';
import {
  type PodConnections,
  REFUSALS_KEPT,
  type SeenRefusal,
  type StanzaConnections,
  sumStanzas,
} from '../../core/pod-connections.ts';
import type { PodTraffic } from '../../core/pod-traffic.ts';
import type { Route } from '../../core/route.ts';
import type { SessionTelemetry, StanzaCounts } from '../connection/session-telemetry.ts';
import { type RecentConnection, RecentConnections } from './recent-connections.ts';

/** Pods whose numbers are kept: one with nothing under way goes first. */
const PODS_MAX = 10_000;
/** Pods whose refusals are kept, the ones last refused: some 6 KB each. */
const REFUSED_PODS_MAX = 500;

/** Sessions of a stanza whose bytes are read when somebody asks. Those of others count from their end on. */
const LIVE_SESSIONS_MAX = 1_000;

/** Connections and refusals of each pod, keyed by uid: a new pod of the same name starts from zero. */
export interface PodStatistics {
  of(route: Route): StanzaCounts;
  /** From now on until `sessionEnded`, its bytes are read from its backend. */
  sessionRuns(session: SessionTelemetry): void;
  /** Before its bytes are added to its counts; also of one that never ran. */
  sessionEnded(session: SessionTelemetry): void;
  refused(route: Route, refusal: Omit<SeenRefusal, 'atMs' | 'protocol' | 'stanza'>): void;
  /** Where the next connection to it is noted: see RecentConnections. */
  next(route: Route): RecentConnection;
  /** Null when this pod had no connections. */
  report(uid: string): PodConnections | null;
  /** Its numbers alone, all networking entries together. Null when this pod had no connections. */
  traffic(uid: string): PodTraffic | null;
  /** How much is kept, for tests. */
  readonly size: { readonly pods: number; readonly refusedPods: number; readonly recentPods: number };
}

interface PodRecord {
  readonly sinceMs: number;
  readonly stanzas: Map<string, StanzaCounts>;
}

export function createPodStatistics(clock: Pick<Clock, 'now' | 'monotonicMs'>): PodStatistics {
  const pods = new Map<string, PodRecord>();
  const refusals = new Map<string, SeenRefusal[]>();
  const recent = new RecentConnections();
  const running = new Map<StanzaCounts, Set<SessionTelemetry>>();

  /** With the bytes of sessions that go on: pools of connections have some that last for days. Never less than before. */
  function currentOf(counts: StanzaCounts): StanzaConnections {
    let { bytesIn, bytesOut } = counts;
    let left = LIVE_SESSIONS_MAX;
    for (const { backend } of running.get(counts) ?? []) {
      if (left-- === 0) break;
      bytesIn += backend?.bytesWritten ?? 0;
      bytesOut += backend?.bytesRead ?? 0;
    }
    return { ...counts, bytesIn, bytesOut };
  }

  function of({ uid, stanza }: Route): StanzaCounts {
    let pod = pods.get(uid);
    if (pod === undefined) {
      if (pods.size >= PODS_MAX) forgetOne(pods);
      pod = { sinceMs: clock.now(), stanzas: new Map() };
      pods.set(uid, pod);
    }
    let counts = pod.stanzas.get(stanza);
    if (counts === undefined) {
      counts = { sessionsNow: 0, requestsNow: 0, sessions: 0, requests: 0, refusals: 0, bytesIn: 0, bytesOut: 0 };
      pod.stanzas.set(stanza, counts);
    }
    return counts;
  }

  return {
    of,
    sessionRuns(session) {
      const sessions = running.get(session.counts);
      if (sessions === undefined) running.set(session.counts, new Set([session]));
      else sessions.add(session);
    },
    sessionEnded(session) {
      const sessions = running.get(session.counts);
      sessions?.delete(session);
      if (sessions?.size === 0) running.delete(session.counts);
    },
    refused(route, refusal) {
      of(route).refusals++;
      const { uid, protocol, stanza } = route;
      const kept = refusals.get(uid) ?? [];
      kept.push({ ...refusal, atMs: clock.now(), protocol, stanza });
      if (kept.length > REFUSALS_KEPT) kept.shift();
      // To the end of the row: the first in it has been refused longest ago.
      refusals.delete(uid);
      refusals.set(uid, kept);
      const [first] = refusals.keys();
      if (refusals.size > REFUSED_PODS_MAX && first !== undefined) refusals.delete(first);
    },
    next: (route) => recent.next(route),
    report(uid) {
      const pod = pods.get(uid);
      if (pod === undefined) return null;
      const stanzas = Object.fromEntries([...pod.stanzas].map(([name, counts]) => [name, currentOf(counts)]));
      return {
        sinceMs: pod.sinceMs,
        stanzas,
        refusals: [...(refusals.get(uid) ?? [])],
        recent: recent.report(uid, clock.now(), clock.monotonicMs()),
      };
    },
    traffic(uid) {
      const pod = pods.get(uid);
      return pod === undefined ? null : sumStanzas([...pod.stanzas.values()].map(currentOf));
    },
    get size() {
      return { pods: pods.size, refusedPods: refusals.size, recentPods: recent.size };
    },
  };
}

function forgetOne(pods: Map<string, PodRecord>): void {
  for (const [uid, { stanzas }] of pods) {
    if ([...stanzas.values()].some(({ sessionsNow, requestsNow }) => sessionsNow + requestsNow > 0)) continue;
    pods.delete(uid);
    return;
  }
}
