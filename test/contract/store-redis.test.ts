import { afterAll, afterEach, beforeAll } from 'vitest';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseRedisUrl } from '../../control/store/redis/redis-address.ts';
import { connectRedis } from '../../control/store/redis/redis-client.ts';
import { openRedisDatabase } from '../../control/store/redis/redis-database.ts';
import type { Reply } from '../../control/store/redis/redis-reply.ts';
import { createStoreMemory } from '../../control/store/store-guard.ts';
import { RedisServer } from '../support/redis-server.ts';
import { run } from '../support/run.ts';
import { silentLog } from '../support/silent-log.ts';
import { until } from '../support/until.ts';
import { describeHistory } from './history.suite.ts';
import { describeLock } from './lock.suite.ts';
import { describeLogStore } from './log-store.suite.ts';
import { describeQueue } from './queue.suite.ts';
import { describeReplicas } from './replicas.suite.ts';
import type { OpenStoreHarness, StoreCopy, StoreHarness, StoreHarnessOptions } from './store-harness.ts';
import { describeStore } from './store.suite.ts';

let server: RedisServer;
let cluster: RedisServer;
beforeAll(async () => {
  server = await RedisServer.start();
  cluster = await RedisServer.start({ settings: ['cluster-enabled yes'] });
  const cli = (...args: readonly string[]) => run('redis-cli', ['-p', String(cluster.port), ...args]);
  await cli('CLUSTER', 'ADDSLOTSRANGE', '0', '16383');
  await until('the cluster works', async () => (await cli('CLUSTER', 'INFO')).stdout.includes('cluster_state:ok'));
});
afterAll(async () => {
  await server.dispose();
  await cluster.dispose();
});

/** Each database has a site, and with it keys, of its own. */
let sites = 0;
const open: OpenStoreHarness = (options) => openSite(server, `site-${++sites}`, options);
/** Refuses every command and script whose keys do not lie in one slot. */
const openInCluster: OpenStoreHarness = (options) => openSite(cluster, `site-${++sites}`, options);

for (const describeLaws of [describeStore, describeHistory, describeQueue, describeLock, describeLogStore]) {
  describeLaws('Redis', open, { keepsData: true });
  describeLaws('a Redis Cluster of one node', openInCluster, { keepsData: true });
}

const opened: { close(): void }[] = [];
afterEach(() => {
  for (const database of opened.splice(0)) database.close();
});
describeReplicas(
  'Redis',
  () => {
    const site = `site-${++sites}`;
    return async (replicaId) => {
      const database = await openRedisDatabase({ url: server.url, site, replicaId, shared: 'same', log: silentLog });
      opened.push(database);
      return database.replicas;
    };
  },
  { canBeMany: true },
);

async function openSite(
  on: RedisServer,
  site: string,
  options: StoreHarnessOptions = {},
  memory = createStoreMemory(),
): Promise<StoreHarness> {
  const database = await openRedisDatabase({ url: on.url, site, log: silentLog, memory, ...options });
  const prefix = `podgate:{${site}}:`;
  const close = async (): Promise<void> => database.close();
  const harness: StoreHarness = {
    ...database,
    // The server has its own clock.
    passTime: (ms) => sleep(ms),
    async reopen() {
      await close();
      return openSite(on, site, options, memory);
    },
    copy: () => dump(on, prefix),
    async exchange(copy) {
      await restore(on, prefix, copy ?? {});
      return harness;
    },
    async fingerprint() {
      const keys = Object.entries(await dump(on, prefix)).filter(([name]) => name !== 'meta' && name !== 'replicas');
      // Of `meta`, which holds the age.
      const fields = ['id', 'commits', 'fence_given', 'fence_used', 'queue_seq', 'queue_turn', 'replaces'];
      const meta = await admin(on, (send) => send(['HMGET', `${prefix}meta`, ...fields]));
      return JSON.stringify([keys.map(([name, value]) => [name, value.toString('base64')]).sort(), meta]);
    },
    close,
  };
  return harness;
}

type Send = (args: readonly (string | Buffer)[], asBuffer?: boolean) => Promise<Reply>;

/** With commands of whoever runs the server. */
async function admin<T>(on: RedisServer, work: (send: Send) => Promise<T>): Promise<T> {
  const address = parseRedisUrl(on.url);
  const client = await connectRedis({ address, ca: null, connectMs: 5_000, onLost: () => undefined });
  try {
    return await work((args, asBuffer = false) => client.send(args, { deadlineMs: 5_000, asBuffer }));
  } finally {
    client.destroy();
  }
}

/** All keys of a site, by their names without the prefix. */
async function dump(on: RedisServer, prefix: string): Promise<StoreCopy> {
  return admin(on, async (send) => {
    const keys = (await send(['KEYS', '*'])) as string[];
    const ours = keys.filter((key) => key.startsWith(prefix)).sort();
    const values = await Promise.all(ours.map((key) => send(['DUMP', key], true)));
    return Object.fromEntries(ours.map((key, at) => [key.slice(prefix.length), values[at] as Buffer]));
  });
}

/** In one step, under whoever uses the site. */
async function restore(on: RedisServer, prefix: string, copy: StoreCopy): Promise<void> {
  await admin(on, async (send) => {
    const present = Object.keys(await dump(on, prefix)).map((name) => prefix + name);
    const replies = [
      send(['MULTI']),
      ...present.map((key) => send(['DEL', key])),
      ...Object.entries(copy).map(([name, value]) => send(['RESTORE', prefix + name, '0', value])),
      send(['EXEC']),
    ];
    await Promise.all(replies);
  });
}
