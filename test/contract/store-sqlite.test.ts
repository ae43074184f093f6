import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterAll } from 'vitest';
import { createOneReplica } from '../../control/store/one-replica.ts';
import { createStoreMemory } from '../../control/store/store-guard.ts';
import { openSqliteDatabase } from '../../control/store/sqlite/sqlite-database.ts';
import type { Clock } from '../../core/clock.ts';
import { silentLog } from '../support/silent-log.ts';
import { describeHistory } from './history.suite.ts';
import { describeLock } from './lock.suite.ts';
import { describeLogStore } from './log-store.suite.ts';
import { describeQueue } from './queue.suite.ts';
import { describeReplicas } from './replicas.suite.ts';
import type { OpenStoreHarness, StoreHarness, StoreHarnessOptions, StoreTraits } from './store-harness.ts';
import { describeStore } from './store.suite.ts';

const folder = mkdtempSync(join(tmpdir(), 'podgate-store-contract-'));
let files = 0;
afterAll(() => rmSync(folder, { recursive: true }));

const inFile: OpenStoreHarness = async (options) => openAt(join(folder, `${++files}.db`), options);
const inMemory: OpenStoreHarness = async (options) => openAt(':memory:', options);

describeAll('a SQLite file', inFile, { keepsData: true });
describeAll('SQLite in memory', inMemory, { keepsData: false });

describeReplicas('SQLite', () => async (id) => createOneReplica({ id, shared: '' }), { canBeMany: false });

function describeAll(name: string, open: OpenStoreHarness, traits: StoreTraits): void {
  describeStore(name, open, traits);
  if (traits.keepsData) describeHistory(name, open);
  describeQueue(name, open, traits);
  describeLock(name, open, traits);
  describeLogStore(name, open, traits);
}

function openAt(path: string, options: StoreHarnessOptions = {}, memory = createStoreMemory()): StoreHarness {
  let skippedMs = 0;
  const clock: Clock = {
    now: () => Date.now() + skippedMs,
    monotonicMs: () => performance.now() + skippedMs,
  };
  const database = openSqliteDatabase({ path, clock, log: silentLog, memory, ...options });
  const close = async (): Promise<void> => database.close();
  return {
    ...database,
    async passTime(ms) {
      skippedMs += ms;
    },
    async reopen() {
      await close();
      return openAt(path, options, memory);
    },
    async copy() {
      const copy = join(folder, `copy-${++files}.db`);
      await database.copyTo(copy);
      return { database: readFileSync(copy) };
    },
    async exchange(copy) {
      await close();
      rmSync(path);
      if (copy?.['database'] !== undefined) writeFileSync(path, copy['database']);
      return openAt(path, options, memory);
    },
    async fingerprint() {
      const copy = join(folder, `copy-${++files}.db`);
      await database.copyTo(copy);
      const reader = new DatabaseSync(copy, { readOnly: true });
      const tables = reader.prepare("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name").all();
      const rows = tables.map(({ name }) => reader.prepare(`SELECT * FROM ${String(name)}`).all());
      reader.close();
      return JSON.stringify(rows, (key, value: unknown) => (key === 'age_ms' ? undefined : value));
    },
    close,
  };
}
