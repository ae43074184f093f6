import { coalesce } from './coalesce.ts';
import { errorText } from './errors.ts';
import type { Logger } from './logger.ts';

/** A timer that fails at every turn is logged this often. */
const COMPLAIN_EVERY_MS = 60_000;

export interface GuardedInterval {
  /** The process may end without it. */
  unref(): this;
  /** Does the work now as well, unless it is stopped. */
  now(): void;
  stop(): void;
}

/**
 * An interval whose work cannot end the process: what it throws is logged, at most once a minute, and the next turn
 * comes. An exception that leaves a timer would otherwise take every session of the process with it; running out of
 * file descriptors, for one, makes the most harmless call throw. Turns of different intervals come together (`coalesce`).
 */
export function setGuardedInterval(options: {
  readonly everyMs: number;
  readonly work: () => void;
  /** What the work is for, as the log names it: `the access log`. */
  readonly name: string;
  readonly log: Pick<Logger, 'error'>;
}): GuardedInterval {
  const { everyMs, work, name, log } = options;
  let complainedMs = -Infinity;
  let isReferenced = true;
  let isStopped = false;

  const guarded = (): void => {
    try {
      work();
    } catch (error) {
      const nowMs = performance.now();
      if (nowMs - complainedMs >= COMPLAIN_EVERY_MS) {
        complainedMs = nowMs;
        log.error(
          { timer: name, error: errorText(error) },
          'a timer callback failed; it runs again at its next interval',
        );
      }
    }
  };
  const turn = (): void => {
    guarded();
    if (!isStopped) timer = next();
  };
  const next = (): NodeJS.Timeout => {
    const timeout = setTimeout(turn, coalesce(everyMs));
    return isReferenced ? timeout : timeout.unref();
  };
  let timer = next();

  return {
    unref() {
      isReferenced = false;
      timer.unref();
      return this;
    },
    now() {
      if (!isStopped) guarded();
    },
    stop() {
      isStopped = true;
      clearTimeout(timer);
    },
  };
}
