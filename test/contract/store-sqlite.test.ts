import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll } from 'vitest';
import { createOneReplica } from '../../control/store/one-replica.ts';
import { openSqliteDatabase } from '../../control/store/sqlite/sqlite-database.ts';
import type { Clock } from '../../core/clock.ts';
import { silentLog } from '../support/silent-log.ts';
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
  describeQueue(name, open, traits);
  describeLock(name, open, traits);
  describeLogStore(name, open, traits);
}

function openAt(path: string, options: StoreHarnessOptions = {}): StoreHarness {
  let skippedMs = 0;
  const clock: Clock = {
    now: () => Date.now() + skippedMs,
    monotonicMs: () => performance.now() + skippedMs,
  };
  const database = openSqliteDatabase({ path, clock, log: silentLog, ...options });
  const close = async (): Promise<void> => database.close();
  return {
    ...database,
    async passTime(ms) {
      skippedMs += ms;
    },
    async reopen() {
      await close();
      return openAt(path, options);
    },
    close,
  };
}
