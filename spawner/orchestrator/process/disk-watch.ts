import { statfs } from 'node:fs/promises';
import { pause } from '../../../core/abort.ts';
import { coalesce } from '../../../core/coalesce.ts';
import type { Logger } from '../../../core/logger.ts';
import {
  type DiskLimits,
  type DiskUse,
  type DiskVerdict,
  isCheckDueEarly,
  judgeDisk,
  nextCheckMs,
  roomOf,
} from './disk-plan.ts';
import { measureDisk } from './measure-disk.ts';

/** A pod whose use of the disk is watched. */
export interface DiskUser {
  /** What goes with each stop. */
  readonly home: string;
  /** Null: it has none. */
  readonly volume: string | null;
  /** Named volumes that it can write to. */
  readonly shared: readonly SharedVolume[];
  /** Bytes of the volume before this run. */
  readonly volumeBytesBefore: number;
  diskJudged(verdict: DiskVerdict): void;
}

export interface SharedVolume {
  readonly name: string;
  readonly path: string;
  readonly limitMiB: number;
}

interface Check {
  readonly use: DiskUse;
  readonly atMs: number;
  readonly tookMs: number;
  readonly dueMs: number;
  readonly free: Free;
}

interface Free {
  readonly bytes: number;
  readonly files: number;
}

/**
 * Measures what pods use of the disk, one at a time and rarely, and judges it. The free space of the file system, which
 * costs nothing to ask for, says every `everyMs` whether a pod may be filling it faster than it was last seen to.
 */
export class DiskWatch {
  readonly #root: string;
  readonly #limits: DiskLimits;
  readonly #hasUserNamespaces: boolean;
  readonly #log: Logger;
  readonly #checks = new WeakMap<DiskUser, Check>();

  constructor(options: {
    readonly root: string;
    readonly limits: DiskLimits;
    readonly hasUserNamespaces: boolean;
    readonly log: Logger;
  }) {
    this.#root = options.root;
    this.#limits = options.limits;
    this.#hasUserNamespaces = options.hasUserNamespaces;
    this.#log = options.log;
  }

  /** `users`: those that run now. Returns when the signal aborts. */
  async run(users: () => readonly DiskUser[], everyMs: number, signal: AbortSignal): Promise<void> {
    const { homeMiB, volumeMiB, files } = this.#limits;
    const isUnlimited = homeMiB === null && volumeMiB === null && files === null;
    const watched = (): readonly DiskUser[] => users().filter(({ shared }) => !isUnlimited || shared.length > 0);
    while (!signal.aborted) {
      const free = await this.#free();
      const due = watched().filter((user) => free !== null && this.#isDue(user, free));
      for (const user of due) if (free !== null) await this.#check(user, signal);
      await pause(coalesce(everyMs), signal);
    }
  }

  async #free(): Promise<Free | null> {
    return statfs(this.#root).then(
      ({ bfree, bsize, ffree }) => ({ bytes: bfree * bsize, files: ffree }),
      () => null,
    );
  }

  #isDue(user: DiskUser, free: Free): boolean {
    const last = this.#checks.get(user);
    const nowMs = performance.now();
    if (last === undefined || nowMs >= last.dueMs) return true;
    return isCheckDueEarly({
      room: roomOf(last.use, this.#limits, user.volumeBytesBefore),
      lostBytes: last.free.bytes - free.bytes,
      lostFiles: last.free.files - free.files,
      sinceMs: nowMs - last.atMs,
      tookMs: last.tookMs,
    });
  }

  async #check(user: DiskUser, signal: AbortSignal): Promise<void> {
    const free = await this.#free();
    const beganMs = performance.now();
    const { home, volume, shared } = user;
    const own = volume === null ? [home] : [home, volume];
    const measured = await measureDisk(
      [...own, ...shared.map(({ path }) => path)],
      { hasUserNamespaces: this.#hasUserNamespaces },
      signal,
    );
    if (signal.aborted || free === null) return;
    const nowMs = performance.now();
    const tookMs = nowMs - beganMs;
    const last = this.#checks.get(user);
    if (measured === null) this.#log.warn({ home, tookMs }, 'failed to measure the disk space that a pod uses');
    const [ofHome, ofVolume] = measured?.slice(0, own.length) ?? [];
    const ofShared = measured?.slice(own.length) ?? [];
    const use: DiskUse =
      ofHome === undefined
        ? (last?.use ?? { homeBytes: 0, volumeBytes: 0, files: 0 })
        : {
            homeBytes: ofHome.bytes,
            volumeBytes: ofVolume?.bytes ?? 0,
            files: ofHome.files + (ofVolume?.files ?? 0),
            shared: shared.map(({ name, limitMiB }, index) => ({
              name,
              limitMiB,
              bytes: ofShared[index]?.bytes ?? 0,
            })),
          };
    const before = last?.use ?? { homeBytes: 0, volumeBytes: user.volumeBytesBefore, files: 0 };
    const sharedGrowth = (use.shared ?? []).map(({ bytes }, index) => bytes - (before.shared?.[index]?.bytes ?? bytes));
    const waitMs = nextCheckMs({
      room: roomOf(use, this.#limits, user.volumeBytesBefore),
      grewBytes: Math.max(use.homeBytes - before.homeBytes, use.volumeBytes - before.volumeBytes, ...sharedGrowth),
      grewFiles: use.files - before.files,
      sinceMs: Math.max(1, beganMs - (last?.atMs ?? beganMs - 1_000)),
      tookMs,
    });
    this.#checks.set(user, { use, atMs: beganMs, tookMs, dueMs: nowMs + waitMs, free });
    if (measured !== null) user.diskJudged(judgeDisk(use, this.#limits, user.volumeBytesBefore));
  }
}
