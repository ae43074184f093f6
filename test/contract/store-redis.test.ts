import { afterAll, afterEach, beforeAll } from 'vitest';
import { setTimeout as sleep } from 'node:timers/promises';
import { openRedisDatabase } from '../../control/store/redis/redis-database.ts';
import { RedisServer } from '../support/redis-server.ts';
import { run } from '../support/run.ts';
import { silentLog } from '../support/silent-log.ts';
import { until } from '../support/until.ts';
import { describeLock } from './lock.suite.ts';
import { describeLogStore } from './log-store.suite.ts';
import { describeQueue } from './queue.suite.ts';
import { describeReplicas } from './replicas.suite.ts';
import type { OpenStoreHarness, StoreHarness, StoreHarnessOptions } from './store-harness.ts';
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

for (const describeLaws of [describeStore, describeQueue, describeLock, describeLogStore]) {
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

async function openSite(on: RedisServer, site: string, options: StoreHarnessOptions = {}): Promise<StoreHarness> {
  const database = await openRedisDatabase({ url: on.url, site, log: silentLog, ...options });
  const close = async (): Promise<void> => database.close();
  return {
    ...database,
    // The server has its own clock.
    passTime: (ms) => sleep(ms),
    async reopen() {
      await close();
      return openSite(on, site, options);
    },
    close,
  };
}
