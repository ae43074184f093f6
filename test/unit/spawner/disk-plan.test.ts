import { describe, expect, it } from 'vitest';
import { isCheckDueEarly, judgeDisk, nextCheckMs, roomOf } from '../../../spawner/orchestrator/process/disk-plan.ts';
import { parseMeasured } from '../../../spawner/orchestrator/process/measure-disk.ts';

const MIB = 1024 * 1024;
const LIMITS = { homeMiB: 100, volumeMiB: 1_000, files: 10_000 };
const use = (homeMiB: number, volumeMiB = 0, files = 1) => ({
  homeBytes: homeMiB * MIB,
  volumeBytes: volumeMiB * MIB,
  files,
});

describe('the disk that a pod uses', () => {
  it('is ignored below 90 %, reported from there on, and ends the pod beyond 105 %', () => {
    expect(judgeDisk(use(89, 899, 8_999), LIMITS, 0)).toEqual({ kind: 'within' });
    expect(judgeDisk(use(90), LIMITS, 0)).toEqual({
      kind: 'near',
      text: 'its home uses more than 90 % of 100 MiB; a pod is stopped beyond 105 %',
    });
    expect(judgeDisk(use(105, 960), LIMITS, 0)).toEqual({
      kind: 'near',
      text: 'its home uses more than 100 % of 100 MiB; its volume uses more than 95 % of 1000 MiB; a pod is stopped beyond 105 %',
    });
    expect(judgeDisk(use(106), LIMITS, 0)).toEqual({
      kind: 'beyond',
      text: 'its home uses 106 MiB of 100 MiB: stopped so that it does not fill the disk',
    });
    expect(judgeDisk(use(1, 1_051), LIMITS, 0).kind).toBe('beyond');
    expect(judgeDisk(use(1, 1, 10_501), LIMITS, 0)).toMatchObject({ text: /^it has 10501 of 10000 files/ });
  });

  it('is unbounded when no limit is set', () => {
    const unlimited = { homeMiB: null, volumeMiB: null, files: null };
    expect(judgeDisk(use(1e6, 1e6, 1e9), unlimited, 0)).toEqual({ kind: 'within' });
    expect(roomOf(use(1e6, 1e6, 1e9), unlimited, 0)).toEqual({ bytes: Infinity, files: Infinity });
  });

  it('may start with a volume that is beyond its bound already, to make room in it, and grow by 64 MiB', () => {
    const before = 2_000 * MIB;
    expect(judgeDisk(use(1, 2_064), LIMITS, before).kind).toBe('near');
    expect(judgeDisk(use(1, 2_065), LIMITS, before).kind).toBe('beyond');
    expect(judgeDisk(use(1, 1_060), LIMITS, 900 * MIB).kind).toBe('beyond');
  });

  it('is measured again before it can have reached its bound at the rate it grew, at a twentieth of one core', () => {
    const room = { bytes: 1_000 * MIB, files: 10_000 };
    const still = { room, grewBytes: 0, grewFiles: 0, sinceMs: 10_000, tookMs: 10 };
    expect(nextCheckMs(still)).toBe(60_000);
    expect(nextCheckMs({ ...still, grewBytes: 1_000 * MIB })).toBe(5_000);
    expect(nextCheckMs({ ...still, grewFiles: 4_000 })).toBe(12_500);
    expect(nextCheckMs({ ...still, grewBytes: 1e12 })).toBe(1_000);
    expect(nextCheckMs({ ...still, grewBytes: 1e12, tookMs: 2_000 })).toBe(40_000);
  });

  it('is measured at once when the file system has lost as much as half of what is left to it', () => {
    const check = { room: { bytes: 1_000 * MIB, files: 1e6 }, lostBytes: 0, lostFiles: 0, sinceMs: 1_000, tookMs: 10 };
    expect(isCheckDueEarly(check)).toBe(false);
    expect(isCheckDueEarly({ ...check, lostBytes: 500 * MIB })).toBe(true);
    expect(isCheckDueEarly({ ...check, lostBytes: 499 * MIB })).toBe(false);
    expect(isCheckDueEarly({ ...check, lostFiles: 500_000 })).toBe(true);
    // A tree that takes long to measure is not measured without a break.
    expect(isCheckDueEarly({ ...check, lostBytes: 500 * MIB, tookMs: 1_000 })).toBe(false);
  });

  it('is read from what du prints, or not known', () => {
    expect(parseMeasured('8192\t/a\n4096\t/b c\n2\t/a\n1\t/b c\n', 2)).toEqual([
      { bytes: 8_192, files: 2 },
      { bytes: 4_096, files: 1 },
    ]);
    expect(parseMeasured('8192\t/a\n', 1)).toBe(null);
  });
});
