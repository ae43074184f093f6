import { podKey } from '../ids.ts';
import type { AnnotatedWorkload, WorkloadPhase } from '../workloads.ts';
import type { CredentialRecord, PodRecord } from '../pod.ts';
import type { Adoption, StoreIdentity, StoreMark } from '../store.ts';

/** What a process has seen of its store. */
type LastSeen = Omit<StoreMark, 'stamp'>;

/**
 * The store's counter continues this far above every known number: other replicas may have seen commits of the last seconds
 * that this one does not know.
 */
const COMMITS_AHEAD = 1_000_000;
/** The same for fences: another replica may have been given one that this one does not know. */
const FENCES_AHEAD = 1_000_000;

/** What runs, as recovery sees it. */
export interface RecoverableWorkload {
  readonly workload: AnnotatedWorkload;
  /** From its annotation; null when that cannot be read. */
  readonly record: PodRecord | null;
  readonly phase: WorkloadPhase;
  /** Wall clock ms of its start, for display; null = not known. */
  readonly startedMs: number | null;
}

/** What the present store says about one key. */
export interface PresentRecord {
  readonly record: PodRecord;
  readonly credential: CredentialRecord | null;
}

/** What is to be done about one pod. `reason` is a sentence for the operator. */
export type RecoverStep =
  /** There is no record: it is written as the workload has it. */
  | { readonly kind: 'rebuild'; readonly key: string; readonly record: PodRecord; readonly sealed: string | null }
  /** The record is older than the workload: what the workload has is taken. */
  | { readonly kind: 'take'; readonly key: string; readonly record: PodRecord; readonly sealed: string | null }
  /** The record stays; its credential was lost. */
  | { readonly kind: 'credential'; readonly key: string; readonly record: PodRecord; readonly sealed: string }
  /** Its desired state is ON, but nothing of it runs: it may have been deleted since, so it is not started automatically. */
  | { readonly kind: 'turn-off'; readonly key: string; readonly record: PodRecord }
  /** The workload's pod was deleted, or its id belongs to a later pod: clean-up removes it, its data stays. */
  | { readonly kind: 'leave'; readonly key: string; readonly uid: string; readonly reason: string }
  /** Nothing can be read from the workload: as an orphan it would be removed in ten minutes. */
  | { readonly kind: 'unreadable'; readonly key: string; readonly uid: string; readonly reason: string };

export interface RecoverPlan {
  readonly steps: readonly RecoverStep[];
  readonly adoption: Adoption;
}

/**
 * How a suspect store is reconciled with what runs; a pure function. No workload is touched by it. `present`: the records
 * of the store by key; `isDeleted`: whether the store has a tombstone of that uid.
 */
export function planRecover(input: {
  readonly identity: StoreIdentity;
  readonly lastSeen: LastSeen | null;
  readonly workloads: readonly RecoverableWorkload[];
  readonly present: ReadonlyMap<string, PresentRecord>;
  readonly isDeleted: (key: string, uid: string) => boolean;
}): RecoverPlan {
  const { identity, lastSeen, workloads, present, isDeleted } = input;
  const fromWorkloads = workloads.map((workload) => stepFor(workload, present, isDeleted));
  const running = new Set(workloads.map(({ workload }) => workload.uid));
  const turnedOff = [...present].flatMap(([key, { record }]): RecoverStep[] => {
    const isReplaced = fromWorkloads.some((step) => step?.kind === 'take' && step.key === key);
    const isStopped = record.deleting !== null || record.wish === 'OFF' || running.has(record.uid) || isReplaced;
    return isStopped ? [] : [{ kind: 'turn-off', key, record }];
  });
  return {
    steps: [...fromWorkloads.filter((step) => step !== null), ...turnedOff],
    adoption: planAdoption(identity, lastSeen, workloads),
  };
}

function stepFor(
  found: RecoverableWorkload,
  present: ReadonlyMap<string, PresentRecord>,
  isDeleted: (key: string, uid: string) => boolean,
): RecoverStep | null {
  const { workload, record } = found;
  const { tenant, podId, uid, credential: sealed } = workload;
  const key = podKey(tenant, podId);
  const known = present.get(key);
  if (known?.record.uid === uid) {
    if (record !== null && isOurs(record, workload) && isLater(record, known.record)) {
      return { kind: 'take', key, record: asItRuns(record, found), sealed };
    }
    if (sealed === null || known.credential?.uid === uid) return null;
    return { kind: 'credential', key, record: known.record, sealed };
  }
  if (isDeleted(key, uid)) return { kind: 'leave', key, uid, reason: 'its pod was deleted' };
  if (record === null || !isOurs(record, workload)) {
    return { kind: 'unreadable', key, uid, reason: 'its annotation contains no record of this pod' };
  }
  if (known === undefined) return { kind: 'rebuild', key, record: asItRuns(record, found), sealed };
  // Two pods of one id: the one that was created later is the one whose owner was answered last.
  if (known.record.createdAtMs > record.createdAtMs) {
    return { kind: 'leave', key, uid, reason: 'a newer pod uses its id' };
  }
  return { kind: 'take', key, record: asItRuns(record, found), sealed };
}

function isOurs(record: PodRecord, { tenant, podId, uid }: AnnotatedWorkload): boolean {
  return record.uid === uid && record.tenant === tenant && record.podId === podId && record.applied !== null;
}

/** Every start has a higher run, and every change of the spec a higher generation. */
function isLater(ofWorkload: PodRecord, stored: PodRecord): boolean {
  if (ofWorkload.run !== stored.run) return ofWorkload.run > stored.run;
  return ofWorkload.generation > stored.generation;
}

/**
 * The annotation was written when the spawner set to work. What is ready runs, and its route stays as it is; the health
 * loop takes on the rest. What is on its way out was stopped or deleted since: it is not started again.
 */
function asItRuns(record: PodRecord, { phase, startedMs }: RecoverableWorkload): PodRecord {
  const isEnding = phase === 'stopping' || phase === 'lost';
  return {
    ...record,
    wish: isEnding ? 'OFF' : 'ON',
    status: isEnding ? 'SHUTTING_DOWN' : phase === 'ready' ? 'RUNNING' : 'CREATING_CONTAINER',
    deleting: null,
    attempts: 0,
    notBeforeMs: 0,
    statusContainer: null,
    startInstanceMs: phase === 'ready' ? startedMs : null,
  };
}

/**
 * The id under which the store goes on: that of the store which was there before, so that every replica's memory and
 * every workload agree with it; other ids that occur are taken over too.
 */
function planAdoption(
  identity: StoreIdentity,
  lastSeen: LastSeen | null,
  workloads: readonly RecoverableWorkload[],
): Adoption {
  const counts = new Map<string, number>();
  for (const { workload } of workloads) counts.set(workload.storeId, (counts.get(workload.storeId) ?? 0) + 1);
  const [mostOften] = [...counts].sort(([, a], [, b]) => b - a);
  const storeId = lastSeen?.storeId ?? mostOften?.[0] ?? identity.storeId;
  const known = Math.max(identity.commits, lastSeen?.commits ?? 0);
  return {
    storeId,
    commits: workloads.reduce((most, { workload }) => Math.max(most, workload.commit), known) + COMMITS_AHEAD,
    fence: (lastSeen?.fence ?? 0) + FENCES_AHEAD,
    replaces: [...counts.keys()].filter((id) => id !== storeId),
  };
}
