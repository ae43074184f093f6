import type { Socket } from 'node:net';
import { describe, expect, it } from 'vitest';
import { parsePodConnections, REFUSALS_KEPT } from '../../../../core/pod-connections.ts';
import type { Route } from '../../../../core/route.ts';
import type { SessionTelemetry } from '../../../../proxy/connection/session-telemetry.ts';
import { createPodStatistics } from '../../../../proxy/telemetry/pod-statistics.ts';

function routeOf(uid: string, stanza = 'default'): Route {
  return {
    ...{ host: `${uid}.pods.localhost`, tenant: 'dev', podId: 'same-name', uid, stanza, protocol: 'tcp' },
    ...{ status: 'RUNNING', backend: null, ipAllowList: [] },
  } as const;
}

const refusal = (requestId: string) => ({ code: 'route.full', message: 'Full.', address: '192.0.2.1', requestId });

describe('the statistics of a pod', () => {
  it('have the last refusals, with stanza and time, and counts by stanza', () => {
    let nowMs = 1_000;
    const statistics = createPodStatistics({ now: () => nowMs++, monotonicMs: () => 0 });
    const counts = statistics.of(routeOf('a'));
    counts.sessions = 3;
    for (let number = 0; number < 30; number++) statistics.refused(routeOf('a', 'other'), refusal(`id-${number}`));
    const report = statistics.report('a');
    expect(report?.refusals).toHaveLength(REFUSALS_KEPT);
    expect(report?.refusals.at(-1)).toEqual({ ...refusal('id-29'), atMs: 1_030, protocol: 'tcp', stanza: 'other' });
    expect(report?.stanzas['default']?.sessions).toBe(3);
    expect(report?.stanzas['other']?.refusals).toBe(30);
    expect(parsePodConnections(JSON.parse(JSON.stringify(report)))).toEqual(report);
  });

  it('counts the bytes of sessions that go on, and never less afterwards, however many there are', () => {
    const statistics = createPodStatistics({ now: () => 0, monotonicMs: () => 0 });
    const route = routeOf('a');
    const counts = statistics.of(route);
    // Of the test: a session needs no more of its socket than these.
    const backend = { bytesWritten: 10, bytesRead: 20 } as Socket;
    const sessions = Array.from({ length: 1_500 }, (): SessionTelemetry => ({
      ...{ route, counts, backend, beganMs: 0, connectedMs: 0, firstByteMs: null, end: null, heldMs: null },
    }));
    for (const session of sessions) statistics.sessionRuns(session);
    expect(statistics.traffic('a')).toMatchObject({ bytesIn: 10_000, bytesOut: 20_000 });
    expect(statistics.report('a')?.stanzas['default']).toMatchObject({ bytesIn: 10_000, bytesOut: 20_000 });
    let last = 20_000;
    for (const session of sessions.toReversed()) {
      statistics.sessionEnded(session);
      counts.bytesOut += 20;
      const { bytesOut } = statistics.traffic('a') ?? { bytesOut: 0 };
      expect(bytesOut).toBeGreaterThanOrEqual(last);
      last = bytesOut;
    }
    expect(last).toBe(30_000);
    expect(statistics.traffic('of nobody')).toBeNull();
  });

  it('are empty for another uid, even with the same name', () => {
    const statistics = createPodStatistics({ now: () => 0, monotonicMs: () => 0 });
    statistics.refused(routeOf('former'), refusal('id'));
    expect(statistics.report('later')).toBeNull();
  });

  it('are limited, however many clients are refused; pods with open connections remain', () => {
    const statistics = createPodStatistics({ now: () => 0, monotonicMs: () => 0 });
    statistics.of(routeOf('busy')).sessionsNow = 1;
    for (let number = 0; number < 25_000; number++) statistics.refused(routeOf(`pod-${number}`), refusal('id'));
    expect(statistics.size).toEqual({ pods: 10_000, refusedPods: 500, recentPods: 0 });
    expect(statistics.report('busy')?.stanzas['default']?.sessionsNow).toBe(1);
    expect(statistics.report('pod-24999')?.refusals).toHaveLength(1);
    expect(statistics.report('pod-0')).toBeNull();
  });
});

describe('what another process reports about a pod', () => {
  it('is copied field by field, and ignored if it is invalid', () => {
    const statistics = createPodStatistics({ now: () => 5, monotonicMs: () => 0 });
    statistics.refused(routeOf('a'), refusal('id'));
    const report = statistics.report('a');
    expect(
      parsePodConnections({ ...report, secret: 'x', refusals: [{ ...report?.refusals[0], secret: 'x' }] }),
    ).toEqual(report);
    for (const wrong of [
      null,
      [],
      'x',
      {},
      { ...report, stanzas: { a: { sessions: 'x' } } },
      { ...report, refusals: [{}] },
      { ...report, recent: [{}] },
    ]) {
      expect(parsePodConnections(wrong)).toBeNull();
    }
  });
});
