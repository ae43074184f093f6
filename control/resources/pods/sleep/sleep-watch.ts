import { isDeepStrictEqual } from 'node:util';
import { pause } from '../../../../core/abort.ts';
import type { Clock } from '../../../../core/clock.ts';
import { durationText } from '../../../../core/duration-text.ts';
import { podKey } from '../../../../core/ids.ts';
import type { Term } from '../../../../core/leadership.ts';
import { wakeChange } from '../../../../core/lifecycle/plan.ts';
import type { LogStore } from '../../../../core/log-store.ts';
import type { Logger } from '../../../../core/logger.ts';
import type { Orchestrator } from '../../../../core/orchestrator.ts';
import type { PodConnectionsReader } from '../../../../core/pod-connections-reader.ts';
import type { PodRecord, Sleep, UsedInside } from '../../../../core/pod.ts';
import { USERS_MAX } from '../../../../core/pod-use.ts';
import type { TemplateCatalog } from '../../../../core/template.ts';
import type { Store } from '../../../../core/store.ts';
import { KeyedWork } from '../../../objects/keyed-work.ts';
import { noteAction } from '../pod-parts.ts';
import { checkInside } from './check-inside.ts';
import { IdleTime, lookEveryMs } from './idle-time.ts';
import { changeRecord } from './change-record.ts';
import { hasLost, judgeUse, workersOf } from './judge-use.ts';
import { oneSleepLess, untilNextSleepMs } from './sleep-budget.ts';
import type { SleepMetrics } from './sleep-metrics.ts';

/** How soon a pod that may sleep is noticed. */
const LIST_EVERY_MS = 5_000;
const CONCURRENCY = 16;
const RETRY_MS = 5_000;
/** While a pod is kept from its clients: how long all workers are given to hold back, and how often they are asked. */
const HOLD_BACK_MS = 10_000;
const ASK_AGAIN_MS = 250;

export interface SleepWatchOptions {
  readonly connections: PodConnectionsReader;
  /** The records that this replica knows. */
  readonly feed: { readonly isReady: boolean; records(): Iterable<PodRecord> };
  readonly logs: LogStore;
  readonly templates: Pick<TemplateCatalog, 'find'>;
  readonly orchestrator: Pick<Orchestrator, 'useInside'>;
  readonly clock: Clock;
  readonly log: Logger;
  readonly metrics: SleepMetrics;
  /** Default: 250. */
  readonly askAgainMs?: number;
  readonly checkInsideMs?: number;
}

/** What a decision of one term works with. */
interface Acting extends Omit<SleepWatchOptions, 'feed'> {
  readonly store: Pick<Store, 'get' | 'commit'>;
  readonly term: Term;
}

/** What a watch of one term works with. */
interface Watching extends Acting {
  readonly idle: Map<string, IdleTime>;
}

/**
 * Puts pods to sleep that nobody uses, while this replica leads. Every decision is a compare-and-set with the fence of the
 * term, and what is not known counts as use. A pod goes `holding` first: then no connection can begin, and the answers of
 * all workers that they hold back and see no use are together the proof that nobody is cut off.
 */
export async function watchSleepers(options: SleepWatchOptions, store: Store, term: Term): Promise<void> {
  const watching: Watching = { ...options, store, term, idle: new Map() };
  const work = new KeyedWork({
    work: async (key) => {
      if (term.isOver()) return;
      const lookAgainMs = await look(watching, key).catch((error: unknown) => {
        if (term.isOver()) return null;
        throw error;
      });
      if (lookAgainMs !== null) work.addLater(key, lookAgainMs);
    },
    concurrency: CONCURRENCY,
    retryMs: RETRY_MS,
    log: options.log,
  });
  while (!term.isOver()) {
    const keys = new Set<string>();
    for (const record of options.feed.isReady ? options.feed.records() : []) {
      if (!mayGoToSleep(record)) continue;
      const key = podKey(record.tenant, record.podId);
      keys.add(key);
      if (!watching.idle.has(key)) work.addLater(key, 0);
    }
    for (const key of watching.idle.keys()) if (!keys.has(key)) watching.idle.delete(key);
    await pause(LIST_EVERY_MS, term.signal);
  }
  await work.close();
}

function mayGoToSleep({ spec, wish, status, deleting, sleep }: PodRecord): boolean {
  const isHolding = sleep?.stage === 'holding';
  const isAwake = sleep === undefined || sleep === null;
  return (
    spec.sleep !== undefined && wish === 'ON' && deleting === null && status === 'RUNNING' && (isAwake || isHolding)
  );
}

/** One look at one pod. Returns when to look again, or null: it is of no interest any more. */
async function look(watching: Watching, key: string): Promise<number | null> {
  const { store, clock, connections, idle } = watching;
  const record = (await store.get('pod', key))?.value;
  if (record?.spec.sleep === undefined || !mayGoToSleep(record)) {
    idle.delete(key);
    return null;
  }
  // Of a leader before this one, which has not come to a decision.
  if (record.sleep?.stage === 'holding') await endHolding(watching, key, record.sleep);
  let time = idle.get(key);
  if (time?.uid !== record.uid || time.run !== record.run) {
    idle.set(key, (time = new IdleTime(record, clock.monotonicMs())));
  }
  const report = await connections.read(record.uid);
  const use = judgeUse(report);
  const afterMs = record.spec.sleep.afterSeconds * 1000;
  const workers = workersOf(report);
  const { isDue, lookAgainMs } = time.look(record, afterMs, { use, workers }, clock.monotonicMs());
  if (!isDue || use.kind !== 'idle') return lookAgainMs;
  const waitMs = untilNextSleepMs(record, clock.now());
  if (waitMs > 0) return Math.min(waitMs, lookEveryMs(afterMs));
  if (await goToSleep(watching, key, record, { lastUsedMs: use.lastUsedMs, workers })) {
    // Should it be woken before it has shut down, it is found again as one that is new.
    idle.delete(key);
    return null;
  }
  // It was in use after all: its idle time begins anew.
  idle.set(key, new IdleTime(record, clock.monotonicMs()));
  return lookAgainMs;
}

/** What all workers said of a pod when it had been idle long enough. */
interface IdleAnswer {
  readonly lastUsedMs: number | null;
  /** Who they were. */
  readonly workers: ReadonlySet<string>;
}

/** Takes a pod that was idle long enough through both stages. False: it was in use after all, or was changed. */
export async function goToSleep(
  watching: Acting,
  key: string,
  { uid, run, spec }: PodRecord,
  idle: IdleAnswer,
): Promise<boolean> {
  const { clock, metrics } = watching;
  const holding: Sleep = { stage: 'holding', sinceMs: clock.now() };
  const held = await change(watching, key, (record) =>
    record.uid === uid && record.run === run && mayGoToSleep(record) && record.sleep?.stage !== 'holding'
      ? { sleep: holding }
      : null,
  );
  if (held === null) return false;
  let isDecided = false;
  let usedInside: UsedInside | null = null;
  try {
    const isIdle = (await usersOfIdle(watching, key, held, idle)) !== null;
    const because = isIdle ? await checkInside(watching, held) : [];
    if (because.length > 0) usedInside = { atMs: clock.now(), because };
    // The check took a while, in which a session that was idle may have gone on.
    const users = isIdle && usedInside === null ? await usersOfIdle(watching, key, held, idle) : null;
    if (users !== null) {
      const sleep: Sleep = { stage: 'decided', sinceMs: clock.now() };
      const decided = await change(watching, key, (record) =>
        isSame(record, uid, holding)
          ? { sleep, usedInside: null, ...oneSleepLess(record, sleep.sinceMs), ...knownUsers(watching, record, users) }
          : null,
      );
      isDecided = decided !== null;
    }
  } finally {
    if (!isDecided) {
      metrics.keptAwake();
      await endHolding(watching, key, holding, usedInside);
    }
  }
  if (!isDecided) return false;
  metrics.slept();
  const after = durationText((spec.sleep?.afterSeconds ?? 0) * 1000);
  await noteAction(watching, held, `went to sleep after ${after} without use`);
  return true;
}

/** Once all workers hold back, and nobody has used the pod since: the users it has accepted. Null: it stays awake. */
async function usersOfIdle(
  { store, connections, term, clock, askAgainMs = ASK_AGAIN_MS }: Acting,
  key: string,
  { uid, sleep }: PodRecord,
  { lastUsedMs, workers }: IdleAnswer,
): Promise<readonly string[] | null> {
  const untilMs = clock.monotonicMs() + HOLD_BACK_MS;
  while (!term.isOver() && clock.monotonicMs() < untilMs) {
    const report = await connections.read(uid);
    const use = judgeUse(report);
    if (use.kind !== 'idle' || use.lastUsedMs !== lastUsedMs || hasLost(workers, workersOf(report))) return null;
    if (use.isHeld) return use.users ?? [];
    await pause(askAgainMs, term.signal);
    // A client has come meanwhile, or its user has changed something: its workers will not hold back any more.
    const now = (await store.get('pod', key))?.value;
    if (now === undefined || !isDeepStrictEqual(now.sleep, sleep) || now.uid !== uid) return null;
  }
  return null;
}

/**
 * Its own, the latest, then those of former sleeps: workers forget when they end. Those of a clone are of its source's data,
 * and not known here.
 */
function knownUsers(
  { templates }: Acting,
  { podId, spec, clonedFrom, knownUsers: former = [] }: PodRecord,
  latest: readonly string[],
): Pick<PodRecord, 'knownUsers'> {
  if (clonedFrom !== undefined) return {};
  const credentials = templates.find(spec.template)?.credentials ?? null;
  const own = credentials === null ? [] : [credentials.username ?? podId];
  const users = [...new Set([...own, ...latest, ...former])].slice(0, USERS_MAX);
  return users.length === 0 ? {} : { knownUsers: users };
}

function isSame({ uid, sleep }: PodRecord, ofUid: string, { stage, sinceMs }: Sleep): boolean {
  return uid === ofUid && sleep?.stage === stage && sleep.sinceMs === sinceMs;
}

async function endHolding(
  watching: Acting,
  key: string,
  holding: Sleep,
  usedInside: UsedInside | null = null,
): Promise<void> {
  await change(watching, key, (record) =>
    isSame(record, record.uid, holding) && wakeChange(record) !== null ? { sleep: null, usedInside } : null,
  );
}

/** Null: there was nothing to change, or it has not come through. */
function change(
  { store, clock }: Acting,
  key: string,
  decide: (record: PodRecord) => Pick<PodRecord, 'sleep' | 'sleepsLeft' | 'usedInside' | 'knownUsers'> | null,
): Promise<PodRecord | null> {
  return changeRecord({ store, clock }, key, (record) => {
    const decided = decide(record);
    return decided === null ? null : { change: decided, enqueue: false };
  });
}
