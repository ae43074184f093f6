import { actionLine } from '../../core/action-log.ts';
import type { Clock } from '../../core/clock.ts';
import { errorText } from '../../core/errors.ts';
import { holdLease } from '../../core/hold-lease.ts';
import {
  planRecover,
  type PresentRecord,
  type RecoverableWorkload,
  type RecoverPlan,
  type RecoverStep,
} from '../../core/lifecycle/recover.ts';
import { listAll } from '../../core/list-all.ts';
import type { Logger } from '../../core/logger.ts';
import type { Workloads } from '../../core/workloads.ts';
import type { CredentialRecord, PodRecord } from '../../core/pod.ts';
import { podPut } from '../../core/pod-put.ts';
import type { Batch, Put, Store, Stored } from '../../core/store.ts';
import type { StoreJudge } from '../store/store-judge.ts';
import type { RecoveryView } from '../store/recovery-view.ts';
import type { StoreGuard } from '../store/store-guard.ts';
import { recordOfAnnotation } from '../store/record-schema.ts';

const LOCK = 'recover';
const LEASE_MS = 30_000;
const RENEW_EVERY_MS = 10_000;
const RETRY_MS = 1_000;
const CONCURRENCY = 16;

export interface RecoverParts {
  readonly database: {
    readonly store: Store;
    readonly guard: Pick<StoreGuard, 'mark'>;
    forRecovery(): Promise<RecoveryView>;
  };
  readonly orchestrator: Pick<Workloads, 'list' | 'records'>;
  readonly judge: StoreJudge;
  readonly clock: Clock;
  readonly log: Logger;
}

export interface RecoverOptions {
  /** False = only say what would be done. */
  readonly act: boolean;
  /** Go on although there are workloads that cannot be read. */
  readonly abandonUnreadable: boolean;
}

/** One line of what is, or would be, done. */
export interface RecoverLine {
  readonly kind: RecoverStep['kind'];
  readonly key: string;
  readonly note: string;
}

export type RecoverReport =
  /** Nothing to recover. */
  | { readonly kind: 'healthy' }
  /** Another replica, or another call, is at it. */
  | { readonly kind: 'busy' }
  | { readonly kind: 'plan'; readonly reason: string; readonly lines: readonly RecoverLine[] }
  /** Refused: `lines` has workloads that cannot be read. */
  | { readonly kind: 'unreadable'; readonly reason: string; readonly lines: readonly RecoverLine[] }
  /** `changed`: keys that somebody else wrote meanwhile, and were left as they are. */
  | {
      readonly kind: 'recovered';
      readonly reason: string;
      readonly lines: readonly RecoverLine[];
      readonly changed: readonly string[];
    };

/**
 * Reconciles a suspect store with the annotations of what runs, and then has it believed: see docs/decisions/0014. No
 * workload is touched. May be interrupted at any point and repeated: the store stays suspect until the last step. Throws
 * when store or orchestrator do not answer.
 */
export async function recoverStore(
  parts: RecoverParts,
  options: RecoverOptions,
  signal: AbortSignal,
): Promise<RecoverReport> {
  const { trust } = await parts.judge.judge(signal);
  if (trust.kind === 'healthy') return { kind: 'healthy' };
  const { reason } = trust;
  if (!options.act) {
    const plan = await makePlan(parts, parts.database.store, signal);
    return { kind: 'plan', reason, lines: plan.steps.map(lineOf) };
  }

  const view = await parts.database.forRecovery();
  const askedAtMs = parts.clock.monotonicMs();
  const lease = await view.lock.acquire(LOCK, LEASE_MS);
  if (lease === null) return { kind: 'busy' };
  const held = holdLease({
    renew: () => view.lock.renew(lease, LEASE_MS),
    ...{ leaseMs: LEASE_MS, renewEveryMs: RENEW_EVERY_MS, retryMs: RETRY_MS, askedAtMs, clock: parts.clock },
    onUnanswered: (error) => parts.log.warn({ error: errorText(error) }, 'failed to renew the lock of recover'),
  });
  const working = AbortSignal.any([signal, held.signal]);
  try {
    const plan = await makePlan(parts, view.store, working);
    const lines = plan.steps.map(lineOf);
    const isUnreadable = plan.steps.some(({ kind }) => kind === 'unreadable');
    if (isUnreadable && !options.abandonUnreadable) return { kind: 'unreadable', reason, lines };
    const changed = await carryOut(parts, view, plan.steps, working);
    working.throwIfAborted();
    const identity = await view.store.adopt(plan.adoption);
    parts.log.warn({ reason, ...identity, pods: lines.length }, 'an operator recovered the suspect store');
    await parts.judge.judge(signal);
    return { kind: 'recovered', reason, lines, changed };
  } finally {
    await held.stop();
    await view.lock.release(lease).catch((error: unknown) => {
      parts.log.warn({ error: errorText(error) }, 'failed to release the lock of recover; it expires by itself');
    });
  }
}

async function makePlan(parts: RecoverParts, store: Store, signal: AbortSignal): Promise<RecoverPlan> {
  const { orchestrator } = parts;
  const seen = new Map((await orchestrator.list(signal)).map((observation) => [observation.uid, observation]));
  const workloads = (await orchestrator.records(signal)).map((workload): RecoverableWorkload => {
    const observation = seen.get(workload.uid);
    return {
      workload,
      record: recordOfAnnotation(workload.record),
      // Listed in one look and gone in the other: on its way out.
      phase: observation?.phase ?? 'stopping',
      startedMs: observation === undefined ? null : parts.clock.now() - observation.ageMs,
    };
  });
  const credentials = new Map<string, CredentialRecord>();
  for await (const { key, value } of listAll(store, 'credential')) credentials.set(key, value);
  const present = new Map<string, PresentRecord>();
  for await (const { key, value } of listAll(store, 'pod')) {
    present.set(key, { record: value, credential: credentials.get(key) ?? null });
  }
  const deleted = new Set<string>();
  await inParallel(workloads, async ({ workload }) => {
    const tombstone = await store.tombstone('pod', `${workload.tenant}/${workload.podId}`);
    if (tombstone !== null) deleted.add(`${tombstone.key} ${tombstone.uid}`);
  });
  return planRecover({
    identity: await store.identity(),
    lastSeen: parts.database.guard.mark(),
    workloads,
    present,
    isDeleted: (key, uid) => deleted.has(`${key} ${uid}`),
  });
}

/** Returns the keys that were modified concurrently. */
async function carryOut(
  parts: RecoverParts,
  { store, logs }: RecoveryView,
  steps: readonly RecoverStep[],
  signal: AbortSignal,
): Promise<readonly string[]> {
  const changed: string[] = [];
  await inParallel(steps, async (step) => {
    signal.throwIfAborted();
    if (step.kind === 'leave' || step.kind === 'unreadable') return;
    const [pod, credential] = await Promise.all([store.get('pod', step.key), store.get('credential', step.key)]);
    const batch = batchFor(parts, step, pod, credential);
    const result = batch === null ? null : await store.commit(batch);
    if (result?.kind !== 'committed') {
      changed.push(step.key);
      return;
    }
    await logs.appendAction(step.record.uid, actionLine(parts.clock.now(), `recover: ${noteOf(step)}`));
  });
  return changed;
}

/** Null when what the plan has seen is no longer so. */
function batchFor(
  { clock }: RecoverParts,
  step: Exclude<RecoverStep, { kind: 'leave' | 'unreadable' }>,
  pod: Stored<'pod'> | null,
  credential: Stored<'credential'> | null,
): Batch | null {
  switch (step.kind) {
    case 'turn-off': {
      if (pod?.value.uid !== step.record.uid || pod.value.wish === 'OFF' || pod.value.deleting !== null) return null;
      return { puts: [podPut({ ...pod.value, wish: 'OFF', updatedAtMs: clock.now() }, pod.revision)] };
    }
    case 'credential':
      return pod?.value.uid === step.record.uid
        ? { puts: [credentialPut(step.record, step.sealed, credential)] }
        : null;
    case 'rebuild':
      if (pod !== null) return null;
      break;
    case 'take':
      if (pod === null) return null;
  }
  const record = { ...step.record, updatedAtMs: clock.now() };
  const puts: Put[] = [podPut(record, pod?.revision ?? 'absent')];
  if (step.sealed !== null) return { puts: [...puts, credentialPut(record, step.sealed, credential)] };
  // Of another pod of this id, which is no more.
  const isForeign = credential !== null && credential.value.uid !== record.uid;
  if (!isForeign) return { puts };
  const { key, revision, value } = credential;
  return { puts, deletes: [{ kind: 'credential', key, expected: revision, uid: value.uid }] };
}

function credentialPut(record: PodRecord, sealed: string, present: Stored<'credential'> | null): Put {
  const { uid, tenant, podId } = record;
  return {
    kind: 'credential',
    key: `${tenant}/${podId}`,
    expected: present?.revision ?? 'absent',
    value: { uid, tenant, podId, sealed },
    tenant,
    indexes: [],
  };
}

function lineOf(step: RecoverStep): RecoverLine {
  return { kind: step.kind, key: step.key, note: noteOf(step) };
}

function noteOf(step: RecoverStep): string {
  switch (step.kind) {
    case 'rebuild':
      return 'record rebuilt from its workload';
    case 'take':
      return 'record taken from its workload, which is newer than the store';
    case 'credential':
      return 'credential taken from its workload';
    case 'turn-off':
      return 'set to OFF: nothing of it runs, and it may have been deleted since; start it if it is wanted';
    case 'leave':
      return `workload left to clean-up: ${step.reason}`;
    case 'unreadable':
      return `workload without a readable record: ${step.reason}`;
  }
}

async function inParallel<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
  const left = [...items];
  const worker = async (): Promise<void> => {
    for (let item = left.pop(); item !== undefined; item = left.pop()) await work(item);
  };
  await Promise.all(Array.from({ length: CONCURRENCY }, worker));
}
