import { isAborted, pause } from '../../../core/abort.ts';
import { errorText } from '../../../core/errors.ts';
import type { Logger } from '../../../core/logger.ts';
import type { Store } from '../../../core/store.ts';
import type { FeedPlace } from './feed-place.ts';
import { type PlacedChange, placedChanges } from './placed-changes.ts';

const RETRY_MS = 500;

export type ChangeListener = (change: PlacedChange) => void;

/** What the hub has read so far, while somebody listens. */
interface Reading {
  readonly stop: AbortController;
  place: FeedPlace;
}

/**
 * Reads the change feed once for all streams of this replica, while there are any: each commit is fetched and decoded once,
 * however many are listening.
 */
export class ChangeHub {
  readonly #store: Pick<Store, 'changes' | 'identity'>;
  readonly #log: Logger;
  readonly #listeners = new Set<ChangeListener>();
  #reading: Promise<Reading> | null = null;

  constructor({ store, log }: { readonly store: Pick<Store, 'changes' | 'identity'>; readonly log: Logger }) {
    this.#store = store;
    this.#log = log;
  }

  /**
   * Calls the listener, which must not throw, with every change from now on until `close`. `place` is what has been read,
   * whether or not it was of interest. Throws 'store.unavailable'.
   */
  async subscribe(listener: ChangeListener): Promise<{ readonly place: () => FeedPlace; readonly close: () => void }> {
    this.#listeners.add(listener);
    const close = (): void => this.#unsubscribe(listener);
    try {
      this.#reading ??= this.#start();
      const reading = await this.#reading;
      return { place: () => reading.place, close };
    } catch (error) {
      close();
      throw error;
    }
  }

  async #start(): Promise<Reading> {
    try {
      const { storeId, commits } = await this.#store.identity();
      const reading: Reading = {
        stop: new AbortController(),
        place: { storeId, commit: commits, position: null },
      };
      void this.#read(reading);
      return reading;
    } catch (error) {
      this.#reading = null;
      throw error;
    }
  }

  async #read(reading: Reading): Promise<void> {
    const { signal } = reading.stop;
    while (!isAborted(signal)) {
      try {
        for await (const placed of placedChanges(this.#store, reading.place, signal)) {
          reading.place = placed.place;
          for (const listener of this.#listeners) listener(placed);
        }
      } catch (error) {
        if (!isAborted(signal)) {
          this.#log.warn(
            { error: errorText(error) },
            'the change feed broke while events were being sent; reading it again',
          );
        }
      }
      await pause(RETRY_MS, signal);
    }
  }

  #unsubscribe(listener: ChangeListener): void {
    this.#listeners.delete(listener);
    if (this.#listeners.size > 0) return;
    const reading = this.#reading;
    this.#reading = null;
    // One that did not come about has nothing to stop.
    void reading?.then(({ stop }) => stop.abort()).catch(() => undefined);
  }
}
