import { describe, expect, it } from 'vitest';
import { addCommit, gatherDelayMs, type DiskDebt } from '../../../control/store/sqlite/gather-delay.ts';

const NONE: DiskDebt = { ms: 0, atMs: 0 };

/** Commits one after the other as fast as allowed, for 10 s of simulated time. Answers the part spent on the disk. */
function diskShare(commitMs: number): number {
  let nowMs = 0;
  let diskMs = 0;
  let debt = NONE;
  while (nowMs < 10_000) {
    nowMs += gatherDelayMs(debt, nowMs) + commitMs;
    diskMs += commitMs;
    debt = addCommit(debt, commitMs, nowMs);
  }
  return diskMs / nowMs;
}

describe('how long commits are gathered', () => {
  it('is not at all on a fast disk, however many come', () => {
    let debt = NONE;
    for (let nowMs = 0; nowMs < 1_000; nowMs++) {
      debt = addCommit(debt, 1, nowMs);
      expect(gatherDelayMs(debt, nowMs)).toBe(0);
    }
  });

  it('is not at all behind one slow commit, such as one with a checkpoint', () => {
    const debt = addCommit(NONE, 20, 100);
    expect(gatherDelayMs(debt, 100)).toBe(0);
  });

  it('lets a slow disk have a quarter of the time', () => {
    for (const commitMs of [3, 5, 8]) {
      expect(diskShare(commitMs)).toBeGreaterThan(0.2);
      expect(diskShare(commitMs)).toBeLessThan(0.3);
    }
  });

  it('is never more than 25 ms, and nothing after a rest', () => {
    let debt = NONE;
    for (let i = 0; i < 20; i++) debt = addCommit(debt, 1_000, 0);
    expect(gatherDelayMs(debt, 0)).toBe(25);
    expect(gatherDelayMs(debt, 10)).toBe(15);
    expect(gatherDelayMs(debt, 25)).toBe(0);
  });
});
