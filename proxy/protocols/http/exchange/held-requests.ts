import type { RefusalCode } from '../../../../core/errors.ts';
import type { Route } from '../../../../core/route.ts';
import type { Hold, Holds } from '../../../dial/holds.ts';
import { WaitingPlaces } from '../../../limits/waiting-places.ts';
import { HELD_BODIES_BYTES, HeldBody, type HeldBytes } from './held-body.ts';

/** Requests that wait for one pod, and for all pods, in one worker. */
export const HELD_PER_POD_MAX = 100;
const HELD_MAX = 1_000;

/** The requests of one worker that wait for a pod that sleeps or starts. */
export class HeldRequests {
  readonly #holds: Holds;
  readonly #places: WaitingPlaces;
  readonly #bytes: HeldBytes = { left: HELD_BODIES_BYTES };

  constructor(holds: Holds) {
    const { addressShare } = holds;
    this.#holds = holds;
    this.#places = new WaitingPlaces({ perPod: HELD_PER_POD_MAX, inTotal: HELD_MAX, addressShare });
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
    const limit = this.#places.take(uid, hold.address);
    if (limit !== null) return this.#holds.refusedBy(limit);
    try {
      return await hold.whenChanged(route, signal);
    } finally {
      this.#places.release(uid, hold.address);
    }
  }
}
