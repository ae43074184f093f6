import type { Logger } from '../../../core/logger.ts';
import type { Store } from '../../../core/store.ts';
import { heartbeatText, openingText } from '../../http/event-text.ts';
import { type PlaceLimits, Places } from '../../http/limits/places.ts';
import { ChangeHub } from './change-hub.ts';
import { EventQueue } from './event-queue.ts';
import { EventSelection } from './event-selection.ts';
import { placeText } from './feed-place.ts';
import type { ChangesView, ObservedKind } from './observed-kind.ts';
import { Replay } from './replay.ts';

/** Well below what proxies call silence. */
const HEARTBEAT_MS = 15_000;
/** A stream ends then, and its client presents its token anew: one that has expired since shows nothing any more. */
const LIFETIME_MS = 15 * 60_000;
/** After which clients reconnect. */
const RETRY_MS = 2_000;
const QUEUE_BYTES = 128 * 1024;
const LIMITS: PlaceLimits = { all: 1_024, perTenant: 512, perUser: 16 };

export interface EventStreamOptions {
  readonly store: Pick<Store, 'changes' | 'identity'>;
  readonly kinds: readonly ObservedKind[];
  readonly log: Logger;
  readonly limits?: PlaceLimits;
  /** Of events that a client has not taken yet. Beyond it, its stream ends. */
  readonly queueBytes?: number;
  readonly heartbeatMs?: number;
  readonly lifetimeMs?: number;
}

export interface StreamRequest extends ChangesView {
  readonly lastEventId: string | undefined;
  readonly signal: AbortSignal;
}

/** Streams of the changes that a caller may see, from the history of the store: the same on every replica. */
export class EventStreams {
  readonly #options: EventStreamOptions;
  readonly #hub: ChangeHub;
  readonly #places: Places;
  #tooSlow = 0;

  constructor(options: EventStreamOptions) {
    this.#options = options;
    this.#hub = new ChangeHub(options);
    this.#places = new Places({
      limits: options.limits ?? LIMITS,
      what: 'streams of events open',
      remedy: 'Close one of them.',
      full: 'All streams of events are in use.',
    });
  }

  get count(): number {
    return this.#places.total;
  }
  /** Streams ended so far because their client did not take its events. */
  get tooSlow(): number {
    return this.#tooSlow;
  }

  /**
   * Texts of whole events, from the place of `lastEventId` or from now on, until the client leaves, is too slow, or the
   * lifetime is over. Before the first text it throws what keeps the stream from opening.
   */
  async *open(request: StreamRequest): AsyncGenerator<string> {
    const { store, kinds, log, queueBytes = QUEUE_BYTES } = this.#options;
    const { heartbeatMs = HEARTBEAT_MS, lifetimeMs = LIFETIME_MS } = this.#options;
    const leave = this.#places.enter(request.caller);
    const ending = new AbortController();
    const queue = new EventQueue(queueBytes);
    const onGone = (): void => queue.end();
    request.signal.addEventListener('abort', onGone, { once: true });
    const lifetime = setTimeout(onGone, lifetimeMs);
    try {
      const selection = new EventSelection({ kinds, view: request, queue });
      let replay: Replay | null = null;
      const subscription = await this.#hub.subscribe((placed) => replay?.live(placed));
      ending.signal.addEventListener('abort', subscription.close, { once: true });
      replay = new Replay({ store, log, selection, queue, hubPlace: subscription.place });
      const from = replay.begin(request.lastEventId, ending.signal);
      await selection.readVisible();
      yield openingText(placeText(from), RETRY_MS);
      for (;;) {
        const texts = await queue.take(heartbeatMs);
        if (texts !== '') yield texts;
        else if (queue.isEnded) break;
        else yield heartbeatText(placeText(replay.place));
      }
      if (queue.hasOverflowed) this.#tooSlow += 1;
    } finally {
      ending.abort();
      queue.end();
      clearTimeout(lifetime);
      request.signal.removeEventListener('abort', onGone);
      leave();
    }
  }
}
