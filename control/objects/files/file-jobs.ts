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
    if (!(await this.#takePlace(signal))) return;
    try {
      await work(signal);
    } finally {
      this.#leavePlace();
    }
  }

  /** False: it was cancelled before it was its turn. */
  #takePlace(signal: AbortSignal): Promise<boolean> {
    if (this.#active < JOBS_MAX) {
      this.#active += 1;
      return Promise.resolve(true);
    }
    return new Promise((resolve) => {
      const begin = (): void => {
        signal.removeEventListener('abort', leave);
        resolve(true);
      };
      const leave = (): void => {
        this.#waiting.splice(this.#waiting.indexOf(begin), 1);
        resolve(false);
      };
      this.#waiting.push(begin);
      signal.addEventListener('abort', leave, { once: true });
    });
  }

  /** A place that somebody waits for is handed over: whoever comes in between cannot take it as well. */
  #leavePlace(): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#active -= 1;
    else next();
  }
}
