import { isAborted, pause } from '../core/abort.ts';
import { backoffMs } from '../core/backoff.ts';
import { errorText } from '../core/errors.ts';
import { holdLease } from '../core/hold-lease.ts';
import type { Logger } from '../core/logger.ts';
import { type Claim, parseQueueKey, type Queue, queueKey } from '../core/queue.ts';
import { isPoisoned } from './poison.ts';
import { noteParked, type SpawnOutcome, type SpawnParts, spawnPod } from './spawn-pod.ts';

/** Long enough for a slow store, short enough that the keys of a spawner that died are soon taken up again. */
const LEASE_MS = 15_000;
const EXTEND_EVERY_MS = 5_000;
const EXTEND_RETRY_MS = 1_000;
/** While an older workload goes down, look again this soon, then ever later. */
const WAIT_BACKOFF = { firstMs: 100, maxMs: 2_000 };
/** After an error of store or orchestrator. */
const ERROR_BACKOFF = { firstMs: 250, maxMs: 30_000 };
/** While it may not work, how often it looks whether it may. */
const MAY_WORK_EVERY_MS = 20;
/** A key that is put aside is looked at again after this long, unless its pod changes or an operator says so. */
const PARK_MS = 10 * 60_000;
/** A key that was claimed while it might not work. */
const NOT_YET_MS = 1_000;

export interface SpawnerOptions extends SpawnParts {
  readonly queue: Queue;
  readonly log: Logger;
  /** False while the store is not to be believed: what it says may be long past, so nothing is made from it. */
  readonly mayWork: () => boolean;
  /** Of the present period in which it may work: aborts when that ends, and what was read in it is void. */
  readonly trusted: () => AbortSignal;
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
  /** Of keys whose last turns ended in an error. `since`: how many workloads had been made before the first of them. */
  const failing = new Map<string, { count: number; readonly since: number }>();
  let made = 0;
  const parts: SpawnParts = {
    ...options,
    orchestrator: {
      ensure: async (workload, signal) => {
        // The store may have been found suspect by the last read, of which nothing is made then.
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
        // It may have waited for hours, and the store been replaced meanwhile.
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
      // One key for each pod, or two turns would work on it at once.
      await queue.add(queueKey('pod', key));
      await queue.acknowledge(claim);
    } else if (kind === 'pod') await workOn(claim, key, signal);
    else {
      // Of a newer release, whose spawner in another replica knows what to do.
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
      // Its lease ends by itself: nothing is written to a store that is not believed.
      if (trusted.aborted) return;
      if (isAborted(signal)) {
        // The next spawner takes it up at once.
        await queue.retry(claim, 0);
        return;
      }
      await putOff(claim, key, error);
      return;
    } finally {
      // A renewal on its way is left behind: its claim is settled next.
      void held.stop();
    }
    failing.delete(key);
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
        await queue.retry(claim, backoffMs(count(key), WAIT_BACKOFF));
    }
  }

  /** Tries again later, or parks a key that fails again and again. */
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
    // It is put aside: what is known of it begins anew with its next turn.
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
