import { isAborted, pause } from '../../../core/abort.ts';
import type { RoutableAnswer } from '../../../core/feed-protocol.ts';
import { podKey } from '../../../core/ids.ts';
import type { PodRecord } from '../../../core/pod.ts';
import type { PodParts } from './pod-parts.ts';

/** The most a call waits for its routes, in ms. */
export const WAIT_MAX_MS = 60_000;
const POLL_MS = 25;

export interface Waited {
  /** 'ended': it will not become routable by waiting; its status says why. */
  readonly outcome: RoutableAnswer;
  /** As it is now; null when the pod has gone meanwhile. */
  readonly record: PodRecord | null;
}

/**
 * Waits until every worker routes to the pod, at most `timeoutMs`. The feed follows the store by some milliseconds, so
 * its word is taken only when a fresh record agrees: right after the commit it may still speak of the time before. A
 * restart goes down first, and counts only once it has come up again. Ends early, as at the end of the time, when `signal`
 * aborts: a client that has left must not hold its place among the calls.
 */
export async function waitRoutable(
  parts: Pick<PodParts, 'store' | 'feed' | 'clock'>,
  pod: Pick<PodRecord, 'tenant' | 'podId' | 'uid'>,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<Waited> {
  const key = podKey(pod.tenant, pod.podId);
  const deadlineMs = parts.clock.monotonicMs() + timeoutMs;
  const leftMs = (): number => Math.max(0, deadlineMs - parts.clock.monotonicMs());
  const read = async (): Promise<PodRecord | null> => {
    const value = (await parts.store.get('pod', key))?.value;
    return value?.uid === pod.uid && value.deleting === null ? value : null;
  };

  for (;;) {
    const before = await read();
    if (before === null || hasEnded(before)) return { outcome: { kind: 'ended' }, record: before };
    if (leftMs() === 0 || isAborted(signal))
      return { outcome: { kind: 'timeout', laggards: [`the pod (${before.status})`] }, record: before };
    if (before.wish === 'ON') {
      const outcome = await parts.feed.waitRoutable(before, leftMs(), signal);
      const after = await read();
      if (outcome.kind === 'timeout') return { outcome, record: after };
      if (
        outcome.kind === 'routable' &&
        after?.status === 'RUNNING' &&
        after.wish === 'ON' &&
        after.run === before.run
      ) {
        return { outcome, record: after };
      }
    }
    await pause(Math.min(POLL_MS, leftMs()), signal);
  }
}

function hasEnded({ wish, status }: PodRecord): boolean {
  return wish === 'OFF' || (wish === 'ON' && (status === 'ERROR' || status === 'COMPLETE'));
}
