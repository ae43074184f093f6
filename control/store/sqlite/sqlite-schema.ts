import { randomUUID } from 'node:crypto';
import { PodgateError } from '../../../core/errors.ts';
import type { Connection } from './sqlite-connection.ts';

/** "PodG". Marks the file as ours, so that no other program's database is ever written to. */
const APPLICATION_ID = 0x506f6447;

/**
 * Each entry takes the schema from the version of its index to the next. Entries are never changed once released.
 *
 * `age` columns and `_ms` columns of queue and locks are in the store's own time (see session.ts), which never jumps.
 */
export const MIGRATIONS: readonly string[] = [
  `CREATE TABLE store (
     only INTEGER PRIMARY KEY CHECK (only = 1),
     id TEXT NOT NULL,
     commits INTEGER NOT NULL DEFAULT 0,
     -- The changes of this commit and those before it are no longer kept.
     trimmed INTEGER NOT NULL DEFAULT 0,
     fence_given INTEGER NOT NULL DEFAULT 0,
     fence_used INTEGER NOT NULL DEFAULT 0,
     age_ms INTEGER NOT NULL DEFAULT 0
   ) STRICT;
   -- Tables with large values have a rowid: without one they would spill over several pages each.
   CREATE TABLE records (
     kind TEXT NOT NULL,
     key TEXT NOT NULL,
     tenant TEXT NOT NULL,
     revision INTEGER NOT NULL,
     schema INTEGER NOT NULL,
     value TEXT NOT NULL,
     PRIMARY KEY (kind, key)
   ) STRICT;
   CREATE INDEX records_of_tenant ON records (kind, tenant, key);
   CREATE TABLE record_indexes (
     kind TEXT NOT NULL,
     name TEXT NOT NULL,
     key TEXT NOT NULL,
     tenant TEXT NOT NULL,
     PRIMARY KEY (kind, name, key)
   ) STRICT, WITHOUT ROWID;
   CREATE INDEX record_indexes_of_tenant ON record_indexes (kind, name, tenant, key);
   -- With the tenant, so that it covers the look-up by key and is the one chosen for it.
   CREATE INDEX record_indexes_of_key ON record_indexes (kind, key, tenant);
   CREATE TABLE tombstones (
     kind TEXT NOT NULL,
     key TEXT NOT NULL,
     uid TEXT NOT NULL,
     revision INTEGER NOT NULL,
     deleted_age_ms INTEGER NOT NULL,
     PRIMARY KEY (kind, key)
   ) STRICT, WITHOUT ROWID;
   CREATE INDEX tombstones_by_age ON tombstones (deleted_age_ms);
   -- A put has schema and value, a deletion has the uid.
   CREATE TABLE changes (
     number INTEGER NOT NULL,
     position INTEGER NOT NULL,
     kind TEXT NOT NULL,
     key TEXT NOT NULL,
     schema INTEGER,
     value TEXT,
     uid TEXT,
     PRIMARY KEY (number, position)
   ) STRICT;
   -- Waiting keys have a due time, claimed ones a token; again_ms is set when a claimed key was added again.
   CREATE TABLE queue (
     key TEXT PRIMARY KEY,
     share TEXT NOT NULL,
     due_ms INTEGER NOT NULL,
     position INTEGER NOT NULL,
     token TEXT,
     leased_until_ms INTEGER,
     again_ms INTEGER
   ) STRICT, WITHOUT ROWID;
   CREATE INDEX queue_of_share ON queue (share, due_ms, position) WHERE token IS NULL;
   CREATE INDEX queue_due ON queue (due_ms) WHERE token IS NULL;
   CREATE INDEX queue_leased ON queue (leased_until_ms) WHERE token IS NOT NULL;
   CREATE TABLE locks (
     name TEXT PRIMARY KEY,
     token TEXT NOT NULL,
     leased_until_ms INTEGER NOT NULL
   ) STRICT, WITHOUT ROWID;
   CREATE TABLE action_logs (
     uid TEXT NOT NULL,
     position INTEGER NOT NULL,
     line TEXT NOT NULL,
     PRIMARY KEY (uid, position)
   ) STRICT, WITHOUT ROWID;`,
  `ALTER TABLE store ADD COLUMN replaces TEXT NOT NULL DEFAULT '[]';
   -- Of a parked key: the reason, and since when by the wall clock. is_changed is set when a claimed key's record changed.
   ALTER TABLE queue ADD COLUMN parked_reason TEXT;
   ALTER TABLE queue ADD COLUMN parked_at_ms INTEGER;
   ALTER TABLE queue ADD COLUMN is_changed INTEGER NOT NULL DEFAULT 0;
   CREATE INDEX queue_parked ON queue (parked_at_ms) WHERE parked_reason IS NOT NULL;`,
  `-- The stretches of the history: each began with this commit, the first of a process that had the file open, and has a
   -- random stamp. Two copies of a file that go their own ways do so in different processes: see store-history.ts.
   CREATE TABLE history (
     first_commit INTEGER PRIMARY KEY,
     stamp TEXT NOT NULL
   ) STRICT;
   -- That of the last stretch; '' = there is none.
   ALTER TABLE store ADD COLUMN stamp TEXT NOT NULL DEFAULT '';`,
  `-- Which main file the write-ahead log belongs to: see log-origin.ts.
   ALTER TABLE store ADD COLUMN file_nonce TEXT NOT NULL DEFAULT '';
   ALTER TABLE store ADD COLUMN log_base TEXT NOT NULL DEFAULT '';`,
  `-- The greatest fence that was used, of each lease. store.fence_used was one for all, of which the health loop's was one.
   CREATE TABLE fences (
     lease TEXT PRIMARY KEY,
     used INTEGER NOT NULL
   ) STRICT, WITHOUT ROWID;
   INSERT INTO fences SELECT 'health', fence_used FROM store WHERE fence_used > 0;`,
];

/**
 * Brings the schema up to date in one transaction. Refuses, untouched, what is not ours or is newer than this release
 * (PodgateError 'config.invalid').
 */
export function migrate(connection: Connection, path: string, migrations: readonly string[]): void {
  connection.run('BEGIN IMMEDIATE');
  try {
    const version = schemaVersion(connection, path);
    if (version > migrations.length) {
      throw new PodgateError('config.invalid', {
        publicMessages: [
          `The store ${path} was written by a newer release (schema ${version}, this release knows ${migrations.length}).`,
        ],
      });
    }
    for (const migration of migrations.slice(version)) connection.exec(migration);
    if (version === 0) {
      connection.exec(`PRAGMA application_id = ${APPLICATION_ID}`);
      connection.run('INSERT INTO store (only, id) VALUES (1, ?)', randomUUID());
    }
    if (version < migrations.length) connection.exec(`PRAGMA user_version = ${migrations.length}`);
    connection.run('COMMIT');
  } catch (error) {
    if (connection.isInTransaction()) connection.run('ROLLBACK');
    throw error;
  }
}

/** 0 = an empty database. */
function schemaVersion(connection: Connection, path: string): number {
  const applicationId = connection.get('PRAGMA application_id')?.['application_id'];
  if (applicationId === APPLICATION_ID) return Number(connection.get('PRAGMA user_version')?.['user_version']);
  const tables = Number(connection.get('SELECT count(*) AS tables FROM sqlite_schema')?.['tables']);
  if (applicationId === 0 && tables === 0) return 0;
  throw new PodgateError('config.invalid', {
    publicMessages: [`${path} is the database of another program. Podgate does not touch it: move it away.`],
  });
}
