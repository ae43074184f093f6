import { describe, expect, it } from 'vitest';
import { judgeStore } from '../../../core/lifecycle/clean-up.ts';
import { planRecover, type RecoverableWorkload } from '../../../core/lifecycle/recover.ts';
import type { WorkloadPhase } from '../../../core/workloads.ts';
import type { PodRecord, VolumeMount } from '../../../core/pod.ts';
import type { StoreIdentity } from '../../../core/store.ts';
import { recordOfAnnotation } from '../../../control/store/record-schema.ts';
import { podRecord } from '../../support/pod-records.ts';

const LOST = 'the-lost-store';
const STARTED_MS = 1_000;
const empty: StoreIdentity = { storeId: 'new', commits: 0 };

function running(record: PodRecord, change: { phase?: WorkloadPhase; readable?: boolean; storeId?: string } = {}) {
  const { tenant, podId, uid } = record;
  const text = change.readable === false ? '{"cut' : JSON.stringify(record);
  const workload = {
    ...{ tenant, podId, uid, storeId: change.storeId ?? LOST, commit: 50 },
    ...{ record: text, credential: 'sealed' },
  };
  return {
    workload,
    record: recordOfAnnotation(text),
    phase: change.phase ?? 'ready',
    startedMs: STARTED_MS,
  } satisfies RecoverableWorkload;
}

function plan(
  workloads: readonly RecoverableWorkload[],
  records: readonly PodRecord[] = [],
  more: {
    identity?: StoreIdentity;
    lastSeen?: (StoreIdentity & { fence: number }) | null;
    deleted?: readonly string[];
  } = {},
) {
  const present = new Map(
    records.map((record) => {
      const { uid, tenant, podId } = record;
      return [`${tenant}/${podId}`, { record, credential: { uid, tenant, podId, sealed: 'sealed' } }];
    }),
  );
  return planRecover({
    identity: more.identity ?? empty,
    lastSeen: more.lastSeen ?? null,
    workloads,
    present,
    isDeleted: (_, uid) => more.deleted?.includes(uid) === true,
  });
}

const at = (change: Partial<PodRecord>): PodRecord => podRecord({ status: 'SPAWNER_SETUP', ...change });

describe('an empty store', () => {
  it('gets the record and the credential of every workload, desired state ON, and RUNNING when it is ready: its route stays', () => {
    const { steps } = plan([running(at({ podId: 'one', uid: 'u1' })), running(at({ podId: 'two', uid: 'u2' }))]);
    expect(steps.map(({ kind, key }) => [kind, key])).toEqual([
      ['rebuild', 'default/one'],
      ['rebuild', 'default/two'],
    ]);
    expect(steps[0]).toMatchObject({
      sealed: 'sealed',
      record: { wish: 'ON', status: 'RUNNING', run: 1, startInstanceMs: STARTED_MS },
    });
  });

  it('leaves workloads that are not ready yet to the health loop', () => {
    expect(plan([running(at({}), { phase: 'starting' })]).steps).toMatchObject([
      { kind: 'rebuild', record: { wish: 'ON', status: 'CREATING_CONTAINER', startInstanceMs: null } },
    ]);
  });

  it('does not restart a workload that is stopping', () => {
    expect(plan([running(at({}), { phase: 'stopping' })]).steps).toMatchObject([
      { kind: 'rebuild', record: { wish: 'OFF', status: 'SHUTTING_DOWN' } },
    ]);
  });

  it('reports workloads that it cannot read', () => {
    const stranger = { ...running(at({})), record: at({ uid: 'another' }) };
    expect(plan([running(at({}), { readable: false })]).steps).toMatchObject([{ kind: 'unreadable' }]);
    expect(plan([stranger]).steps).toMatchObject([{ kind: 'unreadable' }]);
  });
});

describe('an older copy', () => {
  it('takes the newer version: a later run, or a later spec of the same run', () => {
    const { steps } = plan(
      [running(at({ podId: 'later', uid: 'u1', run: 3 })), running(at({ podId: 'spec', uid: 'u2', generation: 2 }))],
      [at({ podId: 'later', uid: 'u1', run: 2, wish: 'OFF' }), at({ podId: 'spec', uid: 'u2' })],
    );
    expect(steps.map(({ kind }) => kind)).toEqual(['take', 'take']);
  });

  it('keeps a record that is at least as new as its workload', () => {
    const { steps } = plan(
      [running(at({ podId: 'same', uid: 'u1' })), running(at({ podId: 'newer', uid: 'u2' }))],
      [at({ podId: 'same', uid: 'u1', wish: 'OFF' }), at({ podId: 'newer', uid: 'u2', generation: 4 })],
    );
    expect(steps).toEqual([]);
  });

  it('never starts a pod that may have been deleted since: desired state ON without a workload becomes OFF', () => {
    const { steps } = plan(
      [],
      [
        at({ podId: 'gone', uid: 'u1' }),
        at({ podId: 'again', uid: 'u2', wish: 'RESTART' }),
        at({ podId: 'off', uid: 'u3', wish: 'OFF' }),
        at({ podId: 'deleting', uid: 'u4', deleting: { keepVolume: false } }),
      ],
    );
    expect(steps.map(({ kind, key }) => [kind, key])).toEqual([
      ['turn-off', 'default/gone'],
      ['turn-off', 'default/again'],
    ]);
  });

  it('leaves the workload of a pod that was deleted before the copy was made', () => {
    const { steps } = plan([running(at({}))], [], { deleted: ['uid-1'] });
    expect(steps).toMatchObject([{ kind: 'leave', reason: 'its pod was deleted' }]);
  });

  it('of two pods with the same id keeps the one created later', () => {
    const earlier = at({ uid: 'earlier', createdAtMs: 1 });
    const later = at({ uid: 'later', createdAtMs: 2 });
    expect(plan([running(later)], [earlier]).steps).toMatchObject([{ kind: 'take', record: { uid: 'later' } }]);
    expect(plan([running(earlier)], [later]).steps.map(({ kind }) => kind)).toEqual(['leave', 'turn-off']);
  });
});

describe('the identity with which the store continues', () => {
  it.each([
    ['the last known state', { storeId: LOST, commits: 60, fence: 7 }],
    ['the workloads, when no state is known', null],
  ])('is believed afterwards by %s', (_, lastSeen) => {
    const workloads = [running(at({})), running(at({ podId: 'other', uid: 'u2' }), { storeId: 'third' })];
    const { adoption } = plan(workloads, [], { lastSeen });
    const identity = { ...adoption, replaces: [...adoption.replaces, empty.storeId] };
    expect(adoption.storeId).toBe(LOST);
    expect(adoption.commits).toBeGreaterThan(400_000);
    expect(adoption.fence).toBeGreaterThan(lastSeen?.fence ?? 0);
    const annotations = workloads.map(({ workload }) => workload);
    expect(judgeStore(identity, annotations)).toEqual({ kind: 'healthy' });
    expect(judgeStore({ storeId: LOST, commits: 0 }, annotations).kind).toBe('suspect');
  });
});

it('a record of the first release is completed; a record with mounts keeps them', () => {
  const { volumeMounts, ...spec } = podRecord().spec;
  expect(volumeMounts).toEqual([]);
  const old = { ...podRecord(), spec, applied: { generation: 1, run: 1, spec } };
  expect(recordOfAnnotation(JSON.stringify(old))).toEqual(podRecord());
  const mount: VolumeMount = {
    type: 'pvc',
    name: 'data',
    mountPath: '/data',
    subPath: '',
    readOnly: false,
    keyedBy: 'name',
  };
  const mounted = { ...podRecord().spec, volumeMounts: [mount] };
  const text = JSON.stringify(podRecord({ spec: mounted }));
  expect(recordOfAnnotation(text)?.spec.volumeMounts).toEqual([mount]);
  for (const broken of ['', 'null', '[]', '{}', '{"uid":1}']) expect(recordOfAnnotation(broken)).toBeNull();
});
