import { isAborted, pause } from '../core/abort.ts';
import { backoffMs } from '../core/backoff.ts';
import { errorText } from '../core/errors.ts';
import { holdLease } from '../core/hold-lease.ts';
import type { Logger } from '../core/logger.ts';
import { type Claim, parseQueueKey, type Queue, queueKey } from '../core/queue.ts';
import { isPoisoned } from './poison.ts';
import { noteParked, type SpawnOutcome, type SpawnParts, spawnPod } from './spawn-pod.ts';

/** Long enough for a slow store, short enough that the keys of a dead spawner are soon claimed again. */
const LEASE_MS = 15_000;
const EXTEND_EVERY_MS = 5_000;
const EXTEND_RETRY_MS = 1_000;
/** First retry while an older workload shuts down; later ones back off. */
const WAIT_BACKOFF = { firstMs: 100, maxMs: 2_000 };
/** After an error of the store or the orchestrator. */
const ERROR_BACKOFF = { firstMs: 250, maxMs: 30_000 };
/** How often to check whether work may resume. */
const MAY_WORK_EVERY_MS = 20;
/** A parked key is retried after this time, or earlier if its pod changes or an operator requests it. */
const PARK_MS = 10 * 60_000;
/** Delay for a key that was claimed while work was not allowed. */
const NOT_YET_MS = 1_000;

export interface SpawnerOptions extends SpawnParts {
  readonly queue: Queue;
  readonly log: Logger;
  /** False while the store is suspect: its contents may be outdated, so no workload is created from them. */
  readonly mayWork: () => boolean;
  /** Aborts when the current period of allowed work ends; everything read in that period is then invalid. */
  readonly trusted: () => AbortSignal;
  /** Number of pods handled concurrently. */
  readonly concurrency: number;
}

export interface Spawner {
  /** Processes the queue until the signal aborts. */
  run(signal: AbortSignal): Promise<void>;
}

/** Claims keys from the queue and creates the workloads of their pods. A key that keeps failing does not delay others. */
export function createSpawner(options: SpawnerOptions): Spawner {
  const { queue, log } = options;
  /** Consecutive attempts without success, by key. Success removes the entry. */
  const fruitless = new Map<string, number>();
  /** Keys whose latest attempts failed. `since`: number of workloads created before the first failure. */
  const failing = new Map<string, { count: number; readonly since: number }>();
  let made = 0;
  const parts: SpawnParts = {
    ...options,
    orchestrator: {
      ensure: async (workload, signal) => {
        // The latest read may have found the store suspect; nothing is created from it then.
        signal.throwIfAborted();
        const result = await options.orchestrator.ensure(workload, signal);
        made += 1;
        return result;
      },
    },
  };

  async function claimer(signal: AbortSignal): Promise<void> {
    let failures = 0;
    while (!signal.aborted) {
      if (!options.mayWork()) {
        await pause(MAY_WORK_EVERY_MS, signal);
        continue;
      }
      try {
        const claim = await queue.claim(LEASE_MS, signal);
        failures = 0;
        if (claim === null) return;
        // It may have waited for hours, and the store may have been replaced in the meantime.
        if (options.mayWork()) await workOnRecord(claim, signal);
        else await queue.retry(claim, NOT_YET_MS);
      } catch (error) {
        if (isAborted(signal)) return;
        failures += 1;
        log.warn({ error: errorText(error) }, 'the queue does not respond; the spawner retries');
        await pause(backoffMs(failures, ERROR_BACKOFF), signal);
      }
    }
  }

  async function workOnRecord(claim: Claim, signal: AbortSignal): Promise<void> {
    const { kind, key, isWithoutKind } = parseQueueKey(claim.key);
    if (isWithoutKind) {
      // One key per pod; otherwise two attempts would run at the same time.
      await queue.add(queueKey('pod', key));
      await queue.acknowledge(claim);
    } else if (kind === 'pod') await workOn(claim, key, signal);
    else {
      // A kind of a newer release; the spawner of a replica that runs it handles the key.
      log.debug({ key: claim.key }, 'no spawner here for this kind of record');
      await queue.retry(claim, NOT_YET_MS);
    }
  }

  async function workOn(claim: Claim, key: string, signal: AbortSignal): Promise<void> {
    const trusted = options.trusted();
    const held = holdLease({
      renew: () => queue.extend(claim, LEASE_MS),
      ...{ leaseMs: LEASE_MS, renewEveryMs: EXTEND_EVERY_MS, retryMs: EXTEND_RETRY_MS },
      ...{ askedAtMs: options.clock.monotonicMs(), clock: options.clock },
      onUnanswered: (error) => log.warn({ key, error: errorText(error) }, 'failed to extend a lease'),
    });
    let outcome: SpawnOutcome;
    try {
      outcome = await spawnPod(parts, key, AbortSignal.any([signal, held.signal, trusted]));
    } catch (error) {
      // The claim expires by itself: nothing is written to a suspect store.
      if (trusted.aborted) return;
      if (isAborted(signal)) {
        // The next spawner claims it at once.
        await queue.retry(claim, 0);
        return;
      }
      await putOff(claim, key, error);
      return;
    } finally {
      // Ignores a renewal in progress, because the claim is settled next.
      void held.stop();
    }
    failing.delete(key);
    // Settled only after the work is done.
    switch (outcome.kind) {
      case 'done':
        fruitless.delete(key);
        await queue.acknowledge(claim);
        return;
      case 'later':
        fruitless.delete(key);
        await queue.retry(claim, outcome.delayMs);
        return;
      case 'wait':
        log.debug({ key, reason: outcome.reason }, 'waiting before a pod is spawned');
        await queue.retry(claim, backoffMs(count(key), WAIT_BACKOFF));
    }
  }

  /** Retries later, or parks a key that keeps failing. */
  async function putOff(claim: Claim, key: string, error: unknown): Promise<void> {
    const failures = failing.get(key) ?? { count: 0, since: made };
    failures.count += 1;
    failing.set(key, failures);
    if (!isPoisoned({ count: failures.count, madeMeanwhile: made - failures.since }, error)) {
      log.warn({ key, error: errorText(error) }, 'failed to spawn a pod; will retry');
      await queue.retry(claim, backoffMs(failures.count, ERROR_BACKOFF));
      return;
    }
    log.error({ key, error: errorText(error) }, 'a pod fails repeatedly: its key is parked');
    if (!(await queue.park(claim, errorText(error), PARK_MS))) return;
    // The key is parked: its history starts over with the next attempt.
    failing.delete(key);
    await noteParked(options, key, error).catch((failure: unknown) => {
      log.warn({ key, error: errorText(failure) }, 'failed to record the spawn error on the pod');
    });
  }

  function count(key: string): number {
    const turns = (fruitless.get(key) ?? 0) + 1;
    fruitless.set(key, turns);
    return turns;
  }

  return {
    run: async (signal) => {
      await Promise.all(Array.from({ length: options.concurrency }, () => claimer(signal)));
    },
  };
}
