import { chmodSync, closeSync, openSync, statSync } from 'node:fs';
import { errorCode } from '../../../core/error-code.ts';
import { PodgateError } from '../../../core/errors.ts';
import { connect, type Connection } from './sqlite-connection.ts';
import { refuseForeignLog } from './log-origin.ts';
import { isBusy, isNotADatabase, storeFailure } from './sqlite-failure.ts';
import { MIGRATIONS, migrate } from './sqlite-schema.ts';

export const IN_MEMORY = ':memory:';

/**
 * Opens or creates the database and brings its schema up to date. From then on this process owns the file: SQLite's exclusive
 * mode keeps a lock on it, which the kernel drops when the process dies. So a process that opens the file knows that no
 * previous owner is alive, and there is no shared-memory file that a crash could leave behind.
 *
 * Throws PodgateError 'config.invalid' for a file that is not ours, of a newer release, owned by a living process, or put
 * beside the write-ahead log of another, 'store.unavailable' when the disk or the file is broken.
 */
export function openConnection(path: string): Connection {
  try {
    if (path !== IN_MEMORY) {
      keepPrivate(path);
      refuseForeignLog(path);
    }
    const connection = connect(path);
    try {
      connection.exec('PRAGMA locking_mode = EXCLUSIVE');
      migrate(connection, path, MIGRATIONS);
      const { journal_mode: mode } = connection.get('PRAGMA journal_mode = WAL') ?? {};
      if (path !== IN_MEMORY && mode !== 'wal') throw refused(`The file system of ${path} cannot hold a SQLite WAL.`);
      // FULL: every commit is on the disk before it is answered. NORMAL would lose the last ones with the power.
      connection.exec('PRAGMA synchronous = FULL');
      // The session does it, so that it knows when the main file changes.
      connection.exec('PRAGMA wal_autocheckpoint = 0');
      return connection;
    } catch (error) {
      connection.close();
      throw error;
    }
  } catch (error) {
    if (isNotADatabase(error)) throw refused(`${path} is not a database of Podgate. Move it away.`);
    if (isBusy(error)) throw refused(`Another process has ${path} open. Only one Podgate can use a data directory.`);
    throw storeFailure(`opening ${path}`, error);
  }
}

function refused(sentence: string): PodgateError {
  return new PodgateError('config.invalid', { publicMessages: [sentence] });
}

/** The file, and with it the WAL that SQLite makes alike, is readable by its owner alone. */
function keepPrivate(path: string): void {
  const mode = statSync(path, { throwIfNoEntry: false })?.mode;
  try {
    if (mode === undefined) closeSync(openSync(path, 'wx', 0o600));
    else if ((mode & 0o077) !== 0) chmodSync(path, 0o600);
  } catch (error) {
    const reason = errorCode(error) ?? 'unknown';
    throw refused(`The store ${path} cannot be made or kept private (${reason}).`);
  }
}
