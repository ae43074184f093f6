import { closeSync, existsSync, openSync, rmSync, statfsSync, statSync, truncateSync } from 'node:fs';
import { dirname } from 'node:path';
import { errorText } from '../../../core/errors.ts';
import type { Logger } from '../../../core/logger.ts';
import { allocate, allocateFile } from './allocate.ts';
import { forgetLog, keepLogFile, logOf, rewindLog, useKeptLogFile } from './log-origin.ts';
import { overwriteInPlace } from './overwrite-in-place.ts';
import { integerOf, type Connection } from './sqlite-connection.ts';

const MIB = 1024 * 1024;
/** Free pages in the database: enough to stop and delete a hundred pods. */
const SPARE_BYTES = 3 * MIB;
/** The database grows by this much at a time, so that it rarely does. */
const GROWTH_BYTES = 4 * MIB;
/** The session begins the log anew after 4 MiB. */
const LOG_BYTES = 5 * MIB;
/** A transaction may need more. */
const LOG_BYTES_MAX = 24 * MIB;
const RESERVE_BYTES = 4 * MIB;
/** With less free space than this, the disk counts as full. */
const FULL_BYTES = MIB;
/** The free space that others keep when the store takes more. */
const ROOM_BYTES = 8 * MIB;
/** From this on, a full disk no longer counts as full. */
const RESTORE_BYTES = GROWTH_BYTES + LOG_BYTES + RESERVE_BYTES + ROOM_BYTES;
/** With less than this at the start, opening the database may fail. */
const OPENING_BYTES = 2 * MIB;
const CHECK_EVERY_MS = 1_000;
const RESTORE_EVERY_MS = 10_000;

interface OpenFile {
  readonly main: number;
  readonly pageBytes: number;
}

/**
 * Disk blocks that the store holds in advance, so that pods can be stopped and deleted on a full disk, even while other
 * programs take every block that is freed:
 *
 * - The main file has free pages, and SQLite's `max_page_count` keeps every transaction within the pages that the file
 *   has. The file grows only here: its new blocks are written first, so no checkpoint can fail for lack of space.
 * - The write-ahead log has its full length from the start, and keeps it across restarts.
 *
 * File systems that never overwrite in place (ZFS, APFS, btrfs unless `overwriteInPlace` has told it to) need free blocks
 * all the same. For them, a reserve file is removed when the disk is full.
 */
export class DiskRoom {
  readonly #path: string;
  readonly #log: Logger;
  /** `main` is open as long as the database is: closing any descriptor of the file would drop SQLite's lock on it. */
  #file: OpenFile | null = null;
  #isShort = false;
  #checkedMs = -Infinity;

  constructor(path: string, log: Logger) {
    this.#path = path;
    this.#log = log;
  }

  /** The disk is full: only what ends something is written. */
  get isShort(): boolean {
    return this.#isShort;
  }

  beforeOpening(): void {
    if (!existsSync(this.#path)) overwriteInPlace(dirname(this.#path), this.#log);
    useKeptLogFile(this.#path);
    if (existsSync(this.#reserve) && this.#freeBytes() < OPENING_BYTES) rmSync(this.#reserve, { force: true });
  }

  /** Call this once the store is known to be the right one, since it writes. */
  afterOpening(connection: Connection): void {
    this.#file = { main: openSync(this.#path, 'r+'), pageBytes: numberOf(connection, 'page_size') };
    if (!this.#complete(connection, this.#file) || this.#freeBytes() < FULL_BYTES) this.#becomeShort();
  }

  /** Call this after each commit that changed something. */
  afterCommit(connection: Connection, nowMs: number): void {
    // It was not the right one, and an operator has decided that it is.
    if (this.#file === null) {
      this.afterOpening(connection);
      return;
    }
    const spareBytes = numberOf(connection, 'freelist_count') * this.#file.pageBytes;
    if (!this.#isShort && spareBytes < SPARE_BYTES) this.extend(connection);
    if (nowMs - this.#checkedMs < (this.#isShort ? RESTORE_EVERY_MS : CHECK_EVERY_MS)) return;
    this.#checkedMs = nowMs;
    const freeBytes = this.#freeBytes();
    if (!this.#isShort) {
      if (freeBytes < FULL_BYTES) this.#becomeShort();
    } else if (freeBytes >= RESTORE_BYTES && this.#complete(connection, this.#file)) {
      this.#isShort = false;
      this.#log.info({}, 'the disk has free space again');
    }
  }

  /**
   * Call this when a transaction has found no room, and has ended. Returns true when there is more now, `times` the usual
   * growth; otherwise the disk is full. Never throws.
   */
  extend(connection: Connection, times = 1): boolean {
    if (this.#isShort) return false;
    try {
      for (let grown = 0; grown < times; grown++) {
        if (this.#file === null) throw new Error('the store is not the one that was last seen');
        grow(connection, this.#file);
      }
      return true;
    } catch (error) {
      this.#log.warn({ error: errorText(error) }, 'the store cannot grow');
      this.#becomeShort();
      return false;
    }
  }

  /** Call this when a new log has begun: a long transaction need not keep what it took. */
  cutLogFile(): void {
    const log = logOf(this.#path);
    if ((statSync(log, { throwIfNoEntry: false })?.size ?? 0) > LOG_BYTES_MAX) truncateSync(log, LOG_BYTES);
  }

  /** Returns false when the database must not be closed, because that would give up its log's blocks on a full disk. */
  beforeClosing(): boolean {
    return (this.#file !== null && keepLogFile(this.#path)) || !this.#isShort;
  }

  /** Call this when the database is closed. */
  close(): void {
    if (this.#file !== null) closeSync(this.#file.main);
    this.#file = null;
    forgetLog(this.#path);
  }

  get #reserve(): string {
    return `${this.#path}-reserve`;
  }

  #freeBytes(): number {
    const { bavail, bsize } = statfsSync(dirname(this.#path));
    return bavail * bsize;
  }

  #becomeShort(): void {
    this.#isShort = true;
    rmSync(this.#reserve, { force: true });
    this.#log.error(
      {},
      'the disk is full: pods can be stopped and deleted, and nothing else is written; free some space on it',
    );
  }

  /** Returns false when there is no space for all of it. */
  #complete(connection: Connection, file: OpenFile): boolean {
    try {
      // Left by a process that was killed while the database grew.
      connection.exec('DROP TABLE IF EXISTS disk_reserve');
      rewindLog(connection);
      if (numberOf(connection, 'freelist_count') * file.pageBytes < SPARE_BYTES) grow(connection, file);
      allocateFile(logOf(this.#path), LOG_BYTES);
      const isReserved = existsSync(this.#reserve);
      if (!isReserved && this.#freeBytes() >= RESERVE_BYTES + ROOM_BYTES) allocateFile(this.#reserve, RESERVE_BYTES);
      return true;
    } catch (error) {
      this.#log.warn({ error: errorText(error) }, 'failed to reserve disk space for the store');
      return false;
    } finally {
      limitPages(connection, numberOf(connection, 'page_count'));
    }
  }
}

/** A large value is written and removed again: its pages stay in the file, free. */
function grow(connection: Connection, { main, pageBytes }: OpenFile): void {
  if (!rewindLog(connection)) throw new Error('failed to checkpoint the write-ahead log of the store');
  const pages = numberOf(connection, 'page_count');
  // A little more than the value: SQLite adds pages that lead to it.
  const most = pages + Math.ceil((GROWTH_BYTES + MIB / 4) / pageBytes);
  allocate(main, pages * pageBytes, most * pageBytes);
  try {
    limitPages(connection, most);
    connection.exec(`CREATE TABLE disk_reserve AS SELECT zeroblob(${GROWTH_BYTES}) AS bytes`);
    // First: pages that are freed before they reach the main file take no place in it.
    rewindLog(connection);
    connection.exec('DROP TABLE disk_reserve');
  } finally {
    limitPages(connection, numberOf(connection, 'page_count'));
  }
}

/** SQLite itself never goes below the pages there are. */
function limitPages(connection: Connection, pages: number): void {
  connection.exec(`PRAGMA max_page_count = ${pages}`);
}

function numberOf(connection: Connection, pragma: 'page_count' | 'page_size' | 'freelist_count'): number {
  return integerOf(connection.get(`PRAGMA ${pragma}`) ?? {}, pragma);
}
