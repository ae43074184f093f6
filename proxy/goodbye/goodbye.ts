import type { Socket } from 'node:net';
import { endWith } from '../bytes/end-with.ts';
import { readOn, tap } from '../bytes/tap.ts';
import type { CutReason } from '../policy/standing.ts';
import type { MessageFollower } from './message-follower.ts';

/** How the protocol of a session says to one side that the gateway ends it. */
export interface Goodbye {
  /** Of what is said to that side. */
  readonly follower: MessageFollower;
  /** A whole message. */
  readonly words: (reason: CutReason) => Buffer;
}

/** For each side that can be told. */
export interface Goodbyes {
  readonly client: Goodbye;
  readonly backend?: Goodbye;
}

/** How long the rest of a message is waited for. */
const REST_MS = 1_000;

interface Sentences {
  readonly message: string;
  readonly hint: string;
}

/** What happened, why, and what to do next. */
export const GOODBYE_SENTENCES: Readonly<Record<CutReason, Sentences>> = {
  drained: {
    message: 'This connection was closed because the gateway is restarting or shutting down.',
    hint: 'Connect again.',
  },
  'route-gone': {
    message: 'This connection was closed because its pod was stopped, deleted or replaced.',
    hint: 'Connect again once the pod is running.',
  },
  'client-refused': {
    message: 'This connection was closed because the pod no longer accepts your address or client certificate.',
    hint: 'Ask its owner for access.',
  },
};

/**
 * Ends a side with its goodbye: now where it has whole messages, else behind the one that is under way. Without one when
 * the rest of that does not come in time: nothing is ever said in the middle of a message. `said` is called before the
 * words, unless they are not said.
 */
export function sayGoodbye(
  side: Socket,
  other: Socket,
  { follower, words }: Goodbye,
  reason: CutReason,
  said: () => void,
): void {
  const say = (): void => {
    said();
    endWith(side, words(reason));
    readOn(side);
  };
  if (follower.isBetweenMessages) {
    say();
    return;
  }
  const late = setTimeout(() => side.destroy(), REST_MS);
  const give = (bytes: Buffer): boolean => {
    if (side.destroyed || side.writableEnded) return true;
    const end = follower.followToEnd(bytes);
    // A copy: they may be lent.
    const isTaken = side.write(Buffer.from(end < 0 ? bytes : bytes.subarray(0, end)));
    if (end < 0) return isTaken;
    clearTimeout(late);
    say();
    return true;
  };
  side.once('close', () => clearTimeout(late));
  tap(other, give);
}
