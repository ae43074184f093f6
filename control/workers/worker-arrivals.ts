import type { WorkerName } from '../../core/worker-name.ts';

/** Workers try to connect again after at most a second. */
const ARRIVED_MS = 5_000;

/**
 * After a start of the control process its workers connect again one after the other. Until all of them have, or could
 * have, "every worker" is more than those who are connected. Gateways elsewhere are not counted: nobody knows how many
 * there are.
 */
export class WorkerArrivals {
  /** Resolves once nobody is waited for any more. */
  readonly over: Promise<undefined>;
  readonly #arrived = new Set<number>();
  readonly #expected: number;
  readonly #end: () => void;
  #areAwaited = true;

  /** `expected`: how many workers this replica has. */
  constructor(expected: number, withinMs = ARRIVED_MS) {
    const { promise, resolve } = Promise.withResolvers<undefined>();
    this.over = promise;
    this.#expected = expected;
    const timer = setTimeout(() => this.#end(), withinMs);
    timer.unref();
    this.#end = () => {
      clearTimeout(timer);
      this.#areAwaited = false;
      resolve(undefined);
    };
    if (expected === 0) this.#end();
  }

  get areAwaited(): boolean {
    return this.#areAwaited;
  }

  arrived({ worker, gateway }: WorkerName): void {
    if (gateway === undefined) this.#arrived.add(worker);
    if (this.#arrived.size >= this.#expected) this.#end();
  }
}
