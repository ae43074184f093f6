import { errorText } from '../../../core/errors.ts';
import type { Logger } from '../../../core/logger.ts';
import { WaitingLine } from '../../../core/waiting-line.ts';

/** Copies that run at a time. */
const JOBS_MAX = 2;

interface Job {
  readonly done: Promise<void>;
  readonly cancel: AbortController;
}

/** Copies of files that are under way. One for all of a control child, so that nothing is copied twice at a time. */
export class FileJobs {
  readonly #log: Logger;
  readonly #running = new Map<string, Job>();
  readonly #line = new WaitingLine(JOBS_MAX);

  constructor(log: Logger) {
    this.#log = log;
  }

  /** Resolves when it is over, also when another call has begun it. Never rejects. */
  run(name: string, work: (signal: AbortSignal) => Promise<void>): Promise<void> {
    const present = this.#running.get(name);
    if (present !== undefined) return present.done;
    const cancel = new AbortController();
    const done = this.#inTurn(cancel.signal, work)
      .catch((error: unknown) => {
        this.#log.warn({ job: name, error: errorText(error) }, 'a copy of files was interrupted; retrying');
      })
      .finally(() => this.#running.delete(name));
    this.#running.set(name, { done, cancel });
    return done;
  }

  /** Resolves once it has ended: at once if it waits for its turn, with nothing done. */
  async cancel(name: string): Promise<void> {
    const present = this.#running.get(name);
    present?.cancel.abort();
    await present?.done;
  }

  async #inTurn(signal: AbortSignal, work: (signal: AbortSignal) => Promise<void>): Promise<void> {
    // Cancelled before it was its turn.
    if (!(await this.#line.take(signal))) return;
    try {
      await work(signal);
    } finally {
      this.#line.leave();
    }
  }
}
