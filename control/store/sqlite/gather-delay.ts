/** A group never waits longer for more commits than this. */
const LONGEST_GATHER_MS = 25;
/** A disk as fast as this is not waited for: gathering would only add latency. */
const FAST_COMMIT_MS = 2;
/** Waiting for the disk blocks the event loop: so many times as long is left to everything else before the next one. */
const REST_PER_COMMIT = 4;

/**
 * How long to gather commits before writing them together, in ms. 0 on a fast disk, and for a store that has been idle
 * for a while: a commit that comes alone is written at once. Behind a slow commit the next one waits, so that a slow disk
 * takes at most about a fifth of the loop's time however many commits come.
 */
export function gatherDelayMs(lastCommitMs: number, sinceLastCommitMs: number): number {
  if (lastCommitMs <= FAST_COMMIT_MS) return 0;
  return Math.max(0, Math.min(LONGEST_GATHER_MS, lastCommitMs * REST_PER_COMMIT) - sinceLastCommitMs);
}
