import type { Clock } from '../../core/clock.ts';
import type { CancelMessage } from '../../core/feed-protocol.ts';
import type { Replicas } from '../../core/replicas.ts';
import { parseCancel } from './cancel-message.ts';

/** Where cancels go that no worker of this replica knows, and where those of the others come from. */
export interface CancelRelay {
  tellOthers(message: CancelMessage): void;
  /** Answers how to stop listening. */
  listen(onCancel: (message: CancelMessage) => void): () => void;
}

/**
 * In each direction: the bus is everybody's, and a flood of guesses at one replica must not become one of all. Workers
 * have bounds of their own (proxy/protocols/postgres/cancel/guess-limit.ts).
 */
const MOST_AT_ONCE = 1_000;
const MOST_PER_SECOND = 400;

export function createCancelRelay({
  replicas,
  clock,
}: {
  readonly replicas: Replicas;
  readonly clock: Clock;
}): CancelRelay {
  const [sending, receiving] = [createBucket(clock), createBucket(clock)];
  return {
    tellOthers({ key, address }) {
      if (replicas.live().length > 1 && sending()) replicas.publish('cancel', { key, address });
    },
    listen(onCancel) {
      return replicas.listen('cancel', (message) => {
        const cancel = parseCancel(message);
        if (cancel !== null && receiving()) onCancel(cancel);
      });
    },
  };
}

/** Answers whether there is one left. */
function createBucket(clock: Clock): () => boolean {
  let left = MOST_AT_ONCE;
  let atMs = clock.monotonicMs();
  return () => {
    const nowMs = clock.monotonicMs();
    left = Math.min(MOST_AT_ONCE, left + ((nowMs - atMs) / 1_000) * MOST_PER_SECOND);
    atMs = nowMs;
    if (left < 1) return false;
    left -= 1;
    return true;
  };
}
