/** A group never waits longer for more commits than this. */
const LONGEST_GATHER_MS = 25;
/** A commit as fast as this costs nothing worth saving: gathering would only add latency. */
const FAST_COMMIT_MS = 2;
/** Waiting for the disk blocks the event loop: at most this part of its time, when commits keep coming. */
const DISK_SHARE = 0.25;
/** So much waiting for the disk is free: a lone commit, or one slowed by a checkpoint, delays nothing after it. */
const BURST_MS = 25;

/** How long slow commits have lately blocked the event loop beyond the share they may have. A leaky bucket. */
export interface DiskDebt {
  readonly ms: number;
  /** When it was counted; monotonic ms. */
  readonly atMs: number;
}

export function addCommit(debt: DiskDebt, commitMs: number, nowMs: number): DiskDebt {
  const most = BURST_MS + LONGEST_GATHER_MS * DISK_SHARE;
  const added = commitMs <= FAST_COMMIT_MS ? 0 : commitMs;
  return { ms: Math.min(most, remaining(debt, nowMs) + added), atMs: nowMs };
}

/**
 * How long to gather commits before writing them together: 0 while the disk is fast or the store was idle, up to 25 ms
 * when a slow disk would otherwise block the event loop for most of the time.
 */
export function gatherDelayMs(debt: DiskDebt, nowMs: number): number {
  return Math.max(0, Math.min(LONGEST_GATHER_MS, (remaining(debt, nowMs) - BURST_MS) / DISK_SHARE));
}

function remaining(debt: DiskDebt, nowMs: number): number {
  return Math.max(0, debt.ms - (nowMs - debt.atMs) * DISK_SHARE);
}
