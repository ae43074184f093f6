import { isAborted, pause } from '../core/abort.ts';
import { errorText } from '../core/errors.ts';
import type { Logger } from '../core/logger.ts';
import type { Claim, Queue } from '../core/queue.ts';
import { type SpawnOutcome, type SpawnParts, spawnPod } from './spawn-pod.ts';

/** Long enough for a slow store, short enough that the keys of a spawner that died are soon taken up again. */
const LEASE_MS = 15_000;
const EXTEND_EVERY_MS = 5_000;
/** While an older workload goes down, look again this soon, then ever later. */
const WAIT_FIRST_MS = 100;
const WAIT_MAX_MS = 2_000;
/** After an error of store or orchestrator. */
const ERROR_FIRST_MS = 250;
const ERROR_MAX_MS = 30_000;
/** While it may not work, how often it looks whether it may. */
const MAY_WORK_EVERY_MS = 20;
/** A key that was claimed while it might not work. */
const NOT_YET_MS = 1_000;

export interface SpawnerOptions extends SpawnParts {
  readonly queue: Queue;
  readonly log: Logger;
  /** False while the store is not to be believed: what it says may be long past, so nothing is made from it. */
  readonly mayWork: () => boolean;
  /** Pods worked on at once. */
  readonly concurrency: number;
}

export interface Spawner {
  /** Works off the queue until the signal aborts. */
  run(signal: AbortSignal): Promise<void>;
}

/** Takes keys from the queue and makes their pods' workloads. A key that fails again and again delays no other. */
export function createSpawner(options: SpawnerOptions): Spawner {
  const { queue, log } = options;
  /** Turns in a row that came to nothing, by key. An entry goes with the first that succeeds. */
  const fruitless = new Map<string, number>();

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
        // It may have waited for hours, and the store been replaced meanwhile.
        if (options.mayWork()) await workOn(claim, signal);
        else await queue.retry(claim, NOT_YET_MS);
      } catch (error) {
        if (isAborted(signal)) return;
        failures += 1;
        log.warn({ error: errorText(error) }, 'the queue does not answer; the spawner tries again');
        await pause(growingMs(failures, ERROR_FIRST_MS, ERROR_MAX_MS), signal);
      }
    }
  }

  async function workOn(claim: Claim, signal: AbortSignal): Promise<void> {
    const { key } = claim;
    const lost = new AbortController();
    const stopExtending = keepLease(claim, lost);
    let outcome: SpawnOutcome;
    try {
      outcome = await spawnPod(options, key, AbortSignal.any([signal, lost.signal]));
    } catch (error) {
      if (isAborted(signal)) {
        // The next spawner takes it up at once.
        await queue.retry(claim, 0);
        return;
      }
      log.warn({ key, error: errorText(error) }, 'a pod could not be spawned; it is tried again');
      await queue.retry(claim, growingMs(count(key), ERROR_FIRST_MS, ERROR_MAX_MS));
      return;
    } finally {
      stopExtending();
    }
    // Settled only now, after the work.
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
        await queue.retry(claim, growingMs(count(key), WAIT_FIRST_MS, WAIT_MAX_MS));
    }
  }

  function count(key: string): number {
    const turns = (fruitless.get(key) ?? 0) + 1;
    fruitless.set(key, turns);
    return turns;
  }

  /** Extends the lease while the work goes on; aborts `lost` when somebody else may have it. Answers how to stop. */
  function keepLease(claim: Claim, lost: AbortController): () => void {
    const timer = setInterval(() => {
      queue.extend(claim, LEASE_MS).then(
        (isHeld) => {
          if (!isHeld) lost.abort();
        },
        (error: unknown) => log.warn({ key: claim.key, error: errorText(error) }, 'a lease could not be extended'),
      );
    }, EXTEND_EVERY_MS);
    return () => clearInterval(timer);
  }

  return {
    run: async (signal) => {
      await Promise.all(Array.from({ length: options.concurrency }, () => claimer(signal)));
    },
  };
}

/** Doubles with every turn, up to the most. */
function growingMs(turns: number, firstMs: number, mostMs: number): number {
  return Math.min(mostMs, firstMs * 2 ** Math.min(turns - 1, 16));
}
