import { pause } from '../../core/abort.ts';
import { errorText } from '../../core/errors.ts';
import { podKey } from '../../core/ids.ts';
import { judgeStore, type StoreTrust } from '../../core/lifecycle/clean-up.ts';
import { planPod } from '../../core/lifecycle/plan.ts';
import type { Logger } from '../../core/logger.ts';
import type { Observation, Orchestrator, WorkloadObservation } from '../../core/orchestrator.ts';
import type { Store, StoreIdentity, Stored } from '../../core/store.ts';
import { KeyedWork } from './keyed-work.ts';
import { OrphanWatch } from './orphan-watch.ts';
import { reconcilePod, type ReconcileParts } from './reconcile.ts';

const PASS_EVERY_MS = 3_000;
const CONCURRENCY = 16;
const PAGE = 500;
/** Back-off of a stream (changes, watch) that broke. */
const STREAM_RETRY_MS = 500;

/** What was last seen of the store, kept outside it, so that an older or foreign one is noticed. */
export interface LastSeenStore {
  read(): StoreIdentity | null;
  save(identity: StoreIdentity): Promise<void>;
}

export interface HealthLoopOptions extends ReconcileParts {
  readonly orchestrator: Orchestrator;
  readonly lastSeen: LastSeenStore;
  /** For the log: how an operator has a suspect store believed. */
  readonly remedy: string;
  /** A full pass over a healthy store is done: what was observed is complete. */
  readonly passed: () => void;
  readonly passEveryMs?: number;
}

export interface HealthLoop {
  /** Takes pods towards their wishes until the signal aborts. */
  run(signal: AbortSignal): Promise<void>;
  /** Null before the first judgement: then, as when suspect, nothing is done to any pod. */
  trust(): StoreTrust | null;
}

/**
 * Level-based: any change of a record or a workload wakes its key, and a regular pass looks at all of them, so that a
 * lost event costs three seconds and nothing else. While the store is suspect it only looks.
 */
export function createHealthLoop(options: HealthLoopOptions): HealthLoop {
  const { store, orchestrator, clock, log, lastSeen } = options;
  let trust: StoreTrust | null = null;
  /** By key, what was last told of its workload: a pass looks freshly at whatever its list shows otherwise. */
  let told = new Map<string, string>();
  const observed: ReconcileParts['observed'] = (key, uid, observation) => {
    told.set(key, fingerprint(observation));
    options.observed(key, uid, observation);
  };
  const parts: ReconcileParts = { ...options, observed };

  async function run(signal: AbortSignal): Promise<void> {
    const work = new KeyedWork({
      work: async (key) => {
        if (trust?.kind !== 'healthy' || signal.aborted) return;
        const lookAgainMs = await reconcilePod(parts, key, signal);
        // What lies further ahead than the next pass is left to it.
        if (lookAgainMs !== null && lookAgainMs < PASS_EVERY_MS) work.addLater(key, lookAgainMs);
      },
      concurrency: CONCURRENCY,
      retryMs: 1_000,
      log,
    });
    const orphans = new OrphanWatch({ store, orchestrator, clock, log });
    const passes = everyTurn(signal, options.passEveryMs ?? PASS_EVERY_MS, log, async () => {
      await pass(work, orphans, signal);
    });
    const streams = [
      keepReading(signal, log, 'the change feed broke', async () => {
        const { commits } = await store.identity();
        for await (const change of store.changes(commits, signal)) {
          if (change.kind === 'put' && change.record.kind === 'pod') work.add(change.record.key);
        }
      }),
      keepReading(signal, log, 'the watch of the workloads broke', async () => {
        for await (const event of orchestrator.watch(signal)) work.add(podKey(event.tenant, event.podId));
      }),
    ];
    await Promise.all([passes, ...streams]);
    await work.close();
  }

  async function pass(work: KeyedWork, orphans: OrphanWatch, signal: AbortSignal): Promise<void> {
    // In this order: whatever runs now was made at a commit that the identity, read later, has reached.
    const workloads = await orchestrator.list(signal);
    const identity = await store.identity();
    const judged = judgeStore(identity, lastSeen.read(), workloads);
    if (judged.kind === 'suspect' && trust?.kind !== 'suspect') {
      const { reason } = judged;
      const { remedy } = options;
      log.error({ reason, remedy }, 'the store is suspect: no pod is touched until an operator has looked');
    }
    trust = judged;
    if (judged.kind === 'suspect') return;
    // A full disk, say: then less may be noticed of a store that is put in this one's place. The pods go on.
    await lastSeen.save(identity).catch((error: unknown) => {
      log.warn({ error: errorText(error) }, 'what was seen of the store could not be noted');
    });

    const byUid = new Map<string, WorkloadObservation>(workloads.map((workload) => [workload.uid, workload]));
    const known = new Set<string>();
    const stillTold = new Map<string, string>();
    for await (const stored of allPods(store)) {
      const record = stored.value;
      known.add(record.uid);
      const observation = byUid.get(record.uid) ?? { kind: 'absent' as const, data: false };
      // The list may be older than what a wake-up has seen since: it only fills what nobody has told yet.
      const last = told.get(stored.key);
      if (last === undefined) observed(stored.key, record.uid, observation);
      const isNews = last !== undefined && last !== fingerprint(observation);
      if (isNews || planPod(record, observation, clock.now()).kind !== 'none') work.add(stored.key);
      stillTold.set(stored.key, told.get(stored.key) ?? '');
    }
    told = stillTold;
    options.passed();
    await orphans.pass(
      judged,
      workloads.filter((workload) => !known.has(workload.uid)),
      workloads.length,
      signal,
    );
  }

  return { run, trust: () => trust };
}

function fingerprint(observation: Observation): string {
  if (observation.kind !== 'workload') return observation.kind;
  const { uid, generation, run, phase, addresses } = observation;
  return JSON.stringify([uid, generation, run, phase, addresses]);
}

async function* allPods(store: Store): AsyncIterable<Stored<'pod'>> {
  let after: string | undefined;
  for (;;) {
    const page = await store.list('pod', { limit: PAGE, ...(after === undefined ? {} : { after }) });
    yield* page;
    const last = page.at(-1);
    if (last === undefined || page.length < PAGE) return;
    after = last.key;
  }
}

/** Runs `turn` at once and then every `everyMs` until the signal aborts. A failed turn is logged, the next one comes. */
async function everyTurn(signal: AbortSignal, everyMs: number, log: Logger, turn: () => Promise<void>): Promise<void> {
  while (!signal.aborted) {
    await turn().catch((error: unknown) => {
      if (!signal.aborted)
        log.warn({ error: errorText(error) }, 'a pass of the health loop failed; the next one follows');
    });
    await pause(everyMs, signal);
  }
}

async function keepReading(signal: AbortSignal, log: Logger, what: string, read: () => Promise<void>): Promise<void> {
  while (!signal.aborted) {
    await read().catch((error: unknown) => {
      if (!signal.aborted) log.warn({ error: errorText(error) }, `${what}; reading it again`);
    });
    await pause(STREAM_RETRY_MS, signal);
  }
}
