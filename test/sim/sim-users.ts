import { podPut } from '../../core/pod-put.ts';
import { podKey } from '../../core/ids.ts';
import { startRunChange } from '../../core/lifecycle/plan.ts';
import type { PodRecord } from '../../core/pod.ts';
import type { CommitResult, Store, Stored } from '../../core/store.ts';
import { podRecord, podSpec } from '../support/pod-records.ts';
import type { Promises } from '../support/promises.ts';
import { queueKey } from '../../core/queue.ts';
import type { Chance } from './scheduler.ts';

export const POD_IDS = ['ape', 'bee', 'cat', 'dog', 'eel', 'fox'];
export const TENANT = 'default';

let marks = 0;
let uids = 0;

/** One user action drawn by chance, by compare-and-set as the API does it. */
export async function actAsUser(
  store: Pick<Store, 'get' | 'commit'>,
  chance: Chance,
  nowMs: number,
  promises: Promises,
): Promise<void> {
  const podId = chance.pick(POD_IDS);
  const key = podKey(TENANT, podId);
  const stored = await store.get('pod', key);
  if (stored === null) return create(store, chance, key, podId, nowMs, promises);
  if (stored.value.deleting !== null) return;
  const mark = `mark ${(marks += 1)}`;
  const next = change(stored, chance, mark);
  if (next === null) return;
  const isDelete = next.deleting !== null;
  const commit = store.commit({
    puts: [podPut(next, stored.revision)],
    enqueue: next.status === 'REQUESTED' && stored.value.status === 'STOPPED' ? [{ key: queueKey('pod', key) }] : [],
  });
  await promised(commit, promises, key, isDelete ? null : mark);
}

async function create(
  store: Pick<Store, 'commit'>,
  chance: Chance,
  key: string,
  podId: string,
  nowMs: number,
  promises: Promises,
): Promise<void> {
  const mark = `mark ${(marks += 1)}`;
  const spec = podSpec({ description: mark, timeToStopDefault: -1 });
  const base = podRecord({ uid: `uid-${(uids += 1)}`, podId, spec, applied: null, run: 0, createdAtMs: nowMs });
  const isOn = chance.isHit(0.8);
  const record: PodRecord = isOn ? { ...base, ...startRunChange(base) } : { ...base, wish: 'OFF', status: 'STOPPED' };
  const commit = store.commit({
    puts: [podPut(record, 'absent')],
    enqueue: isOn ? [{ key: queueKey('pod', key) }] : [],
  });
  await promised(commit, promises, key, mark);
}

/** A conflict is an answer too: nothing was written, nothing is promised. */
async function promised(
  commit: Promise<CommitResult>,
  promises: Promises,
  key: string,
  mark: string | null,
): Promise<void> {
  promises.attempted(key, mark);
  const result = await commit;
  if (result.kind === 'committed') promises.acknowledged(key, mark);
}

function change(stored: Stored<'pod'>, chance: Chance, mark: string): PodRecord | null {
  const record: PodRecord = { ...stored.value, spec: { ...stored.value.spec, description: mark } };
  const { status } = record;
  switch (chance.below(6)) {
    case 0:
      return { ...record, wish: 'OFF' };
    case 1:
      if (status === 'STOPPED') return { ...record, ...startRunChange(record) };
      return { ...record, wish: status === 'ERROR' || status === 'COMPLETE' ? 'RESTART' : 'ON' };
    case 2:
      return { ...record, wish: 'RESTART' };
    case 3:
      return chance.isHit(0.4) ? { ...record, deleting: { keepVolume: chance.isHit(0.3) } } : null;
    default:
      return { ...record, generation: record.generation + 1 };
  }
}
