import { isAborted, pause } from '../../core/abort.ts';
import type { Clock } from '../../core/clock.ts';
import { errorText } from '../../core/errors.ts';
import { holdLease } from '../../core/hold-lease.ts';
import type { Leadership, Term } from '../../core/leadership.ts';
import { fenceOf, type Lease, type Lock } from '../../core/lock.ts';
import type { Logger } from '../../core/logger.ts';

/** A leader that was killed is followed after this long at most. */
const LEASE_MS = 10_000;
const RENEW_EVERY_MS = 3_000;
/** Of renewals that were not answered, and of those who wait for the lease. */
const RETRY_MS = 1_000;

export interface LeadershipOptions {
  readonly lock: Lock;
  readonly name: string;
  readonly clock: Clock;
  readonly log: Logger;
  readonly leaseMs?: number;
  readonly renewEveryMs?: number;
  readonly retryMs?: number;
}

/**
 * One of many replicas leads: the one that holds the lease. `lead` ends soon after its term's signal aborts. The time of a
 * lease counts from before it was requested, on this process's monotonic clock. A term that ends releases its lease, so that
 * the next leader need not wait.
 */
export function createLeadership(options: LeadershipOptions): Leadership {
  const { lock, name, clock, log } = options;
  const leaseMs = options.leaseMs ?? LEASE_MS;
  const renewEveryMs = options.renewEveryMs ?? RENEW_EVERY_MS;
  const retryMs = options.retryMs ?? RETRY_MS;
  let leading: Term | null = null;

  async function run(lead: (term: Term) => Promise<void>, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const askedAtMs = clock.monotonicMs();
      const lease = await lock.acquire(name, leaseMs).catch((error: unknown) => {
        if (!signal.aborted) log.debug({ lease: name, error: errorText(error) }, 'failed to request a lease');
        return null;
      });
      if (lease !== null) await serve(lease, askedAtMs, lead, signal);
      await pause(retryMs, signal);
    }
  }

  async function serve(
    lease: Lease,
    askedAtMs: number,
    lead: (term: Term) => Promise<void>,
    signal: AbortSignal,
  ): Promise<void> {
    const held = holdLease({
      renew: () => lock.renew(lease, leaseMs),
      ...{ leaseMs, askedAtMs, renewEveryMs, retryMs, clock },
      onUnanswered: (error) => log.warn({ lease: name, error: errorText(error) }, 'failed to renew a lease'),
      onEnd: (reason) => log.info({ lease: name, fence: lease.fence, reason }, 'no longer leading'),
    });
    const { end, isOver } = held;
    const term: Term = { fence: fenceOf(lease), signal: held.signal, isOver, end };
    const onEnding = (): void => end('this process ends');
    if (isAborted(signal)) onEnding();
    else signal.addEventListener('abort', onEnding, { once: true });
    leading = term;
    if (!isOver()) log.info({ lease: name, fence: lease.fence }, 'leading');
    try {
      if (!isOver()) await lead(term);
      end('the work has ended');
    } catch (error) {
      log.warn({ lease: name, error: errorText(error) }, 'the work of the leader failed');
      end('the work failed');
    } finally {
      signal.removeEventListener('abort', onEnding);
      await held.stop();
      leading = null;
    }
    // A lost one is left alone by it.
    await lock.release(lease).catch((error: unknown) => {
      log.debug({ lease: name, error: errorText(error) }, 'failed to release a lease: it expires by itself');
    });
  }

  return { run, isLeading: () => leading?.isOver() === false };
}
