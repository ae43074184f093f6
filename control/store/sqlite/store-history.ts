import type { StoreMark } from '../../../core/store.ts';
import type { Tip, Verdict } from '../store-guard.ts';
import { integerOf, textOf, type Connection } from './sqlite-connection.ts';

/** Of the older ones the stamps are forgotten: what was seen of them is believed by its number. */
const STRETCHES_KEPT = 10_000;

/**
 * Is what was seen part of the history of this store, and where does it stand? A file belongs to one process at a time,
 * so histories part only between two processes: a stamp for each of them, and not for each commit, is enough.
 */
export function compareHistory(connection: Connection, mark: StoreMark | null): { verdict: Verdict; tip: Tip } {
  const row = connection.get('SELECT id, commits, stamp, replaces FROM store') ?? {};
  const tip = { storeId: textOf(row, 'id'), commits: integerOf(row, 'commits'), stamp: textOf(row, 'stamp') };
  return { verdict: verdictOf(connection, mark, tip, textOf(row, 'replaces')), tip };
}

function verdictOf(connection: Connection, mark: StoreMark | null, tip: Tip, replaces: string): Verdict {
  if (mark === null) return 'same';
  if (mark.storeId !== tip.storeId) {
    if ((JSON.parse(replaces) as readonly string[]).includes(mark.storeId)) return 'same';
    return tip.commits === 0 ? 'empty' : 'other';
  }
  if (mark.commits > tip.commits) return 'older';
  if (mark.stamp === '' || mark.stamp === tip.stamp) return 'same';
  const stretch = connection.get(
    'SELECT stamp FROM history WHERE first_commit <= ? ORDER BY first_commit DESC LIMIT 1',
    mark.commits,
  );
  return stretch === undefined || textOf(stretch, 'stamp') === mark.stamp ? 'same' : 'parted';
}

/** Counts the commit; the first of a process begins a stretch. */
export function countCommit(
  connection: Connection,
  { commit, stamp, lastStamp }: { readonly commit: number; readonly stamp: string; readonly lastStamp: string },
): void {
  if (stamp === lastStamp) {
    connection.run('UPDATE store SET commits = ?', commit);
    return;
  }
  connection.run('UPDATE store SET commits = ?, stamp = ?', commit, stamp);
  connection.run('INSERT INTO history (first_commit, stamp) VALUES (?, ?)', commit, stamp);
  connection.run(
    `DELETE FROM history WHERE first_commit <=
       (SELECT first_commit FROM history ORDER BY first_commit DESC LIMIT 1 OFFSET ?)`,
    STRETCHES_KEPT,
  );
}

/** What was seen of the stores whose place this one takes, before an operator decided so, is believed by number alone. */
export function adoptHistory(connection: Connection, commits: number, stamp: string): void {
  connection.run('DELETE FROM history');
  connection.run('INSERT INTO history (first_commit, stamp) VALUES (?, ?)', commits, stamp);
  connection.run('UPDATE store SET stamp = ?', stamp);
}
