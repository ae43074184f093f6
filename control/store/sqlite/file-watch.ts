import { readdirSync, rmSync, statSync, truncateSync, type BigIntStats } from 'node:fs';

/** Tells whether anybody but this process has laid hands on the files of an open database. */
export interface FileWatch {
  /** A sentence on what has happened to them since the last `settled`; null = nothing. */
  changed(): string | null;
  /** The same, of the names alone: after writing of our own, which changes the files. */
  exchanged(): string | null;
  /** Our own writing is done: what the files are now is what they are to stay. */
  settled(): void;
  /**
   * Keeps the log of the former file from being copied into what is there now: SQLite would do that when it closes, or
   * at the next start. A former file that only lost its name can still be read, and saved by `npx podgate backup`.
   */
  leave(): void;
}

const NOTHING: FileWatch = {
  changed: () => null,
  exchanged: () => null,
  settled: () => undefined,
  leave: () => undefined,
};

/**
 * The lock of an open database keeps other programs of SQLite away, but neither `mv` nor `cp`: after the one, writes go
 * to a file without a name and are gone at the next start; after the other, pages of two databases mix. In between, the
 * main file changes only at a checkpoint and the log only with a commit, and both are ours alone.
 */
export function watchFiles(path: string | null): FileWatch {
  if (path === null) return NOTHING;
  const wal = `${path}-wal`;
  let [mainStats, walStats] = [look(path), look(wal)];
  const sentence = (name: string, how: string): string =>
    `${name} was ${how} while it was open; restart Podgate with the right file`;

  function compare(isSame: (one: BigIntStats, other: BigIntStats) => boolean): string | null {
    for (const [name, before] of [
      [path ?? '', mainStats],
      [wal, walStats],
    ] as const) {
      if (before === null) continue;
      const now = look(name);
      if (now === null) return sentence(name, 'removed');
      if (now.ino !== before.ino || now.dev !== before.dev) return sentence(name, 'replaced');
      if (!isSame(before, now)) return sentence(name, 'changed by another program');
    }
    return null;
  }

  return {
    changed: () => compare((one, other) => one.size === other.size && one.mtimeNs === other.mtimeNs),
    exchanged: () => compare(() => true),
    settled: () => void ([mainStats, walStats] = [look(path), look(wal)]),
    leave() {
      if (walStats === null) return;
      const hasItsName = isSameFile(look(path), mainStats);
      if (hasItsName) emptyOpenFile(walStats);
      else if (isSameFile(look(wal), walStats)) rmSync(wal);
    },
  };
}

function isSameFile(one: BigIntStats | null, other: BigIntStats | null): boolean {
  return one !== null && other !== null && one.ino === other.ino && one.dev === other.dev;
}

const OPEN_FILES = '/proc/self/fd';

/** Its name may be gone, or belong to another file by now. Without /proc it stays as it is. */
function emptyOpenFile(stats: BigIntStats): void {
  const names = statSync(OPEN_FILES, { throwIfNoEntry: false }) === undefined ? [] : readdirSync(OPEN_FILES);
  const own = names.map((name) => `${OPEN_FILES}/${name}`).find((name) => isSameFile(look(name), stats));
  if (own !== undefined) truncateSync(own, 0);
}

function look(path: string): BigIntStats | null {
  return statSync(path, { bigint: true, throwIfNoEntry: false }) ?? null;
}
