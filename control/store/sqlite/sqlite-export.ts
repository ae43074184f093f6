import { joinTail, type OutputOfRun } from './output-files.ts';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { kindOfError } from '../../../core/error-code.ts';
import type { StoreIdentity } from '../../../core/store.ts';
import { openConnection } from './open-connection.ts';
import { integerOf, textOf, type Row } from './sqlite-connection.ts';

const PAGE = 100;

/** All that the embedded store holds, as it is kept. While it is open no other process can use the store. */
export interface SqliteExport {
  identity(): StoreIdentity;
  /** The greatest that was given out. */
  fenceGiven(): number;
  counts(): { readonly records: number; readonly tombstones: number };
  records(): Iterable<readonly ReturnType<typeof recordOf>[]>;
  tombstones(): Iterable<readonly ReturnType<typeof tombstoneOf>[]>;
  queue(): Iterable<{ readonly key: string; readonly share: string }>;
  /** Of whom there are action logs. */
  loggedUids(): readonly string[];
  actions(uid: string): readonly string[];
  /** Kept output: each run of each pod. */
  outputs(): Iterable<OutputOfRun & { readonly uid: string }>;
  close(): void;
}

/** Throws as openConnection does, also when a Podgate runs with it. */
export function openSqliteExport(path: string): SqliteExport {
  const connection = openConnection(path);

  function* pages(table: 'records' | 'tombstones'): Iterable<readonly Row[]> {
    let [kind, key] = ['', ''];
    for (;;) {
      const rows = connection.all(
        `SELECT * FROM ${table} WHERE (kind, key) > (?, ?) ORDER BY kind, key LIMIT ?`,
        ...[kind, key, PAGE],
      );
      const last = rows.at(-1);
      if (last === undefined) return;
      yield rows;
      [kind, key] = [textOf(last, 'kind'), textOf(last, 'key')];
    }
  }

  function count(table: 'records' | 'tombstones'): number {
    return integerOf(connection.get(`SELECT count(*) AS count FROM ${table}`) ?? {}, 'count');
  }

  function indexesOf(row: Row): readonly string[] {
    return connection
      .all(
        'SELECT name FROM record_indexes WHERE kind = ? AND key = ? ORDER BY name',
        ...[textOf(row, 'kind'), textOf(row, 'key')],
      )
      .map((index) => textOf(index, 'name'));
  }

  return {
    identity() {
      const row = connection.get('SELECT id, commits, replaces FROM store') ?? {};
      return {
        storeId: textOf(row, 'id'),
        commits: integerOf(row, 'commits'),
        replaces: JSON.parse(textOf(row, 'replaces')) as readonly string[],
      };
    },
    fenceGiven: () => integerOf(connection.get('SELECT fence_given FROM store') ?? {}, 'fence_given'),
    counts: () => ({ records: count('records'), tombstones: count('tombstones') }),
    *records() {
      for (const rows of pages('records')) yield rows.map((row) => recordOf(row, indexesOf(row)));
    },
    *tombstones() {
      for (const rows of pages('tombstones')) yield rows.map(tombstoneOf);
    },
    *queue() {
      for (const row of connection.all('SELECT key, share FROM queue ORDER BY due_ms, position')) {
        yield { key: textOf(row, 'key'), share: textOf(row, 'share') };
      }
    },
    loggedUids: () =>
      connection.all('SELECT DISTINCT uid FROM action_logs ORDER BY uid').map((row) => textOf(row, 'uid')),
    actions: (uid) =>
      connection
        .all('SELECT line FROM action_logs WHERE uid = ? ORDER BY position', uid)
        .map((row) => textOf(row, 'line')),
    *outputs() {
      const folder = `${path}-output`;
      for (const uid of namesIn(folder)) {
        const names = namesIn(join(folder, uid));
        for (const name of names) {
          const run = /^(\d+)\.log$/.exec(name)?.[1];
          if (run === undefined) continue;
          const tail = names.includes(`${run}.tail`) ? readFileSync(join(folder, uid, `${run}.tail`)) : Buffer.alloc(0);
          yield { uid, run: Number(run), ...joinTail(readFileSync(join(folder, uid, name), 'utf8'), tail) };
        }
      }
    },
    close: () => connection.close(),
  };
}

function recordOf(row: Row, indexes: readonly string[]) {
  return {
    ...{ kind: textOf(row, 'kind'), key: textOf(row, 'key'), tenant: textOf(row, 'tenant') },
    revision: integerOf(row, 'revision'),
    schema: integerOf(row, 'schema'),
    json: textOf(row, 'value'),
    indexes,
  };
}

function tombstoneOf(row: Row) {
  const revision = integerOf(row, 'revision');
  return { kind: textOf(row, 'kind'), key: textOf(row, 'key'), revision, uid: textOf(row, 'uid') };
}

function namesIn(folder: string): readonly string[] {
  try {
    return readdirSync(folder).toSorted();
  } catch (error) {
    if (kindOfError(error) === 'absent') return [];
    throw error;
  }
}
