import { isAborted, pause } from '../../core/abort.ts';
import type { Clock } from '../../core/clock.ts';
import { errorText } from '../../core/errors.ts';
import type { Leadership, Term } from '../../core/leadership.ts';
import type { Lease, Lock } from '../../core/lock.ts';
import type { Logger } from '../../core/logger.ts';

/** A leader that was killed is followed after this long at most. */
const LEASE_MS = 10_000;
const RENEW_EVERY_MS = 3_000;
/** Of renewals that were not answered, and of those who wait for the lease. */
const RETRY_MS = 1_000;
/** So much before the lease ends the leader stops: its clock and the store's need not run alike. */
const MARGIN_MS = 1_000;

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
 * One of many leads: whoever holds the lease. `lead` ends soon after its term's signal aborts. The time of a lease is
 * counted from before it was asked for, on the clock of this process that never jumps. A term that ends gives its
 * lease back, so that the next leader need not wait.
 */
export function createLeadership(options: LeadershipOptions): Leadership {
  const { lock, name, clock, log } = options;
  const leaseMs = options.leaseMs ?? LEASE_MS;
  const renewEveryMs = options.renewEveryMs ?? RENEW_EVERY_MS;
  const retryMs = options.retryMs ?? RETRY_MS;
  const usableMs = leaseMs - Math.min(MARGIN_MS, leaseMs / 10);
  let leading: Term | null = null;

  async function run(lead: (term: Term) => Promise<void>, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const askedAtMs = clock.monotonicMs();
      const lease = await lock.acquire(name, leaseMs).catch((error: unknown) => {
        if (!signal.aborted) log.debug({ lease: name, error: errorText(error) }, 'a lease could not be asked for');
        return null;
      });
      if (lease !== null) await serve(lease, askedAtMs + usableMs, lead, signal);
      await pause(retryMs, signal);
    }
  }

  async function serve(
    lease: Lease,
    untilMs: number,
    lead: (term: Term) => Promise<void>,
    signal: AbortSignal,
  ): Promise<void> {
    const over = new AbortController();
    let lastMs = untilMs;
    const end = (reason: string): void => {
      if (over.signal.aborted) return;
      log.info({ lease: name, fence: lease.fence, reason }, 'no longer leading');
      over.abort();
    };
    const term: Term = {
      fence: lease.fence,
      signal: over.signal,
      isOver() {
        if (!over.signal.aborted && clock.monotonicMs() >= lastMs) end('the lease ran out');
        return over.signal.aborted;
      },
      end,
    };
    const onEnding = (): void => end('this process ends');
    if (isAborted(signal)) onEnding();
    else signal.addEventListener('abort', onEnding, { once: true });
    leading = term;
    if (!term.isOver()) log.info({ lease: name, fence: lease.fence }, 'leading');

    const keeping = keep(lease, term, {
      until: () => lastMs,
      renewed: (newUntilMs) => void (lastMs = newUntilMs),
    });
    try {
      if (!term.isOver()) await lead(term);
      end('the work has ended');
    } catch (error) {
      log.warn({ lease: name, error: errorText(error) }, 'leading failed');
      end('the work failed');
    } finally {
      signal.removeEventListener('abort', onEnding);
      await keeping;
      leading = null;
    }
    // A lost one is left alone by it.
    await lock.release(lease).catch((error: unknown) => {
      log.debug({ lease: name, error: errorText(error) }, 'a lease could not be given back: it ends by itself');
    });
  }

  async function keep(
    lease: Lease,
    term: Term,
    lasting: { until: () => number; renewed: (untilMs: number) => void },
  ): Promise<void> {
    let waitMs = renewEveryMs;
    while (!term.isOver()) {
      await pause(Math.max(0, Math.min(waitMs, lasting.until() - clock.monotonicMs())), term.signal);
      if (term.isOver()) return;
      const askedAtMs = clock.monotonicMs();
      const answer = await renewBy(lease, lasting.until() - askedAtMs, term.signal);
      if (answer === 'lost') term.end('another has the lease');
      else if (answer === 'renewed' && !term.isOver()) lasting.renewed(askedAtMs + usableMs);
      waitMs = answer === 'renewed' ? renewEveryMs : Math.min(retryMs, renewEveryMs);
    }
  }

  /** An answer that does not come while the lease lasts is none. */
  async function renewBy(lease: Lease, leftMs: number, signal: AbortSignal): Promise<'renewed' | 'lost' | 'no answer'> {
    const renewal = lock.renew(lease, leaseMs).then(
      (isHeld) => (isHeld ? ('renewed' as const) : ('lost' as const)),
      (error: unknown) => {
        log.warn({ lease: name, error: errorText(error) }, 'a lease could not be renewed');
        return 'no answer' as const;
      },
    );
    const answered = new AbortController();
    const late = pause(leftMs, AbortSignal.any([signal, answered.signal])).then(() => 'no answer' as const);
    try {
      return await Promise.race([renewal, late]);
    } finally {
      answered.abort();
    }
  }

  return { run, isLeading: () => leading?.isOver() === false };
}
