import { errorText } from '../../../core/errors.ts';
import type { Logger } from '../../../core/logger.ts';

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
  readonly #waiting: (() => void)[] = [];
  #active = 0;

  constructor(log: Logger) {
    this.#log = log;
  }

  /** Resolves when it is over, also when another call has begun it. Never rejects. */
  run(name: string, work: (signal: AbortSignal) => Promise<void>): Promise<void> {
    const present = this.#running.get(name);
    if (present !== undefined) return present.done;
    const cancel = new AbortController();
    const done = this.#inTurn(() => work(cancel.signal))
      .catch((error: unknown) => {
        this.#log.warn({ job: name, error: errorText(error) }, 'a copy of files was interrupted; retrying');
      })
      .finally(() => this.#running.delete(name));
    this.#running.set(name, { done, cancel });
    return done;
  }

  /** Resolves once it has ended. */
  async cancel(name: string): Promise<void> {
    const present = this.#running.get(name);
    present?.cancel.abort();
    await present?.done;
  }

  async #inTurn(work: () => Promise<void>): Promise<void> {
    if (this.#active >= JOBS_MAX) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    this.#active += 1;
    try {
      await work();
    } finally {
      this.#active -= 1;
      this.#waiting.shift()?.();
    }
  }
}
