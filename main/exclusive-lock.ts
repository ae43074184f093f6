import { setTimeout as delay } from 'node:timers/promises';
import { DatabaseSync } from 'node:sqlite';

const LOOK_AGAIN_MS = 50;

export interface ExclusiveLock {
  release(): void;
}

/**
 * Holds a file for this process alone; null when another process still has it after `waitMs`. The kernel gives it back
 * when the process ends, however that happens: a file with a pid in it would have to be judged after a crash. Node has
 * no flock; SQLite's locks are the same thing.
 */
export async function acquireExclusiveLock(path: string, waitMs: number): Promise<ExclusiveLock | null> {
  const deadlineMs = performance.now() + waitMs;
  const database = new DatabaseSync(path);
  for (;;) {
    try {
      database.exec('BEGIN EXCLUSIVE');
      return { release: () => database.close() };
    } catch (error) {
      if (!isBusy(error) || performance.now() >= deadlineMs) {
        database.close();
        if (isBusy(error)) return null;
        throw error;
      }
    }
    await delay(LOOK_AGAIN_MS);
  }
}

/** SQLITE_BUSY (https://www.sqlite.org/rescode.html#busy). */
function isBusy(error: unknown): boolean {
  return error instanceof Error && 'errcode' in error && error.errcode === 5;
}
