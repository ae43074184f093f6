import { isAborted } from '../../../core/abort.ts';
import type { Change } from '../../../core/store.ts';
import { decodeRecord, recordKind, type RecordSchemas } from '../record-schema.ts';
import type { Wakeup } from '../wakeup.ts';
import { integerOf, textOf, type Connection, type Row } from './sqlite-connection.ts';
import type { GuardedSession } from './guarded-session.ts';

interface FeedOptions {
  readonly session: GuardedSession;
  readonly schemas: RecordSchemas;
  /** Woken after every commit. */
  readonly changed: Wakeup;
}

/** Place in the feed: everything up to and including this change has been given out. */
interface Cursor {
  readonly commit: number;
  readonly position: number;
}

const PAGE = 100;
/** A page ends behind so many bytes of records: one may have some hundred kB. */
const PAGE_BYTES = 1024 * 1024;
/** Positions start at 0: this place is behind every change of its commit. */
const END_OF_COMMIT = Number.MAX_SAFE_INTEGER;
/** Before every feed: reading on from there yields a gap. */
const NOWHERE: Cursor = { commit: -1, position: END_OF_COMMIT };
/** How often a reader of a suspect store looks whether it is believed again. */
const SUSPECT_WAIT_MS = 500;

/** See Store.changes. A reader slower than the feed is trimmed gets a gap, like one that comes too late. */
export async function* changesAfter(options: FeedOptions, after: number, signal: AbortSignal): AsyncGenerator<Change> {
  let cursor: Cursor = { commit: after, position: END_OF_COMMIT };
  while (!signal.aborted) {
    const from = cursor;
    const page = options.session.read('changes', (connection, isTrusted) =>
      isTrusted ? readPage(connection, options.schemas, from) : null,
    );
    if (page === null) {
      // Whatever was read meanwhile, it was not this store: once it is believed again, that is a gap.
      cursor = NOWHERE;
      await options.changed.wait(SUSPECT_WAIT_MS, signal);
      continue;
    }
    cursor = page.cursor;
    for (const change of page.changes) {
      yield change;
      // The abort may have come while the reader held the change.
      if (isAborted(signal)) return;
    }
    // Reading and starting to wait are one step, so no commit can fall between them.
    if (page.changes.length === 0) await options.changed.wait(null, signal);
  }
}

function readPage(
  connection: Connection,
  schemas: RecordSchemas,
  cursor: Cursor,
): { readonly changes: readonly Change[]; readonly cursor: Cursor } {
  const store = connection.get('SELECT commits, trimmed FROM store') ?? {};
  const commits = integerOf(store, 'commits');
  if (cursor.commit < integerOf(store, 'trimmed') || cursor.commit > commits) {
    const gap = { kind: 'gap', commit: commits } as const;
    return { changes: [gap], cursor: { commit: commits, position: END_OF_COMMIT } };
  }
  const rows: Row[] = [];
  let bytes = 0;
  for (const row of connection.each(PAGE_AFTER, cursor.commit, cursor.position, PAGE)) {
    rows.push(row);
    bytes += typeof row['value'] === 'string' ? row['value'].length : 0;
    if (bytes >= PAGE_BYTES) break;
  }
  const last = rows.at(-1);
  return {
    changes: rows.map((row) => changeOf(schemas, row)),
    cursor: last === undefined ? cursor : { commit: integerOf(last, 'number'), position: integerOf(last, 'position') },
  };
}

const PAGE_AFTER = 'SELECT * FROM changes WHERE (number, position) > (?, ?) ORDER BY number, position LIMIT ?';

function changeOf(schemas: RecordSchemas, row: Row): Change {
  const commit = integerOf(row, 'number');
  const kind = recordKind(schemas, textOf(row, 'kind'));
  const key = textOf(row, 'key');
  if (row['value'] === null) {
    return { kind: 'delete', commit, tombstone: { kind, key, uid: textOf(row, 'uid'), revision: commit } };
  }
  const encoded = { schema: integerOf(row, 'schema'), json: textOf(row, 'value') };
  return {
    kind: 'put',
    commit,
    record: { kind, key, revision: commit, value: decodeRecord(schemas, kind, key, encoded) },
  };
}
