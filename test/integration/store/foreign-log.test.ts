import { copyFileSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { SqliteDatabase } from '../../../control/store/sqlite/sqlite-database.ts';
import { createSqliteStage, putPod, type SqliteStage } from './sqlite-stage.ts';

/** The log is copied to the main file each 4 MiB: some twenty of these commits. */
const LARGE = 'x'.repeat(200_000);

let stage: SqliteStage;
beforeEach(() => {
  stage = createSqliteStage();
});
afterEach(() => stage.end());

const bytes = (name: string): Buffer => readFileSync(stage.path(name));
const copy = (from: string, to: string): void => copyFileSync(stage.path(from), stage.path(to));
const keysOf = async ({ store }: SqliteDatabase): Promise<readonly string[]> =>
  (await store.list('pod', { limit: 1_000 })).map(({ key }) => key);

async function commitMany(database: SqliteDatabase, prefix: string, count: number, text = ''): Promise<void> {
  for (let n = 0; n < count; n++) await database.store.commit({ puts: [putPod(`${prefix}${n}`, 'absent', text)] });
}

/** What a kill -9 would leave behind now. */
function leftBehind(name: string, as: string): void {
  copy(name, as);
  copy(`${name}-wal`, `${as}-wal`);
}

describe('a file put in the place of one whose process was killed, next to its log', () => {
  /** Makes `other.db`; `of` is open, has been through a checkpoint and has records in its log. */
  const others: Readonly<Record<string, (of: SqliteDatabase) => Promise<readonly string[]>>> = {
    'a backup made just before': async (of) => {
      const keys = await keysOf(of);
      await of.copyTo(stage.path('other.db'));
      return keys;
    },
    'a copy of the same store from before the last checkpoint': async () => {
      copy('older.db', 'other.db');
      return ['early0', 'early1'];
    },
    'another store': async () => {
      const other = stage.open('other.db');
      await commitMany(other, 'other', 3);
      other.close();
      return ['other0', 'other1', 'other2'];
    },
    'a store of a release that knew nothing of this': async () => {
      const other = stage.open('other.db');
      await commitMany(other, 'former', 1);
      other.close();
      const database = new DatabaseSync(stage.path('other.db'));
      database.exec("UPDATE store SET file_nonce = '', log_base = ''");
      database.close();
      return ['former0'];
    },
  };

  it.each(Object.entries(others))('%s: is rejected and not changed', async (_, makeOther) => {
    const early = stage.open('older.db');
    await commitMany(early, 'early', 2);
    early.close();
    copy('older.db', 'a.db');
    const database = stage.open('a.db');
    await commitMany(database, 'large', 60, LARGE);
    await commitMany(database, 'late', 5);
    const keys = await makeOther(database);
    await commitMany(database, 'last', 1);

    leftBehind('a.db', 'killed.db');
    copy('killed.db', 'former.db');
    copy('other.db', 'killed.db');
    const files = readdirSync(stage.folder).filter((name) => name.startsWith('killed.db'));
    const before = files.map(bytes);
    expect(() => stage.open('killed.db')).toThrow(
      expect.objectContaining({
        code: 'config.invalid',
        publicMessages: [
          expect.stringMatching(
            /killed\.db has been replaced, and .*killed\.db-wal beside it holds changes to the former/,
          ),
        ],
      }),
    );
    expect(readdirSync(stage.folder).filter((name) => name.startsWith('killed.db'))).toEqual(files);
    expect(files.map((name, at) => bytes(name).equals(before[at] ?? Buffer.alloc(0)))).toEqual(files.map(() => true));

    // Both ways out that the sentence names.
    copy('killed.db-wal', 'former.db-wal');
    expect(await keysOf(stage.open('former.db'))).toEqual(await keysOf(database));
    renameSync(stage.path('killed.db-wal'), stage.path('away'));
    expect(await keysOf(stage.open('killed.db'))).toEqual(keys);
  });
});

it('the files of a killed process open with everything acknowledged, also during checkpoints', async () => {
  const snapshots: { readonly name: string; readonly acknowledged: number }[] = [];
  let acknowledged = 0;
  let isCheckpoint = false;
  const snapshot = (): string => {
    const name = `killed-${snapshots.length}.db`;
    leftBehind('a.db', name);
    snapshots.push({ name, acknowledged });
    return name;
  };
  const database = stage.openWatched('a.db', (sql) => {
    if (sql.startsWith('PRAGMA wal_checkpoint(PASSIVE')) {
      snapshot();
      isCheckpoint = true;
    } else if (isCheckpoint) {
      // The first statement after it.
      isCheckpoint = false;
      const after = snapshot();
      const before = snapshots.at(-2)?.name ?? '';
      for (let part = 1; part < 4; part++) cutOff(before, after, part / 4);
    }
  });
  /** As if the checkpoint had copied a part of the pages only. */
  function cutOff(before: string, after: string, part: number): void {
    const name = `killed-${snapshots.length}.db`;
    const [old, whole] = [bytes(before), bytes(after)];
    const cut = Math.floor((whole.length * part) / 4_096) * 4_096;
    writeFileSync(stage.path(name), Buffer.concat([whole.subarray(0, cut), old.subarray(cut)]));
    copy(`${before}-wal`, `${name}-wal`);
    snapshots.push({ name, acknowledged });
  }

  for (let n = 0; n < 60; n++) {
    await database.store.commit({ puts: [putPod(`p${n}`, 'absent', LARGE)] });
    acknowledged = n + 1;
    if (n % 20 === 0) snapshot();
  }
  expect(snapshots.length).toBeGreaterThan(10);
  for (const { name, acknowledged } of snapshots) {
    const opened = stage.open(name);
    expect((await keysOf(opened)).length, name).toBeGreaterThanOrEqual(acknowledged);
    expect(await opened.examine(), name).toBeNull();
    opened.close();
    rmSync(stage.path(name));
  }
});

it('the files of a process killed while the database grows open with everything acknowledged', async () => {
  const snapshots: { readonly name: string; readonly acknowledged: number }[] = [];
  let acknowledged = 0;
  let statement = 0;
  const database = stage.openWatched(
    'a.db',
    (sql) => {
      // Those that move blocks, and the ones after them.
      if (/wal_checkpoint\(PASSIVE|disk_reserve|max_page_count|log_base/.test(sql)) statement = 2;
      if (statement-- <= 0) return;
      const name = `killed-${snapshots.length}.db`;
      leftBehind('a.db', name);
      snapshots.push({ name, acknowledged });
    },
    { hasRoom: true },
  );
  for (let n = 0; n < 12; n++) {
    await database.store.commit({ puts: [putPod(`p${n}`, 'absent', LARGE)] });
    acknowledged = n + 1;
  }
  expect(snapshots.length).toBeGreaterThan(20);
  for (const { name, acknowledged } of snapshots) {
    const opened = stage.open(name);
    expect((await keysOf(opened)).length, name).toBeGreaterThanOrEqual(acknowledged);
    expect(await opened.examine(), name).toBeNull();
    opened.close();
    for (const file of [name, `${name}-wal-kept`, `${name}-reserve`]) rmSync(stage.path(file), { force: true });
  }
});
