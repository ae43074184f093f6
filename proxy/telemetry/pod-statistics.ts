import type { Clock } from '../../core/clock.ts';
import { type PodConnections, REFUSALS_KEPT, type SeenRefusal } from '../../core/pod-connections.ts';
import type { Route } from '../../core/route.ts';
import type { StanzaCounts } from '../connection/session-telemetry.ts';
import { type RecentConnection, RecentConnections } from './recent-connections.ts';

/** Pods whose numbers are kept: one with nothing under way goes first. */
const PODS_MAX = 10_000;
/** Pods whose refusals are kept, the ones last refused: some 6 KB each. */
const REFUSED_PODS_MAX = 500;

/** Connections and refusals of each pod, keyed by uid: a new pod of the same name starts from zero. */
export interface PodStatistics {
  of(route: Route): StanzaCounts;
  refused(route: Route, refusal: Omit<SeenRefusal, 'atMs' | 'protocol' | 'stanza'>): void;
  /** Where the next connection to it is noted: see RecentConnections. */
  next(route: Route): RecentConnection;
  /** Null when this pod had no connections. */
  report(uid: string): PodConnections | null;
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
      const stanzas = Object.fromEntries([...pod.stanzas].map(([name, counts]) => [name, { ...counts }]));
      return {
        sinceMs: pod.sinceMs,
        stanzas,
        refusals: [...(refusals.get(uid) ?? [])],
        recent: recent.report(uid, clock.now(), clock.monotonicMs()),
      };
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
