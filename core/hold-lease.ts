import { pause } from './abort.ts';
import type { Clock } from './clock.ts';

/** The holder stops this long before its lease ends: its clock and the store's may run at different rates. */
const MARGIN_MS = 1_000;

export interface HoldLeaseOptions {
  /** Renews it by `leaseMs`. False: another may have it. Throws when the store does not respond. */
  readonly renew: () => Promise<boolean>;
  readonly leaseMs: number;
  /** When it was requested (`monotonicMs`): its time counts from then. */
  readonly askedAtMs: number;
  readonly renewEveryMs: number;
  /** After a renewal that got no response. */
  readonly retryMs: number;
  readonly clock: Pick<Clock, 'monotonicMs'>;
  readonly onUnanswered: (error: unknown) => void;
  /** Called once, if it ends before `stop`. */
  readonly onEnd?: (reason: string) => void;
}

/** A lease that is renewed while work goes on. */
export interface HeldLease {
  /** Aborts when it is over. */
  readonly signal: AbortSignal;
  /**
   * Check this before every action: a process that was paused wakes up in the middle of its work, before its timers abort
   * the signal.
   */
  readonly isOver: () => boolean;
  readonly end: (reason: string) => void;
  /** Stops renewing it. Resolves when no renewal is in flight; the caller releases the lease. */
  stop(): Promise<void>;
}

/** Keeps a lease, of a lock or of a claim, until it is lost, runs out or is ended. */
export function holdLease(options: HoldLeaseOptions): HeldLease {
  const { leaseMs, renewEveryMs, retryMs, clock } = options;
  const usableMs = leaseMs - Math.min(MARGIN_MS, leaseMs / 10);
  const over = new AbortController();
  let untilMs = options.askedAtMs + usableMs;

  const end = (reason: string): void => {
    if (over.signal.aborted) return;
    options.onEnd?.(reason);
    over.abort();
  };
  const isOver = (): boolean => {
    if (!over.signal.aborted && clock.monotonicMs() >= untilMs) end('the lease ran out');
    return over.signal.aborted;
  };

  async function keep(): Promise<void> {
    let waitMs = renewEveryMs;
    while (!isOver()) {
      await pause(Math.max(0, Math.min(waitMs, untilMs - clock.monotonicMs())), over.signal);
      if (isOver()) return;
      const askedAtMs = clock.monotonicMs();
      const answer = await renewBy(untilMs - askedAtMs);
      if (answer === 'lost') end('another has the lease');
      else if (answer === 'renewed' && !isOver()) untilMs = askedAtMs + usableMs;
      waitMs = answer === 'renewed' ? renewEveryMs : Math.min(retryMs, renewEveryMs);
    }
  }

  /** A response that arrives after the lease has ended does not count. */
  async function renewBy(leftMs: number): Promise<'renewed' | 'lost' | 'no answer'> {
    const renewal = options.renew().then(
      (isHeld) => (isHeld ? ('renewed' as const) : ('lost' as const)),
      (error: unknown) => {
        options.onUnanswered(error);
        return 'no answer' as const;
      },
    );
    const answered = new AbortController();
    const late = pause(leftMs, AbortSignal.any([over.signal, answered.signal])).then(() => 'no answer' as const);
    try {
      return await Promise.race([renewal, late]);
    } finally {
      answered.abort();
    }
  }

  const keeping = keep();
  return {
    signal: over.signal,
    isOver,
    end,
    async stop() {
      over.abort();
      await keeping;
    },
  };
}
