import type { Observation, WorkloadObservation } from '../workloads.ts';
import type { PodRecord, PodStatus, StatusContainer } from '../pod.ts';
import { isCurrentWorkload } from '../route.ts';
import {
  EVICTION_FORGOTTEN_MS,
  evictionBackoffMs,
  EXCESSES_MAX,
  isSpawnDue,
  SPAWN_ATTEMPTS_MAX,
  spawnBackoffMs,
} from './backoff.ts';

/** A workload that is not ready after this long is an ERROR with that reason (and RUNNING as soon as it is ready). */
const START_DEADLINE_MS = 15 * 60_000;
/** A workload that was ready this long has shown that its spawn succeeded: earlier attempts are forgotten. */
const STEADY_AFTER_MS = 10_000;
/** How soon to check again what is in progress. Events usually come first. */
const LOOK_AGAIN_MS = 3_000;
/** A pod is not kept from its clients for longer than this while it is checked whether somebody uses it. */
export const HOLDING_MAX_MS = 60_000;

/** What a plan may change in a record. */
export type LifecycleChange = Partial<
  Pick<
    PodRecord,
    | 'wish'
    | 'status'
    | 'run'
    | 'applied'
    | 'statusContainer'
    | 'attempts'
    | 'evictions'
    | 'notBeforeMs'
    | 'startInstanceMs'
    | 'timeToStopInstance'
    | 'startTookMs'
    | 'sleep'
  >
>;

export type Step =
  /** Nothing to do now; check again after this time (null: an event or the regular pass is enough). */
  | { readonly kind: 'none'; readonly lookAgainMs: number | null }
  /** Compare-and-set this change. `log` is a line for action_logs or null; `enqueue` makes the key due for the spawner. */
  | { readonly kind: 'write'; readonly change: LifecycleChange; readonly log: string | null; readonly enqueue: boolean }
  /** The spawner has work: make the key due. */
  | { readonly kind: 'spawn' }
  /** Ask the orchestrator to remove the workload of this uid (again). */
  | {
      readonly kind: 'remove';
      readonly data: 'keep' | 'delete';
      /** Workloads up to this run; absent: up to the record's. */
      readonly run?: number;
    }
  /** All is gone: delete the record and what belongs to it, leaving a tombstone. */
  | { readonly kind: 'purge' };

/** What an observation says about this record. */
type Evidence =
  | { readonly kind: 'unknown' }
  /** Nothing of this uid. */
  | { readonly kind: 'gone'; readonly data: boolean }
  /** Nothing of this uid runs, but parts of a workload are left. */
  | { readonly kind: 'remains' }
  /** A workload of this uid, but of another generation or run: of no value, and in the way. */
  | { readonly kind: 'outdated' }
  | { readonly kind: 'current'; readonly workload: WorkloadObservation };

const nothing = (lookAgainMs: number | null): Step => ({ kind: 'none', lookAgainMs });
const write = (change: LifecycleChange, log: string | null, enqueue = false): Step => ({
  kind: 'write',
  change,
  log,
  enqueue,
});

/**
 * The next step for a pod: a pure function of its record, what was observed and the wall clock. Level-based: it does
 * not matter which event led here. Every step either changes what the next call sees or waits for something outside;
 * test/unit/lifecycle walks all combinations. Source: design section 5.
 */
export function planPod(record: PodRecord, observation: Observation, nowMs: number): Step {
  const evidence = evidenceOf(record, observation);
  if (record.deleting !== null) return planDeletion(record, record.deleting.keepVolume, evidence);
  if (record.wish === 'ON') return planOn(record, evidence, nowMs);
  return planOff(record, evidence);
}

function evidenceOf(record: PodRecord, observation: Observation): Evidence {
  switch (observation.kind) {
    case 'unknown':
      return { kind: 'unknown' };
    case 'absent':
      return { kind: 'gone', data: observation.data };
    case 'remains':
      return { kind: 'remains' };
    case 'workload':
      // `observe` reports on this uid only: anything else is not evidence.
      if (observation.uid !== record.uid) return { kind: 'unknown' };
      return isCurrentWorkload(record, observation) ? { kind: 'current', workload: observation } : { kind: 'outdated' };
  }
}

function planDeletion(record: PodRecord, keepVolume: boolean, evidence: Evidence): Step {
  if (record.status !== 'SHUTTING_DOWN') return shutDown();
  const data = keepVolume ? 'keep' : 'delete';
  switch (evidence.kind) {
    case 'unknown':
      return nothing(LOOK_AGAIN_MS);
    case 'gone':
      return evidence.data && !keepVolume ? { kind: 'remove', data } : { kind: 'purge' };
    case 'remains':
    case 'outdated':
    case 'current':
      return { kind: 'remove', data };
  }
}

/** Desired state OFF or RESTART: toward STOPPED, from any status. */
function planOff(record: PodRecord, evidence: Evidence): Step {
  const present = evidence.kind !== 'unknown' && evidence.kind !== 'gone';
  if (record.status === 'ASLEEP') return stopped(record);
  if (record.status === 'STOPPED') {
    // A spawner that was interrupted may have made a workload after the shutdown was seen to be complete.
    if (present) return shutDown();
    return record.wish === 'RESTART' ? startRun(record, 'health set status to REQUESTED, set to ON') : nothing(null);
  }
  if (record.status !== 'SHUTTING_DOWN') return shutDown();
  if (present) return { kind: 'remove', data: 'keep' };
  return evidence.kind === 'gone' ? stopped(record) : nothing(LOOK_AGAIN_MS);
}

/** Desired state ON: toward RUNNING, ASLEEP, COMPLETE or, when all attempts are used up, ERROR. */
function planOn(record: PodRecord, evidence: Evidence, nowMs: number): Step {
  if (isSleepOver(record, nowMs)) {
    const woken = wakeChange(record);
    if (woken !== null) return { ...woken, kind: 'write', log: 'health ended the sleep of the pod' };
  }
  if (record.sleep?.stage === 'decided') return planSleep(record, evidence);
  switch (record.status) {
    case 'ASLEEP':
      return startRun(record, 'health found an ASLEEP pod that is to be awake, set status to REQUESTED');
    case 'STOPPED':
      return startRun(record, 'health found ON pod set to STOPPED, set status to REQUESTED');
    case 'REQUESTED':
      // What an evicted run left: removed at once, so that what it printed is kept and the next start finds the way free.
      if (evidence.kind === 'current' && evidence.workload.run < record.run) {
        return { kind: 'remove', data: 'keep', run: evidence.workload.run };
      }
      return isSpawnDue(record.notBeforeMs, nowMs) ? { kind: 'spawn' } : nothing(record.notBeforeMs - nowMs);
    case 'SPAWNER_SETUP':
      return { kind: 'spawn' };
    case 'SHUTTING_DOWN':
      // The desired state changed during shutdown: it stops first, and starts again from STOPPED.
      if (evidence.kind === 'unknown') return nothing(LOOK_AGAIN_MS);
      return evidence.kind === 'gone' ? stopped(record) : { kind: 'remove', data: 'keep' };
    case 'CREATING_CONTAINER':
    case 'RUNNING':
    case 'ERROR':
    case 'COMPLETE':
      return planStarted(record, evidence, nowMs);
  }
}

/** Toward ASLEEP, from any status: as to STOPPED, but what is there in the end is woken by a client. */
function planSleep(record: PodRecord, evidence: Evidence): Step {
  const present = evidence.kind !== 'unknown' && evidence.kind !== 'gone';
  if (record.status === 'ASLEEP') return present ? shutDown() : nothing(null);
  if (record.status !== 'SHUTTING_DOWN') return shutDown();
  if (present) return { kind: 'remove', data: 'keep' };
  return evidence.kind === 'gone'
    ? write({ ...NOTHING_RUNS, status: 'ASLEEP' }, 'health set status to ASLEEP')
    : nothing(LOOK_AGAIN_MS);
}

/** It may sleep no longer, or the check whether it is in use has not come to an end in time or is void: it does not run. */
function isSleepOver({ spec, status, sleep }: PodRecord, nowMs: number): boolean {
  if (sleep === undefined || sleep === null) return false;
  if (spec.sleep === undefined) return true;
  if (sleep.stage === 'decided') return false;
  // In both directions: the clock may have been set back.
  return status !== 'RUNNING' || Math.abs(nowMs - sleep.sinceMs) > HOLDING_MAX_MS;
}

/**
 * What wakes a pod, for a compare-and-set; null when it does not sleep. While its workload is being removed, it is started
 * once that is gone, as after any stop.
 */
export function wakeChange(record: PodRecord): { readonly change: LifecycleChange; readonly enqueue: boolean } | null {
  const { deleting, wish, status, sleep } = record;
  if (deleting !== null || wish !== 'ON' || sleep === undefined || sleep === null) return null;
  if (status !== 'ASLEEP') return { change: { sleep: null }, enqueue: false };
  return { change: { ...startRunChange(record), sleep: null }, enqueue: true };
}

function planStarted(record: PodRecord, evidence: Evidence, nowMs: number): Step {
  switch (evidence.kind) {
    case 'unknown':
      return nothing(LOOK_AGAIN_MS);
    case 'current':
      return planObserved(record, evidence.workload, nowMs);
    case 'outdated':
      // ERROR and COMPLETE are ends: clean up. Otherwise the spawner replaces it.
      return isEnd(record)
        ? { kind: 'remove', data: 'keep' }
        : { ...retry(record, nowMs), log: 'health found an outdated workload, set status to REQUESTED' };
    case 'remains':
      return isEnd(record) ? { kind: 'remove', data: 'keep' } : retry(record, nowMs);
    case 'gone':
      return isEnd(record) ? nothing(null) : retry(record, nowMs);
  }
}

/** COMPLETE, or ERROR with the attempts used up: what is gone stays gone until the user says start or restart. */
function isEnd(record: PodRecord): boolean {
  return record.status === 'COMPLETE' || (record.status === 'ERROR' && record.attempts >= SPAWN_ATTEMPTS_MAX);
}

/**
 * The workload has vanished (evicted, node lost, this machine's pods after a crash of ours): again, with back-off. That
 * is no failed spawn: it never uses up the attempts.
 */
function retry(record: PodRecord, nowMs: number): Step & { kind: 'write' } {
  const attempts = Math.min(record.attempts + 1, SPAWN_ATTEMPTS_MAX - 1);
  return {
    kind: 'write',
    change: {
      status: 'REQUESTED',
      attempts,
      notBeforeMs: nowMs + spawnBackoffMs(attempts),
      statusContainer: null,
      startInstanceMs: null,
    },
    log: 'health found no workload, set status to REQUESTED',
    enqueue: true,
  };
}

function planObserved(record: PodRecord, workload: WorkloadObservation, nowMs: number): Step {
  const container = statusContainerOf(workload);
  switch (workload.phase) {
    case 'stopping':
      // Somebody else is deleting it. Once it is gone, it is made again.
      return keepUpToDate(record, container, LOOK_AGAIN_MS);
    case 'lost':
      return { kind: 'remove', data: 'keep' };
    case 'evicted':
    case 'exceeded':
      return planEvicted(record, workload, container, nowMs);
    case 'ready':
      return planReady(record, workload, container, nowMs);
    case 'pending':
    case 'starting':
      if (record.status === 'COMPLETE') {
        return write(
          { status: 'CREATING_CONTAINER', statusContainer: container },
          'health set status to CREATING_CONTAINER',
        );
      }
      if (record.status === 'CREATING_CONTAINER' && workload.ageMs > START_DEADLINE_MS) {
        return failed(record, {
          ...container,
          message: `Not ready after ${START_DEADLINE_MS / 60_000} minutes. ${container.message}`.trim(),
        });
      }
      return keepUpToDate(record, container, LOOK_AGAIN_MS);
    case 'crashing':
    case 'failed':
      return record.status === 'ERROR' ? keepUpToDate(record, container, null) : failed(record, container);
    case 'completed':
      return record.status === 'COMPLETE'
        ? nothing(null)
        : write(
            { status: 'COMPLETE', statusContainer: container, attempts: 0, notBeforeMs: 0 },
            'health set status to COMPLETE',
          );
  }
}

/** Ended by the cluster: started again as a run of its own, later each time; an ERROR if it keeps using too much. */
function planEvicted(
  record: PodRecord,
  workload: WorkloadObservation,
  container: StatusContainer,
  nowMs: number,
): Step {
  // Its user has to do something about it, and has been told.
  if (record.status === 'ERROR' && isEnd(record)) return nothing(null);
  const { evictions: last } = record;
  const sinceMs = last?.run === workload.run ? nowMs - last.atMs : Infinity;
  const before =
    last !== undefined && sinceMs >= 0 && sinceMs < EVICTION_FORGOTTEN_MS ? last : { count: 0, excesses: 0 };
  const isExcess = workload.phase === 'exceeded';
  const excesses = isExcess ? before.excesses + 1 : 0;
  if (excesses >= EXCESSES_MAX) {
    const message = `${container.message} That was the ${EXCESSES_MAX}th time in a row: start it again once it needs less.`;
    return failed({ ...record, attempts: SPAWN_ATTEMPTS_MAX }, { ...container, message });
  }
  const count = before.count + 1;
  const run = record.run + 1;
  return write(
    {
      status: 'REQUESTED',
      run,
      statusContainer: container,
      startInstanceMs: null,
      attempts: 0,
      notBeforeMs: nowMs + evictionBackoffMs(count),
      evictions: { run, count, excesses, atMs: nowMs },
    },
    `health set status to REQUESTED: ${container.message}`,
    true,
  );
}

function planReady(record: PodRecord, workload: WorkloadObservation, container: StatusContainer, nowMs: number): Step {
  if (record.status !== 'RUNNING') {
    const isFirst = record.startInstanceMs === null && record.spec.sleep !== undefined;
    return write(
      {
        status: 'RUNNING',
        statusContainer: container,
        startInstanceMs: record.startInstanceMs ?? nowMs,
        ...(isFirst && { startTookMs: workload.ageMs }),
      },
      'health set status to RUNNING',
    );
  }
  const stopAfterMs = timeToStopMs(record);
  // By the workload's age: a jump of the wall clock must not stop a pod.
  if (stopAfterMs !== null && workload.ageMs >= stopAfterMs) {
    return write({ wish: 'OFF', ...awake(record) }, 'health set pod to OFF due to time_to_stop trigger');
  }
  if (record.attempts > 0 && workload.ageMs >= STEADY_AFTER_MS) return write({ attempts: 0, notBeforeMs: 0 }, null);
  return keepUpToDate(record, container, stopAfterMs === null ? null : stopAfterMs - workload.ageMs);
}

/** Time from the start of the instance to its stop, or null for never. */
export function timeToStopMs(record: Pick<PodRecord, 'spec' | 'timeToStopInstance'>): number | null {
  const seconds = record.timeToStopInstance ?? record.spec.timeToStopDefault;
  return seconds < 0 ? null : seconds * 1000;
}

function keepUpToDate(record: PodRecord, container: StatusContainer, lookAgainMs: number | null): Step {
  const known = record.statusContainer;
  const same =
    known !== null &&
    known.phase === container.phase &&
    known.message === container.message &&
    known.restarts === container.restarts &&
    known.exitCode === container.exitCode &&
    known.signal === container.signal;
  if (same) return nothing(lookAgainMs);
  // Why it is not there yet. A crash loop has said its reason once; each further turn would only repeat it.
  const isNews = record.status !== 'ERROR' && container.message !== '' && container.message !== known?.message;
  return write({ statusContainer: container }, isNews ? `health: ${container.message}` : null);
}

function failed(record: PodRecord, container: StatusContainer): Step {
  const reason = container.message === '' ? '' : `: ${container.message}`;
  return write(
    { status: 'ERROR', statusContainer: container, attempts: record.attempts },
    `health set status to ERROR${reason}`,
  );
}

const shutDown = (): Step => write({ status: 'SHUTTING_DOWN' }, 'health set status to SHUTTING_DOWN');

const NOTHING_RUNS = { statusContainer: null, startInstanceMs: null, attempts: 0, notBeforeMs: 0 } as const;

/** Ends a sleep, if there is one. */
export const awake = ({ sleep }: Pick<PodRecord, 'sleep'>): Pick<LifecycleChange, 'sleep'> =>
  sleep === undefined || sleep === null ? {} : { sleep: null };

const stopped = (record: PodRecord): Step =>
  write(
    { ...NOTHING_RUNS, status: 'STOPPED', timeToStopInstance: null, ...awake(record) },
    'health set status to STOPPED',
  );

const startRun = (record: PodRecord, log: string): Step => write(startRunChange(record), log, true);

/** What begins a new run, at create, start and after STOPPED. The key is enqueued in the same commit. */
export function startRunChange(record: Pick<PodRecord, 'run'>): LifecycleChange & { readonly status: PodStatus } {
  return {
    ...NOTHING_RUNS,
    wish: 'ON',
    status: 'REQUESTED',
    run: record.run + 1,
  };
}

function statusContainerOf(workload: WorkloadObservation): StatusContainer {
  return {
    phase: workload.phase,
    message: workload.message,
    startTime: workload.startTime,
    exitCode: workload.exitCode,
    signal: workload.signal,
    restarts: workload.restarts,
  };
}
