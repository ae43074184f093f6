import type { Fence } from '../../../core/lock.ts';
import type {
  Adoption,
  Batch,
  CommitResult,
  Enqueue,
  RecordKind,
  Store,
  Listed,
  Stored,
  StoreIdentity,
  Tombstone,
} from '../../../core/store.ts';
import { isEndingBatch } from '../../../core/ending-batch.ts';
import { refuseDoubleWrites } from '../batch-writes.ts';
import { decodeRecord, encodeRecord, recordKind, type EncodedRecord, type RecordSchemas } from '../record-schema.ts';
import type { Wakeup } from '../wakeup.ts';
import { changesAfter } from './change-feed.ts';
import { integerOf, textOf, type Connection, type Row } from './sqlite-connection.ts';
import { adoptHistory, countCommit } from './store-history.ts';
import type { TrimFeed } from './trim-feed.ts';
import type { EnqueueRow } from './sqlite-queue.ts';
import type { GuardedSession } from './guarded-session.ts';

const TOMBSTONE_MS = 7 * 24 * 3_600_000;
/** Trimming tombstones once in so many commits keeps its cost out of most of them. */
const COMMITS_PER_TRIM = 100;

export interface SqliteStoreOptions {
  readonly session: GuardedSession;
  readonly schemas: RecordSchemas;
  readonly trimFeed: TrimFeed;
  readonly enqueue: EnqueueRow;
  readonly queueChanged: Wakeup;
  readonly feedChanged: Wakeup;
}

export function createSqliteStore(options: SqliteStoreOptions): Store {
  const { session, schemas } = options;
  return {
    async commit(batch) {
      const prepared = prepare(schemas, batch);
      const result = await session.write('commit', (connection) => commitBatch(connection, prepared, options), {
        needsRoom: !isEndingBatch(batch),
      });
      if (result.kind === 'committed') {
        options.feedChanged.wake();
        if (prepared.enqueue.length > 0) options.queueChanged.wake();
      }
      return result;
    },

    async get(kind, key) {
      return session.read('get', (connection) => {
        const row = connection.get('SELECT * FROM records WHERE kind = ? AND key = ?', kind, key);
        return row === undefined ? null : storedOf(schemas, kind, row);
      });
    },

    async tombstone(kind, key) {
      return session.read('tombstone', (connection) => {
        const row = connection.get('SELECT * FROM tombstones WHERE kind = ? AND key = ?', kind, key);
        return row === undefined ? null : tombstoneOf(schemas, row);
      });
    },

    async list(kind, { tenant, index, after = '', limit, maxBytes = Infinity }) {
      const values = [kind, index, tenant, after, limit].filter((value) => value !== undefined);
      return session.read('list', (connection) => {
        const page: Listed<typeof kind>[] = [];
        let sum = 0;
        for (const row of connection.each(LISTS[listShape(tenant, index)], ...values)) {
          const bytes = Buffer.byteLength(textOf(row, 'value'));
          page.push({ ...storedOf(schemas, kind, row), bytes });
          sum += bytes;
          if (sum >= maxBytes) break;
        }
        return page;
      });
    },

    changes: (after, signal) => changesAfter({ session, schemas, changed: options.feedChanged }, after, signal),

    async identity() {
      return session.read('identity', (connection, isTrusted) => {
        if (isTrusted) session.guard.verified();
        return identityIn(connection);
      });
    },

    async adopt(adoption) {
      const stamp = session.stamp();
      const identity = await session.write('adopt', (connection) => adoptIn(connection, adoption, stamp));
      options.feedChanged.wake();
      return identity;
    },
  };
}

function identityIn(connection: Connection): StoreIdentity & { readonly replaces: readonly string[] } {
  const row = connection.get('SELECT id, commits, replaces FROM store') ?? {};
  const replaces = JSON.parse(textOf(row, 'replaces')) as readonly string[];
  return { storeId: textOf(row, 'id'), commits: integerOf(row, 'commits'), replaces };
}

/** The changes until then are forgotten with the id under which they were made: readers get a gap. */
function adoptIn(connection: Connection, adoption: Adoption, stamp: string): StoreIdentity {
  const { storeId, commits, fence, replaces } = adoption;
  connection.run('UPDATE store SET fence_given = max(fence_given, ?)', fence);
  const before = identityIn(connection);
  const former = new Set([...before.replaces, before.storeId, ...replaces]);
  former.delete(storeId);
  const isDone = before.storeId === storeId && before.commits >= commits && former.size === before.replaces.length;
  if (isDone) return before;
  connection.run('DELETE FROM changes');
  connection.run(
    'UPDATE store SET id = ?, commits = max(commits, ?) + 1, trimmed = max(commits, ?) + 1, replaces = ?',
    ...[storeId, commits, commits, JSON.stringify([...former])],
  );
  const identity = identityIn(connection);
  adoptHistory(connection, identity.commits, stamp);
  return identity;
}

/** One statement for each form of a list, so that each has its index. All take kind, [index], [tenant], after, limit. */
export const LISTS = {
  all: 'SELECT * FROM records WHERE kind = ? AND key > ? ORDER BY key LIMIT ?',
  tenant: 'SELECT * FROM records WHERE kind = ? AND tenant = ? AND key > ? ORDER BY key LIMIT ?',
  index: `SELECT records.* FROM record_indexes AS entry CROSS JOIN records USING (kind, key)
    WHERE entry.kind = ? AND entry.name = ? AND entry.key > ? ORDER BY entry.key LIMIT ?`,
  both: `SELECT records.* FROM record_indexes AS entry CROSS JOIN records USING (kind, key)
    WHERE entry.kind = ? AND entry.name = ? AND entry.tenant = ? AND entry.key > ? ORDER BY entry.key LIMIT ?`,
} as const;

function listShape(tenant: string | undefined, index: string | undefined): keyof typeof LISTS {
  if (index === undefined) return tenant === undefined ? 'all' : 'tenant';
  return tenant === undefined ? 'index' : 'both';
}

interface PreparedPut {
  readonly kind: RecordKind;
  readonly key: string;
  readonly expected: number | null;
  readonly tenant: string;
  readonly indexes: readonly string[];
  readonly record: EncodedRecord;
}
interface PreparedBatch {
  readonly puts: readonly PreparedPut[];
  readonly deletes: NonNullable<Batch['deletes']>;
  readonly enqueue: readonly Enqueue[];
  readonly fence: Fence | null;
}

/** Encodes at the time of the call: what the caller does to its objects while the group gathers is not written. */
function prepare(schemas: RecordSchemas, batch: Batch): PreparedBatch {
  const puts = (batch.puts ?? []).map((put) => ({
    kind: put.kind,
    key: put.key,
    expected: put.expected === 'absent' ? null : put.expected,
    tenant: put.tenant,
    indexes: [...new Set(put.indexes)],
    record: encodeRecord(schemas, put.kind, put.value),
  }));
  const deletes = [...(batch.deletes ?? [])];
  refuseDoubleWrites([...puts, ...deletes]);
  return { puts, deletes, enqueue: [...(batch.enqueue ?? [])], fence: batch.fence ?? null };
}

function commitBatch(connection: Connection, batch: PreparedBatch, options: SqliteStoreOptions): CommitResult {
  const store = connection.get('SELECT commits, stamp FROM store') ?? {};
  const { fence } = batch;
  const fenceUsed = fence === null ? 0 : fenceUsedOf(connection, fence.lease);
  if (fence !== null && fence.number < fenceUsed) return { kind: 'fenced' };

  const conflicts = [...batch.puts, ...batch.deletes]
    .filter(({ kind, key, expected }) => revisionOf(connection, kind, key) !== expected)
    .map(({ key }) => key);
  if (conflicts.length > 0) return { kind: 'conflict', keys: conflicts };

  const commit = integerOf(store, 'commits') + 1;
  const ageMs = options.session.ageMs();
  let position = 0;
  for (const put of batch.puts) writePut(connection, put, commit, position++);
  for (const { kind, key, uid } of batch.deletes) {
    connection.run('DELETE FROM records WHERE kind = ? AND key = ?', kind, key);
    connection.run('DELETE FROM record_indexes WHERE kind = ? AND key = ?', kind, key);
    connection.run('INSERT OR REPLACE INTO tombstones VALUES (?, ?, ?, ?, ?)', kind, key, uid, commit, ageMs);
    connection.run(
      'INSERT INTO changes (number, position, kind, key, uid) VALUES (?, ?, ?, ?, ?)',
      ...[commit, position++, kind, key, uid],
    );
  }
  for (const { key, share } of batch.enqueue) options.enqueue(connection, key, share ?? null, ageMs, 'changed');
  countCommit(connection, { commit, stamp: options.session.stamp(), lastStamp: textOf(store, 'stamp') });
  if (fence !== null && fence.number > fenceUsed) {
    connection.run('INSERT OR REPLACE INTO fences VALUES (?, ?)', fence.lease, fence.number);
  }
  const bytes = batch.puts.reduce((sum, { record }) => sum + Buffer.byteLength(record.json), 0);
  options.trimFeed(connection, commit, bytes);
  if (commit % COMMITS_PER_TRIM === 0)
    connection.run('DELETE FROM tombstones WHERE deleted_age_ms < ?', ageMs - TOMBSTONE_MS);
  return { kind: 'committed', commit };
}

function fenceUsedOf(connection: Connection, lease: string): number {
  const row = connection.get('SELECT used FROM fences WHERE lease = ?', lease);
  return row === undefined ? 0 : integerOf(row, 'used');
}

function revisionOf(connection: Connection, kind: RecordKind, key: string): number | null {
  const row = connection.get('SELECT revision FROM records WHERE kind = ? AND key = ?', kind, key);
  return row === undefined ? null : integerOf(row, 'revision');
}

function writePut(connection: Connection, put: PreparedPut, commit: number, position: number): void {
  const { kind, key, tenant, record } = put;
  connection.run(
    `INSERT INTO records (kind, key, tenant, revision, schema, value) VALUES (?, ?, ?, ?, ?, ?)
     ON CONFLICT (kind, key) DO UPDATE SET
       tenant = excluded.tenant, revision = excluded.revision, schema = excluded.schema, value = excluded.value`,
    ...[kind, key, tenant, commit, record.schema, record.json],
  );
  writeIndexes(connection, put);
  connection.run(
    'INSERT INTO changes (number, position, kind, key, schema, value) VALUES (?, ?, ?, ?, ?, ?)',
    ...[commit, position, kind, key, record.schema, record.json],
  );
}

/** Most puts leave the indexes as they are: a status changes far more often than a permission. */
function writeIndexes(connection: Connection, { kind, key, tenant, indexes, expected }: PreparedPut): void {
  const former = new Set<string>();
  if (expected !== null) {
    const rows = connection.all('SELECT name, tenant FROM record_indexes WHERE kind = ? AND key = ?', kind, key);
    for (const row of rows) {
      const name = textOf(row, 'name');
      if (indexes.includes(name) && textOf(row, 'tenant') === tenant) former.add(name);
      else connection.run('DELETE FROM record_indexes WHERE kind = ? AND name = ? AND key = ?', kind, name, key);
    }
  }
  for (const name of indexes) {
    if (former.has(name)) continue;
    connection.run('INSERT INTO record_indexes (kind, name, key, tenant) VALUES (?, ?, ?, ?)', kind, name, key, tenant);
  }
}

function storedOf<K extends RecordKind>(schemas: RecordSchemas, kind: K, row: Row): Stored<K> {
  const key = textOf(row, 'key');
  const encoded = { schema: integerOf(row, 'schema'), json: textOf(row, 'value') };
  return { kind, key, revision: integerOf(row, 'revision'), value: decodeRecord(schemas, kind, key, encoded) };
}

function tombstoneOf(schemas: RecordSchemas, row: Row): Tombstone {
  return {
    kind: recordKind(schemas, textOf(row, 'kind')),
    key: textOf(row, 'key'),
    uid: textOf(row, 'uid'),
    revision: integerOf(row, 'revision'),
  };
}
