/**
 * node bench/store-commit.ts [COMMITS = 2000]
 * Commits of one pod record, with one key enqueued, in SQLite and in Redis (AOF, appendfsync always, on loopback) on the
 * same disk in the same run: one writer after the other, then many at once. And from a commit to a reader of the feed.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openRedisDatabase } from '../control/store/redis/redis-database.ts';
import { openSqliteDatabase } from '../control/store/sqlite/sqlite-database.ts';
import type { Put, Store } from '../core/store.ts';
import { podRecord } from '../test/support/pod-records.ts';
import { RedisServer } from '../test/support/redis-server.ts';
import { silentLog } from '../test/support/silent-log.ts';
import { machine, quantiles } from './measure.ts';
import { helpIfAsked } from '../scripts/help.ts';

helpIfAsked(import.meta.filename);

const clock = { now: () => Date.now(), monotonicMs: () => performance.now() };
const commits = Number(process.argv[2] ?? 2_000);
const ROUNDS = 3;

const folder = mkdtempSync(join(tmpdir(), 'podgate-bench-'));
const server = await RedisServer.start();
const sqlite = openSqliteDatabase({ path: join(folder, 'a.db'), clock, log: silentLog });
const redis = await openRedisDatabase({ url: server.url, site: 'bench', log: silentLog });
/** The feed is read where the commits are made, and, as by another replica, through another connection. */
const replica = await openRedisDatabase({ url: server.url, site: 'bench', log: silentLog });
let key = 0;
try {
  console.info(machine());
  console.info('store   writers  commits/s  latency ms: median    p99   most');
  for (let round = 0; round < ROUNDS; round++) {
    for (const [name, { store }] of [
      ['sqlite', sqlite],
      ['redis', redis],
    ] as const) {
      for (const writers of [1, 8, 64]) await measure(name, store, writers);
    }
  }
  await measureFeed('sqlite', sqlite.store, sqlite.store);
  await measureFeed('redis', redis.store, redis.store);
  await measureFeed('redis, other replica', redis.store, replica.store);
} finally {
  for (const database of [sqlite, redis, replica]) database.close();
  await server.dispose();
  rmSync(folder, { recursive: true });
}

function put(name: string): Put {
  return {
    kind: 'pod',
    key: name,
    expected: 'absent',
    value: podRecord({ podId: name }),
    tenant: 'dev',
    indexes: ['user:alice'],
  };
}

async function commitOne(store: Store): Promise<void> {
  const name = `p${++key}`;
  const result = await store.commit({ puts: [put(name)], enqueue: [{ key: name, share: 'alice' }] });
  if (result.kind !== 'committed') throw new Error(result.kind);
}

async function measure(name: string, store: Store, writers: number): Promise<void> {
  const each = Math.ceil(commits / writers);
  const latencies: number[] = [];
  const startedMs = performance.now();
  await Promise.all(
    Array.from({ length: writers }, async () => {
      for (let i = 0; i < each; i++) {
        const beganMs = performance.now();
        await commitOne(store);
        latencies.push(performance.now() - beganMs);
      }
    }),
  );
  const rate = (writers * each) / ((performance.now() - startedMs) / 1000);
  const { median, p99, most } = quantiles(latencies);
  const columns = [median, p99, most].map((ms) => ms.toFixed(2).padStart(7)).join('');
  console.info(
    `${name.padEnd(7)} ${String(writers).padStart(7)} ${rate.toFixed(0).padStart(10)} ${' '.repeat(11)}${columns}`,
  );
}

/** From the call of commit to the change in a reader's hands. */
async function measureFeed(name: string, writer: Store, reader: Store): Promise<void> {
  const aborting = new AbortController();
  const { commits: after } = await reader.identity();
  const changes = reader.changes(after, aborting.signal)[Symbol.asyncIterator]();
  const latencies: number[] = [];
  for (let i = 0; i < 300; i++) {
    const next = changes.next();
    const beganMs = performance.now();
    await Promise.all([commitOne(writer), next.then(() => latencies.push(performance.now() - beganMs))]);
  }
  aborting.abort();
  await changes.next();
  const { median, p99, most } = quantiles(latencies);
  console.info(`feed, ${name}: median ${median.toFixed(2)} ms, p99 ${p99.toFixed(2)} ms, most ${most.toFixed(2)} ms`);
}
