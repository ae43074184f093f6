import { describe, expect, it } from 'vitest';
import { type OrphanCandidate, planCleanUp } from '../../../core/lifecycle/clean-up.ts';
import { podRecord, workloadOf } from '../../support/pod-records.ts';

const TEN_MINUTES_MS = 10 * 60_000;
const healthy = { kind: 'healthy' } as const;
const none: ReadonlySet<string> = new Set();

function orphans(count: number, change: Partial<OrphanCandidate> = {}, prefix = 'u'): OrphanCandidate[] {
  return Array.from({ length: count }, (_, index) => ({
    workload: workloadOf(podRecord({ uid: `${prefix}${index}` })),
    isProvenDeleted: false,
    orphanForMs: TEN_MINUTES_MS,
    isBeingRemoved: false,
    ...change,
  }));
}

function plan(candidates: readonly OrphanCandidate[], workloadCount = 50, confirmed = none) {
  const { remove, heldBack, youngerCount } = planCleanUp(healthy, candidates, workloadCount, confirmed);
  return { remove: remove.map(({ uid }) => uid), heldBack: heldBack.map(({ workload }) => workload.uid), youngerCount };
}

describe('the clean-up limit', () => {
  it('removes orphans older than ten minutes, up to the limit', () => {
    expect(plan(orphans(5))).toMatchObject({ remove: ['u0', 'u1', 'u2', 'u3', 'u4'], heldBack: [] });
    expect(plan(orphans(10), 200)).toMatchObject({ remove: { length: 10 }, heldBack: [] });
  });

  it('removes none of them when there is one more than the limit', () => {
    expect(plan(orphans(6))).toMatchObject({ remove: [], heldBack: { length: 6 } });
    expect(plan(orphans(11), 200)).toMatchObject({ remove: [], heldBack: { length: 11 } });
  });

  it('counts younger orphans, but does not remove them or let them block others', () => {
    const young = orphans(20, { orphanForMs: TEN_MINUTES_MS - 1 }, 'young');
    expect(plan([...young, ...orphans(2)])).toEqual({ remove: ['u0', 'u1'], heldBack: [], youngerCount: 20 });
  });

  it('removes workloads that are proven deleted without an operator, up to the limit in each pass', () => {
    const proven = orphans(7, { isProvenDeleted: true, orphanForMs: 0 }, 'proven');
    expect(plan([...orphans(8), ...proven])).toMatchObject({
      remove: ['proven0', 'proven1', 'proven2', 'proven3', 'proven4'],
      heldBack: { length: 8 },
    });
    expect(plan([...orphans(3), ...proven]).remove).toHaveLength(5);
  });

  it('removes exactly what was confirmed, beyond the limit', () => {
    const confirmed = new Set(orphans(8).map(({ workload }) => workload.uid));
    const later = orphans(6, {}, 'later');
    const { remove, heldBack } = plan([...later, ...orphans(8)], 50, confirmed);
    expect(remove).toEqual([...confirmed]);
    expect(heldBack).toEqual(later.map(({ workload }) => workload.uid));
  });

  it('does not count workloads that it has removed and that are not gone yet', () => {
    const leaving = orphans(5, { isBeingRemoved: true }, 'leaving');
    expect(plan([...leaving, ...orphans(5)])).toMatchObject({ remove: { length: 10 }, heldBack: [] });
  });

  it('removes nothing for a suspect store, whatever was confirmed', () => {
    const suspect = { kind: 'suspect', reason: 'it is empty' } as const;
    const candidates = orphans(8, { isProvenDeleted: true, isBeingRemoved: true });
    const confirmed = new Set(candidates.map(({ workload }) => workload.uid));
    expect(planCleanUp(suspect, candidates, 50, confirmed)).toMatchObject({ remove: [], heldBack: [] });
  });
});
