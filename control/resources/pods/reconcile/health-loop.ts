import { isAborted, pause, untilAborted } from '../../../../core/abort.ts';
import { coalesce } from '../../../../core/coalesce.ts';
import { errorText } from '../../../../core/errors.ts';
import { podKey } from '../../../../core/ids.ts';
import type { Leadership, Term } from '../../../../core/leadership.ts';
import { planPod } from '../../../../core/lifecycle/plan.ts';
import type { Logger } from '../../../../core/logger.ts';
import type { WorkloadLogs } from '../../../../core/workload-logs.ts';
import type { Observation, WorkloadObservation, Workloads } from '../../../../core/workloads.ts';
import { actingParts } from './acting-parts.ts';
import { KeyedWork } from '../../../objects/keyed-work.ts';
import { listAll } from '../../../../core/list-all.ts';
import type { Store } from '../../../../core/store.ts';
import type { UsageAudit } from '../../../objects/quota/usage-audit.ts';
import { OutputRounds } from './output-rounds.ts';
import type { RunningWorkload } from '../run-output.ts';
import { type HeldBackRemovals, OrphanWatch } from './orphan-watch.ts';
import { reconcilePod, type ReconcileParts } from './reconcile-pod.ts';
import type { StoreJudge } from '../../../store/store-judge.ts';

const PASS_EVERY_MS = 3_000;
/** A pass over many pods takes long; the pause after it is so many times as long. */
const PAUSE_PER_PASS = 100;
const PASS_EVERY_MOST_MS = 120_000;
/** What a pod waits for within this time gets a timer: the next pass may come later. */
const LOOK_AHEAD_MS = 2 * PASS_EVERY_MOST_MS;
/** Before the first pass that succeeds, this replica serves nothing. */
const FIRST_PASS_RETRY_MS = 500;
const CONCURRENCY = 16;
const RESEAL_EVERY_MS = 3_600_000;
/** Back-off of a stream (changes, watch) that broke. */
const STREAM_RETRY_MS = 500;

export interface HealthLoopOptions extends ReconcileParts {
  readonly orchestrator: Workloads & WorkloadLogs;
  readonly judge: StoreJudge;
  readonly leadership: Leadership;
  /** In every replica: the watch has reported something about this workload, so its route may have changed. */
  readonly look: (key: string) => void;
  /** In replicas that do not lead, now and then: catches up on what was missed. */
  readonly lookAtAll: () => void;
  /** A full pass over a healthy store is done: what was observed is complete. */
  readonly passed: () => void;
  /** Counts the pods of each pass for the quotas. */
  readonly usageAudit: UsageAudit;
  /** Encrypts the secrets of pods with the current key: at the start of each term, and once an hour. */
  readonly reseal: (store: Store, term: Term) => Promise<void>;
  /** What else the leader does about records. Called once in each term, with the term's store; runs until that is over. */
  readonly alsoLead?: (store: Store, term: Term) => Promise<void>;
  /** A pause of this length after every pass, however long that took. */
  readonly passEveryMs?: number;
}

export interface HealthLoop {
  /** Moves pods toward their desired state while this replica leads, until the signal aborts. */
  run(signal: AbortSignal): Promise<void>;
  /** What the last pass held back for an operator to confirm; null when this replica does not lead. */
  heldBack(): HeldBackRemovals | null;
  /**
   * Has the next passes of this term remove exactly the workloads of `code`. Returns false when this replica does not
   * lead or something else is held back now.
   */
  confirmRemovals(code: string): boolean;
}

/** What one term works with. */
interface Acting {
  readonly term: Term;
  readonly parts: ReconcileParts;
  readonly work: KeyedWork;
  readonly orphans: OrphanWatch;
  /** By key, the last reported state of its workload: a pass re-reads every workload whose state in the list differs. */
  told: Map<string, string>;
  /** Null where the orchestrator keeps all that a run prints. */
  readonly rounds: OutputRounds | null;
  /** Its fence has been used: the previous leader can no longer write. */
  isOpened: boolean;
  readonly opened: () => void;
  /** As of Clock. */
  nextResealMs: number;
}

/**
 * Level-based: any change of a record or a workload wakes its key, and a regular pass looks at all of them, so that a
 * lost event costs the time to the next pass and nothing else: 3 s, up to two minutes where a pass takes long. One replica
 * acts; the others judge the store, keep their routes and are ready to follow. While the store is suspect it only looks.
 */
export function createHealthLoop(options: HealthLoopOptions): HealthLoop {
  const { store, orchestrator, judge, leadership, clock, log } = options;
  let acting: Acting | null = null;
  let passNow: () => void = () => undefined;

  async function run(signal: AbortSignal): Promise<void> {
    const streams = [
      keepReading(signal, log, 'the change feed broke', async () => {
        const { commits } = await store.identity();
        for await (const change of store.changes(commits, signal)) {
          if (change.kind === 'put' && change.record.kind === 'pod') acting?.work.add(change.record.key);
        }
      }),
      keepReading(signal, log, 'the watch of the workloads broke', async () => {
        for await (const event of orchestrator.watch(signal)) {
          const key = podKey(event.tenant, event.podId);
          options.look(key);
          acting?.work.add(key);
        }
      }),
    ];
    await Promise.all([leadership.run(lead, signal), passes(signal), ...streams]);
  }

  /** Begins with a full pass: what happened before, nobody has told this replica. */
  async function lead(term: Term): Promise<void> {
    const told = new Map<string, string>();
    const parts = actingParts(
      {
        ...options,
        observed: (key: string, uid: string, observation: Observation) => {
          told.set(key, fingerprint(observation));
          options.observed(key, uid, observation);
        },
      },
      term,
    );
    const work = new KeyedWork({
      work: async (key) => {
        if (acting?.term !== term || !acting.isOpened || judge.trust()?.kind !== 'healthy' || term.isOver()) return;
        const keepWatched = rounds?.keepNow;
        const acts = keepWatched === undefined ? parts : { ...parts, keepWatched };
        const lookAgainMs = await reconcilePod(acts, key, term.signal).catch((error: unknown) => {
          // What a term's end interrupts, the next leader does.
          if (term.isOver()) return null;
          throw error;
        });
        if (lookAgainMs !== null && lookAgainMs < LOOK_AHEAD_MS) work.addLater(key, lookAgainMs);
      },
      concurrency: CONCURRENCY,
      retryMs: 1_000,
      log,
    });
    const orphans = new OrphanWatch({ store, orchestrator: parts.orchestrator, clock, log });
    const { printedSince, followPrinted } = parts.orchestrator;
    const monotonicMs = (): number => clock.monotonicMs();
    const rounds =
      printedSince === undefined || followPrinted === undefined
        ? null
        : new OutputRounds({ logs: parts.logs, printedSince, followPrinted, monotonicMs, log });
    const keeping = rounds?.run(term.signal);
    const opening = Promise.withResolvers<undefined>();
    const opened = (): void => opening.resolve(undefined);
    acting = { term, parts, work, orphans, told, rounds, isOpened: false, opened, nextResealMs: -Infinity };
    const also = opening.promise.then(() => (term.isOver() ? undefined : options.alsoLead?.(parts.store, term)));
    // What was read of a store that is no longer believed is not acted on, not even when it is believed again soon after.
    const trusted = judge.trusted();
    const onSuspect = (): void => term.end('the store is suspect');
    if (trusted.aborted) onSuspect();
    else trusted.addEventListener('abort', onSuspect, { once: true });
    passNow();
    await untilAborted(term.signal);
    trusted.removeEventListener('abort', onSuspect);
    acting = null;
    opened();
    await Promise.all([keeping, also]);
    await work.close();
  }

  /**
   * At once, then every so often and whenever this replica begins to lead. A failed pass is logged unless the one before
   * failed with the same error; the next one comes.
   */
  async function passes(signal: AbortSignal): Promise<void> {
    let lastError: string | null = null;
    while (!signal.aborted) {
      const waiting = new AbortController();
      passNow = () => waiting.abort();
      const startedMs = clock.monotonicMs();
      try {
        await pass(signal);
        lastError = null;
      } catch (caught) {
        const error = errorText(caught);
        if (!isAborted(signal) && error !== lastError)
          log.warn({ error }, 'a pass of the health loop failed; will retry');
        lastError = error;
      }
      const pauseMs = options.passEveryMs ?? pauseAfterPass(clock.monotonicMs() - startedMs, lastError === null);
      await pause(
        judge.trust() === null ? Math.min(FIRST_PASS_RETRY_MS, pauseMs) : coalesce(pauseMs),
        AbortSignal.any([signal, waiting.signal]),
      );
    }
  }

  async function pass(signal: AbortSignal): Promise<void> {
    const present = acting;
    const { trust, workloads } = await judge.judge(signal);
    if (trust.kind === 'suspect') return;
    if (present === null || !(await act(present, workloads))) options.lookAtAll();
    options.passed();
  }

  /** Returns false when another replica leads already. */
  async function act(present: Acting, workloads: readonly WorkloadObservation[]): Promise<boolean> {
    const { term, parts, work, orphans, told } = present;
    if (!present.isOpened) {
      // Not while the store is suspect: a commit of ours would make one that was restored look newer than it is.
      if ((await parts.store.commit({})).kind !== 'committed') return false;
      present.isOpened = true;
      present.opened();
    }
    const byUid = new Map<string, WorkloadObservation>(workloads.map((workload) => [workload.uid, workload]));
    const known = new Set<string>();
    const keys = new Set<string>();
    const running: RunningWorkload[] = [];
    const usage = await options.usageAudit.begin(parts.store);
    for await (const stored of listAll(store, 'pod')) {
      const record = stored.value;
      usage.add(stored);
      known.add(record.uid);
      keys.add(stored.key);
      const observation = byUid.get(record.uid) ?? { kind: 'absent' as const, data: false };
      if (observation.kind === 'workload' && observation.run === record.applied?.run) running.push(observation);
      // The list may be older than what a wake-up has seen since: it only fills what nobody has told yet.
      const last = told.get(stored.key);
      if (last === undefined) parts.observed(stored.key, record.uid, observation);
      const isNews = last !== undefined && last !== fingerprint(observation);
      const step = planPod(record, observation, clock.now());
      if (isNews || step.kind !== 'none') work.add(stored.key);
      else if (step.lookAgainMs !== null && step.lookAgainMs < LOOK_AHEAD_MS)
        work.addLater(stored.key, step.lookAgainMs);
    }
    for (const key of [...told.keys()]) if (!keys.has(key)) told.delete(key);
    if (term.isOver()) return true;
    present.rounds?.present(running);
    await usage.settle().catch((error: unknown) => {
      log.warn({ error: errorText(error) }, 'failed to record usage; the next pass counts again');
    });
    await orphans.pass(
      { kind: 'healthy' },
      workloads.filter((workload) => !known.has(workload.uid)),
      workloads.length,
      term.signal,
    );
    if (clock.monotonicMs() >= present.nextResealMs && !term.isOver()) {
      await options.reseal(parts.store, term);
      present.nextResealMs = clock.monotonicMs() + RESEAL_EVERY_MS;
    }
    return true;
  }

  const leading = (): Acting | null => (acting?.term.isOver() === false ? acting : null);

  return {
    run,
    heldBack: () => leading()?.orphans.heldBack() ?? null,
    confirmRemovals(code) {
      const isConfirmed = leading()?.orphans.confirm(code) ?? false;
      if (isConfirmed) passNow();
      return isConfirmed;
    },
  };
}

/**
 * So that passes take about a hundredth of the time, and what no event has told is noticed within two minutes. A failed
 * pass says nothing about how long one takes.
 */
export function pauseAfterPass(passMs: number, isDone: boolean): number {
  return isDone ? Math.min(Math.max(PASS_EVERY_MS, PAUSE_PER_PASS * passMs), PASS_EVERY_MOST_MS) : PASS_EVERY_MS;
}

function fingerprint(observation: Observation): string {
  if (observation.kind !== 'workload') return observation.kind;
  const { uid, generation, run, phase, addresses } = observation;
  return JSON.stringify([uid, generation, run, phase, addresses]);
}

async function keepReading(signal: AbortSignal, log: Logger, what: string, read: () => Promise<void>): Promise<void> {
  while (!signal.aborted) {
    await read().catch((error: unknown) => {
      if (!signal.aborted) log.warn({ error: errorText(error) }, `${what}; reading it again`);
    });
    await pause(STREAM_RETRY_MS, signal);
  }
}
