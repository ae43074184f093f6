import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DiskRoom } from '../../../control/store/sqlite/disk-room.ts';
import { openConnection } from '../../../control/store/sqlite/open-connection.ts';
import type { Connection } from '../../../control/store/sqlite/sqlite-connection.ts';
import {
  createSqliteDatabase,
  openSqliteDatabase,
  type SqliteDatabase,
  type SqliteDatabaseOptions,
} from '../../../control/store/sqlite/sqlite-database.ts';
import type { Put } from '../../../core/store.ts';
import { podRecord } from '../../support/pod-records.ts';
import { silentLog } from '../../support/silent-log.ts';

/** A folder with databases, all of which `end` closes and removes. Its clock runs, and can be moved. */
export function createSqliteStage() {
  const folder = mkdtempSync(join(tmpdir(), 'podgate-sqlite-'));
  const opened: SqliteDatabase[] = [];
  let movedMs = 0;
  const clock = { now: () => Date.now() + movedMs, monotonicMs: () => performance.now() + movedMs };
  const optionsFor = (name: string, more: Partial<SqliteDatabaseOptions> = {}): SqliteDatabaseOptions => ({
    path: join(folder, name),
    clock,
    log: silentLog,
    ...more,
  });
  return {
    folder,
    clock,
    path: (name: string): string => join(folder, name),
    moveClock(ms: number): void {
      movedMs += ms;
    },
    open(name: string, more: Partial<SqliteDatabaseOptions> = {}): SqliteDatabase {
      const database = openSqliteDatabase(optionsFor(name, more));
      opened.push(database);
      return database;
    },
    /** The same over a connection whose statements go through `run` first: it may count, wait or throw. */
    openWatched(
      name: string,
      before: (sql: string, connection: Connection) => void,
      { hasRoom = false }: { readonly hasRoom?: boolean } = {},
    ): SqliteDatabase {
      const connection = openConnection(join(folder, name));
      const watched: Connection = {
        ...connection,
        get(sql, ...values) {
          before(sql, connection);
          return connection.get(sql, ...values);
        },
        run(sql, ...values) {
          before(sql, connection);
          return connection.run(sql, ...values);
        },
        exec(sql) {
          before(sql, connection);
          connection.exec(sql);
        },
      };
      const room = hasRoom ? new DiskRoom(join(folder, name), silentLog) : null;
      const database = createSqliteDatabase(watched, optionsFor(name), { room, isLogNew: hasRoom });
      opened.push(database);
      return database;
    },
    end(): void {
      for (const database of opened) database.close();
      rmSync(folder, { recursive: true });
    },
  };
}
export type SqliteStage = ReturnType<typeof createSqliteStage>;

export function putPod(key: string, expected: Put['expected'], description = ''): Put {
  const record = podRecord({ podId: key });
  const value = { ...record, spec: { ...record.spec, description } };
  return { kind: 'pod', key, expected, value, tenant: 'default', indexes: ['user:alice'] };
}
