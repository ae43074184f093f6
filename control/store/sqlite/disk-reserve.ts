import { closeSync, existsSync, fsyncSync, openSync, renameSync, rmSync, statfsSync, writeSync } from 'node:fs';
import { randomBytes } from 'node:crypto';
import { dirname } from 'node:path';
import { errorText } from '../../../core/errors.ts';
import type { Logger } from '../../../core/logger.ts';
import type { Connection } from './sqlite-connection.ts';

const MIB = 1024 * 1024;
/** What the log and the main file may still have to grow by when the claim is made: 4 MiB each, and the claim. */
const RESERVE_BYTES = 16 * MIB;
/** Pages for some hundred pods to be stopped and deleted. */
const CLAIM_BYTES = 6 * MIB;
/** Beside the reserve, before it is made (again). */
const ROOM_BYTES = 8 * MIB;
/** With less room than this at the start, the database could not even be opened. */
const OPENING_BYTES = 2 * MIB;
const RESTORE_EVERY_MS = 10_000;

/**
 * Room for ending things when the disk is full: a file beside the database that holds its place. When a write finds no
 * room, the file is removed and, at once, what it held is claimed for the database itself: other programs fill the disk
 * as well, and would take it otherwise. From then on the store is short, until there is room to make the file again.
 */
export interface DiskReserve {
  /** Only what ends things is written. */
  readonly isShort: boolean;
  /** Before the database is opened: a disk that is full already would not let it. */
  beforeOpening(): void;
  afterOpening(connection: Connection): void;
  /** A write has found no room, and its transaction has ended. Never throws. */
  release(connection: Connection): void;
  /** To be called now and then, while it is short. True when it is no longer. */
  restore(nowMs: number): boolean;
}

export function createDiskReserve(path: string, log: Logger): DiskReserve {
  const file = `${path}-reserve`;
  let isShort = false;
  let triedMs = -Infinity;

  function freeBytes(): number {
    const { bavail, bsize } = statfsSync(dirname(path));
    return bavail * bsize;
  }

  /** False where there is no room for it. */
  function make(): boolean {
    try {
      if (freeBytes() < RESERVE_BYTES + ROOM_BYTES) return false;
      // Random: a file system that compresses would keep no room for zeros.
      const piece = randomBytes(MIB);
      const descriptor = openSync(`${file}.new`, 'w', 0o600);
      try {
        for (let written = 0; written < RESERVE_BYTES; written += MIB) writeSync(descriptor, piece);
        fsyncSync(descriptor);
      } finally {
        closeSync(descriptor);
      }
      renameSync(`${file}.new`, file);
      return true;
    } catch (error) {
      rmSync(`${file}.new`, { force: true });
      log.warn({ error: errorText(error) }, 'no room on the disk can be reserved for the store');
      return false;
    }
  }

  function claim(connection: Connection): void {
    try {
      connection.get('PRAGMA wal_checkpoint(RESTART)');
      connection.exec('CREATE TABLE IF NOT EXISTS disk_reserve (bytes BLOB)');
      connection.run('INSERT INTO disk_reserve VALUES (zeroblob(?))', CLAIM_BYTES);
      // In a transaction of its own: pages that are freed before they are written take no place in the file.
      connection.get('PRAGMA wal_checkpoint(RESTART)');
      connection.exec('DROP TABLE disk_reserve');
    } catch (error) {
      log.error({ error: errorText(error) }, 'another program has taken the room that was reserved for the store');
    }
  }

  return {
    get isShort() {
      return isShort;
    },
    beforeOpening() {
      if (existsSync(file) && freeBytes() < OPENING_BYTES) {
        rmSync(file, { force: true });
        isShort = true;
      }
    },
    afterOpening(connection) {
      connection.exec('DROP TABLE IF EXISTS disk_reserve');
      if (isShort) claim(connection);
      // It was given up before, and nothing has changed since.
      else if (!existsSync(file) && !make() && freeBytes() < ROOM_BYTES) isShort = true;
    },
    release(connection) {
      log.error(
        {},
        'the disk is full: pods can be stopped and deleted, and nothing else is written; free some space on it',
      );
      isShort = true;
      rmSync(file, { force: true });
      claim(connection);
    },
    restore(nowMs) {
      if (!isShort || nowMs - triedMs < RESTORE_EVERY_MS) return false;
      triedMs = nowMs;
      if (!make()) return false;
      isShort = false;
      log.info({}, 'the disk has room again');
      return true;
    },
  };
}

/** Of a database in memory. */
export const NO_RESERVE: DiskReserve = {
  isShort: false,
  beforeOpening: () => undefined,
  afterOpening: () => undefined,
  release: () => undefined,
  restore: () => false,
};
