import { errorText } from '../core/errors.ts';
import { type GuardedInterval, setGuardedInterval } from '../core/guarded-timer.ts';
import type { Logger } from '../core/logger.ts';
import type { DescriptorPlan } from './descriptor-plan.ts';

const CHECK_EVERY_MS = 100;
/** While few descriptors are in use. */
const CALM_CHECK_EVERY_MS = 500;
/** Few: below this part of those at which it stops accepting. */
const CALM_PART = 1 / 4;

export interface AcceptPauseOptions {
  readonly plan: Pick<DescriptorPlan, 'pauseAt' | 'resumeAt'>;
  /** The lowest number of a descriptor that is free; Infinity when none is. */
  readonly lowestFree: () => number;
  /** Descriptors of this process that are open. */
  readonly count: () => Promise<number>;
  readonly pause: () => void;
  readonly resume: () => void;
  readonly log: Logger;
}

/** Stops accepting before file descriptors run out, and resumes once enough of them are free again. */
export interface AcceptPause {
  /**
   * A client was accepted with this descriptor. The kernel gives the lowest free number (open(2)), so at least as many
   * are open: an exact alarm that costs no call. Backends and calls to the API raise it at the next check.
   */
  taken(descriptor: number): void;
  readonly isPaused: boolean;
  close(): void;
}

export function createAcceptPause(options: AcceptPauseOptions): AcceptPause {
  const { plan, lowestFree, count, pause, resume, log } = options;
  let isPaused = false;
  let isCounting = false;
  let checkMs = 0;
  let checking: GuardedInterval | undefined;

  function taken(descriptor: number): void {
    if (descriptor >= plan.pauseAt * CALM_PART) checkEvery(CHECK_EVERY_MS);
    if (isPaused || descriptor < plan.pauseAt) return;
    isPaused = true;
    log.warn(
      { pauseAt: plan.pauseAt, resumeAt: plan.resumeAt },
      'running out of file descriptors: not accepting until some are free; raise the limit (ulimit -n)',
    );
    pause();
  }

  async function resumeWhenFree(): Promise<void> {
    if (isCounting) return;
    isCounting = true;
    try {
      const open = await count();
      if (open > plan.resumeAt) return;
      isPaused = false;
      log.info({ open }, 'file descriptors are available again: accepting');
      resume();
    } catch (error) {
      log.debug({ error: errorText(error) }, 'failed to count file descriptors');
    } finally {
      isCounting = false;
    }
  }

  function check(): void {
    // With holes among the numbers the lowest free one says little: only a count tells that there is room again.
    if (isPaused) {
      void resumeWhenFree();
      return;
    }
    const free = lowestFree();
    if (free < plan.pauseAt * CALM_PART) checkEvery(CALM_CHECK_EVERY_MS);
    taken(free);
  }

  function checkEvery(everyMs: number): void {
    if (checkMs === everyMs) return;
    checkMs = everyMs;
    checking?.stop();
    checking = setGuardedInterval({ everyMs, work: check, name: 'file descriptors', log });
  }

  checkEvery(CHECK_EVERY_MS);
  return {
    taken,
    get isPaused() {
      return isPaused;
    },
    close: () => checking?.stop(),
  };
}
