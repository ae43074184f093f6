import { wishChange } from '../../control/resources/pods/start-stop.ts';
import { podPut } from '../../core/pod-put.ts';
import { podKey } from '../../core/ids.ts';
import { startRunChange, wakeChange } from '../../core/lifecycle/plan.ts';
import type { PodRecord, Sleep } from '../../core/pod.ts';
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
    enqueue: next.run !== stored.value.run ? [{ key: queueKey('pod', key) }] : [],
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
  const sleep = chance.isHit(0.5) ? { sleep: { afterSeconds: 900, holdSeconds: 60, probePaths: [] } } : {};
  const spec = podSpec({ description: mark, timeToStopDefault: -1, ...sleep });
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
      return { ...record, ...wishChange(record, 'OFF').change };
    case 1:
      return {
        ...record,
        ...wishChange(record, status === 'ERROR' || status === 'COMPLETE' ? 'RESTART' : 'ON').change,
      };
    case 2:
      return { ...record, ...wishChange(record, 'RESTART').change };
    case 3:
      return chance.isHit(0.4) ? { ...record, deleting: { keepVolume: chance.isHit(0.3) } } : null;
    default:
      return { ...record, generation: record.generation + 1 };
  }
}

/** The leader, which takes a pod a stage further on its way to sleep, or finds that it is in use. */
export async function decideSleep(
  store: Pick<Store, 'get' | 'commit'>,
  chance: Chance,
  nowMs: number,
): Promise<boolean> {
  for (const podId of POD_IDS) {
    const stored = await store.get('pod', podKey(TENANT, podId));
    if (stored !== null && (await stepToSleep(store, stored, chance, nowMs))) return true;
  }
  return false;
}

/** Has it fallen asleep? */
async function stepToSleep(
  store: Pick<Store, 'commit'>,
  stored: Stored<'pod'>,
  chance: Chance,
  nowMs: number,
): Promise<boolean> {
  const { spec, wish, status, deleting, sleep } = stored.value;
  if (spec.sleep === undefined || wish !== 'ON' || status !== 'RUNNING' || deleting !== null) return false;
  if (sleep?.stage === 'decided') return false;
  const stage = sleep?.stage === 'holding' ? 'decided' : 'holding';
  const next: Sleep | null = stage === 'decided' && chance.isHit(0.3) ? null : { stage, sinceMs: nowMs };
  const result = await store.commit({ puts: [podPut({ ...stored.value, sleep: next }, stored.revision)] });
  return result.kind === 'committed' && next?.stage === 'decided';
}

/** A client that waits for a pod, in whatever replica its worker asks. */
export async function wakeByClient(store: Pick<Store, 'get' | 'commit'>, chance: Chance): Promise<boolean> {
  for (const podId of POD_IDS) {
    const stored = await store.get('pod', podKey(TENANT, podId));
    const wake = stored === null || chance.isHit(0.8) ? null : wakeChange(stored.value);
    if (stored === null || wake === null) continue;
    const result = await store.commit({
      puts: [podPut({ ...stored.value, ...wake.change }, stored.revision)],
      enqueue: wake.enqueue ? [{ key: queueKey('pod', stored.key) }] : [],
    });
    if (result.kind === 'committed') return true;
  }
  return false;
}
