import { setImmediate as nextLoop } from 'node:timers/promises';

import { isAborted } from '../../../core/abort.ts';
import { errorText } from '../../../core/errors.ts';
import type { Logger } from '../../../core/logger.ts';
import type { Store } from '../../../core/store.ts';
import type { EventQueue } from './event-queue.ts';
import type { EventSelection } from './event-selection.ts';
import { type FeedPlace, isAfter, parsePlace } from './feed-place.ts';
import { type PlacedChange, placedChanges } from './placed-changes.ts';

/** Changes after which others get their turn. */
const STRETCH = 50;
/** Who has missed more reads everything again: that is less work. */
const MOST_COMMITS = 10_000;

export interface ReplayOptions {
  readonly store: Pick<Store, 'changes' | 'identity'>;
  readonly selection: EventSelection;
  readonly queue: EventQueue;
  /** Up to where the hub has read. */
  readonly hubPlace: () => FeedPlace;
  readonly log: Logger;
}

/**
 * Where one stream is in the history. What it missed it reads itself, until it has come as far as the hub; from then on
 * the hub brings what happens.
 */
export class Replay {
  readonly #options: ReplayOptions;
  #place: FeedPlace;
  /** Own reading goes on: what the hub brings comes that way, too. */
  #isBehind = true;

  constructor(options: ReplayOptions) {
    this.#options = options;
    this.#place = options.hubPlace();
  }

  /** Everything up to here has been considered. */
  get place(): FeedPlace {
    return this.#place;
  }

  /** Returns the place at which the stream begins. */
  begin(lastEventId: string | undefined, signal: AbortSignal): FeedPlace {
    const { hubPlace, selection } = this.#options;
    const now = hubPlace();
    if (lastEventId === undefined) {
      this.#isBehind = false;
      return (this.#place = now);
    }
    const from = parsePlace(lastEventId, now.storeId);
    const isKnown = from !== null && from.commit <= now.commit && now.commit - from.commit <= MOST_COMMITS;
    if (!isKnown) {
      this.#isBehind = false;
      selection.reset({ place: now });
      return (this.#place = now);
    }
    this.#place = from;
    void this.#read(signal);
    return from;
  }

  /** Listens to the hub. */
  live(placed: PlacedChange): void {
    if (!this.#isBehind) this.#consider(placed);
  }

  #consider(placed: PlacedChange): void {
    const { place, change } = placed;
    if (change.kind !== 'gap' && !isAfter(place, this.#place)) return;
    this.#place = place;
    this.#options.selection.select(placed);
  }

  async #read(signal: AbortSignal): Promise<void> {
    const { store, queue, hubPlace, log } = this.#options;
    const reading = new AbortController();
    let count = 0;
    try {
      for await (const placed of placedChanges(store, this.#place, AbortSignal.any([signal, reading.signal]))) {
        this.#consider(placed);
        if (!isAfter(hubPlace(), this.#place)) {
          this.#isBehind = false;
          return;
        }
        await queue.room();
        count += 1;
        if (count % STRETCH === 0) await nextLoop();
      }
    } catch (error) {
      if (isAborted(signal)) return;
      log.debug({ error: errorText(error) }, 'failed to continue an event stream; its client reconnects');
      queue.end();
    } finally {
      reading.abort();
    }
  }
}
