import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises';
import { backoffMs } from '../../core/backoff.ts';
import { kindOfError } from '../../core/error-code.ts';
import type { RefusalCode } from '../../core/errors.ts';
import { ConnectFailed } from './connect.ts';

/** How long failed attempts are repeated: kube-proxy lags a second or two behind "ready". */
export const DIAL_RETRY_MS = 3_000;
/** Mostly it lags tens of milliseconds. */
const RETRY_BACKOFF = { firstMs: 20, maxMs: 400 };
/** A pod that moves a third time while it is dialed cannot be reached. */
const MOVES_MAX = 3;

/** Where to dial now. */
export type Located<P> =
  | { readonly kind: 'place'; readonly place: P }
  | { readonly kind: 'refused'; readonly code: RefusalCode }
  /**
   * The pod is on its way, and has no address. `whenChanged` ends with null once it is worth locating the pod again, or
   * with why it is not worth waiting; it rejects when the signal aborts. Its deadline is its own.
   */
  | { readonly kind: 'not-yet'; whenChanged(signal: AbortSignal): Promise<RefusalCode | null> };

/** What is dialed (`P`, a place such as an address) and what comes of it (`C`, a connection to it). */
export interface Dial<P, C> {
  /** Asked before each attempt, since the pod may have moved or stopped, and after it. */
  locate(): Located<P>;
  /** Does a connection to `a` lead to `b`? */
  isSame(a: P, b: P): boolean;
  /** performance.now() until which failed attempts to connect are repeated. Asked before each attempt. */
  retryUntilMs(place: P): number;
  /** One attempt. Rejects with ConnectFailed when no connection was made; any other error is what the pod said on it. */
  open(place: P, signal: AbortSignal): Promise<C>;
  /** It has ended already. Default: the user of the connection notices. */
  isGone?(connection: C): boolean;
  /** The connection is not used. */
  close(connection: C): void;
}

export type Dialed<C> =
  | { readonly kind: 'connected'; readonly connection: C }
  /** By `locate`. */
  | { readonly kind: 'refused'; readonly code: RefusalCode }
  | { readonly kind: 'moved' }
  /** By the last attempt. */
  | { readonly kind: 'failed'; readonly error: unknown }
  | { readonly kind: 'aborted' };

/**
 * The one way to a pod. Failed attempts to connect are repeated with growing pauses, whatever the reason, since nothing was
 * sent; what a pod says on a connection is final. A connection is handed over only if `locate` still names its place: an
 * address that belongs to another pod by now gets no byte. Never rejects.
 */
export async function dial<P, C>(to: Dial<P, C>, signal: AbortSignal): Promise<Dialed<C>> {
  let failures = 0;
  let moves = 0;
  try {
    while (!signal.aborted) {
      const located = to.locate();
      if (located.kind === 'refused') return located;
      if (located.kind === 'not-yet') {
        const code = await located.whenChanged(signal);
        if (code !== null) return { kind: 'refused', code };
        continue;
      }
      const { place } = located;
      const retryUntilMs = to.retryUntilMs(place);
      const opened = await attempt(to, place, signal);
      if (opened instanceof ConnectFailed) {
        const pauseMs = backoffMs(++failures, RETRY_BACKOFF);
        if (performance.now() + pauseMs > retryUntilMs) return { kind: 'failed', error: opened };
        await sleep(pauseMs, undefined, { signal });
      } else {
        const now = to.locate();
        if (now.kind === 'place' && to.isSame(place, now.place)) {
          return { kind: 'connected', connection: opened };
        }
        to.close(opened);
        if (++moves === MOVES_MAX) return { kind: 'moved' };
      }
    }
    return { kind: 'aborted' };
  } catch (error) {
    return signal.aborted ? { kind: 'aborted' } : { kind: 'failed', error };
  }
}

async function attempt<P, C>(to: Dial<P, C>, place: P, signal: AbortSignal): Promise<C | ConnectFailed> {
  try {
    const connection = await to.open(place, signal);
    // After every change of a route that arrives in the same turn of the event loop.
    await nextTurn();
    if (signal.aborted) {
      to.close(connection);
      signal.throwIfAborted();
    }
    if (to.isGone?.(connection) !== true) return connection;
    return new ConnectFailed(new Error('closed as soon as it was connected'));
  } catch (error) {
    if (error instanceof ConnectFailed) return error;
    throw error;
  }
}

/** How a client hears of a failed attempt. `failure`: the error, or its code. */
export function refusalOfFailure(failure: unknown): RefusalCode {
  return kindOfError(failure) === 'no-descriptors' ? 'route.no-descriptors' : 'route.unreachable';
}
