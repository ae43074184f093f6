import { describe, expect, it } from 'vitest';
import { parsePodConnections, REFUSALS_KEPT } from '../../../../core/pod-connections.ts';
import type { Route } from '../../../../core/route.ts';
import { createPodBoard } from '../../../../proxy/telemetry/pod-statistics.ts';

function routeOf(uid: string, stanza = 'default'): Route {
  return {
    ...{ host: `${uid}.pods.localhost`, tenant: 'dev', podId: 'same-name', uid, stanza, protocol: 'tcp' },
    ...{ status: 'RUNNING', backend: null, ipAllowList: [] },
  } as const;
}

const refusal = (requestId: string) => ({ code: 'route.full', message: 'Full.', address: '192.0.2.1', requestId });

describe('what is kept of a pod', () => {
  it('are the last refusals, with their stanza and time, and numbers by stanza', () => {
    let nowMs = 1_000;
    const board = createPodBoard({ now: () => nowMs++ });
    const counts = board.of(routeOf('a'));
    counts.sessions = 3;
    for (let number = 0; number < 30; number++) board.refused(routeOf('a', 'other'), refusal(`id-${number}`));
    const told = board.tell('a');
    expect(told?.refusals).toHaveLength(REFUSALS_KEPT);
    expect(told?.refusals.at(-1)).toEqual({ ...refusal('id-29'), atMs: 1_030, protocol: 'tcp', stanza: 'other' });
    expect(told?.stanzas['default']?.sessions).toBe(3);
    expect(told?.stanzas['other']?.refusals).toBe(30);
    expect(parsePodConnections(JSON.parse(JSON.stringify(told)))).toEqual(told);
  });

  it('is nothing for another uid, be its name the same', () => {
    const board = createPodBoard({ now: () => 0 });
    board.refused(routeOf('former'), refusal('id'));
    expect(board.tell('later')).toBeNull();
  });

  it('is bounded, whoever is refused how often; pods with something under way stay', () => {
    const board = createPodBoard({ now: () => 0 });
    board.of(routeOf('busy')).sessionsNow = 1;
    for (let number = 0; number < 25_000; number++) board.refused(routeOf(`pod-${number}`), refusal('id'));
    expect(board.size).toEqual({ pods: 10_000, refusedPods: 500 });
    expect(board.tell('busy')?.stanzas['default']?.sessionsNow).toBe(1);
    expect(board.tell('pod-24999')?.refusals).toHaveLength(1);
    expect(board.tell('pod-0')).toBeNull();
  });
});

describe('what another process tells of a pod', () => {
  it('is copied field by field, and taken for nothing when it is anything else', () => {
    const board = createPodBoard({ now: () => 5 });
    board.refused(routeOf('a'), refusal('id'));
    const told = board.tell('a');
    expect(parsePodConnections({ ...told, secret: 'x', refusals: [{ ...told?.refusals[0], secret: 'x' }] })).toEqual(
      told,
    );
    for (const wrong of [
      null,
      [],
      'x',
      {},
      { ...told, stanzas: { a: { sessions: 'x' } } },
      { ...told, refusals: [{}] },
    ]) {
      expect(parsePodConnections(wrong)).toBeNull();
    }
  });
});
