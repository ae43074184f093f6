import type { RefusalCode } from '../../../../core/errors.ts';
import type { Route } from '../../../../core/route.ts';
import type { Hold, Holds } from '../../../dial/holds.ts';
import { HELD_BODIES_BYTES, HeldBody, type HeldBytes } from './held-body.ts';

/** Requests that wait for one pod, and for all pods, in one worker. */
export const HELD_PER_POD_MAX = 100;
const HELD_MAX = 1_000;

/** The requests of one worker that wait for a pod that sleeps or starts. */
export class HeldRequests {
  readonly #holds: Holds;
  readonly #perPod = new Map<string, number>();
  readonly #bytes: HeldBytes = { left: HELD_BODIES_BYTES };
  #held = 0;

  constructor(holds: Holds) {
    this.#holds = holds;
  }

  /** Of one request. `address`: of its client. */
  of(address: string): Hold {
    return this.#holds.of(address);
  }

  body(): HeldBody {
    return new HeldBody(this.#bytes);
  }

  /** Asks for a wake without waiting. Null = done; otherwise why not. */
  wake(route: Route, address: string): RefusalCode | null {
    return this.#holds.wake(route, address);
  }

  /** Waits have ended since this gateway ends. */
  get isDrained(): boolean {
    return this.#holds.isDrained;
  }

  /** See Located. Rejects when the signal aborts. */
  async wait(hold: Hold, route: Route, signal: AbortSignal): Promise<RefusalCode | null> {
    const { uid } = route;
    const held = this.#perPod.get(uid) ?? 0;
    if (held >= HELD_PER_POD_MAX || this.#held >= HELD_MAX) {
      this.#holds.refusedFull();
      return 'route.full';
    }
    this.#held++;
    this.#perPod.set(uid, held + 1);
    try {
      return await hold.whenChanged(route, signal);
    } finally {
      this.#held--;
      const left = (this.#perPod.get(uid) ?? 1) - 1;
      if (left > 0) this.#perPod.set(uid, left);
      else this.#perPod.delete(uid);
    }
  }
}
