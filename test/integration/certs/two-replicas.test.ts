import type { Server } from 'node:http';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { openRedisDatabase, type RedisDatabase } from '../../../control/store/redis/redis-database.ts';
import { makeKey } from '../../../control/vault/keyring-file.ts';
import { AcmeFaults } from '../../support/acme-faults.ts';
import { Pebble } from '../../support/pebble.ts';
import { RedisServer } from '../../support/redis-server.ts';
import { silentLog } from '../../support/silent-log.ts';
import { until } from '../../support/until.ts';
import { answerAt, Stand } from './support/manager-stand.ts';

let redis: RedisServer;
let pebble: Pebble;
let faults: AcmeFaults;
let answering: Server;
const stands: Stand[] = [];
const databases: RedisDatabase[] = [];
const ending = new AbortController();
const running: Promise<void>[] = [];

beforeEach(async () => {
  [redis, pebble] = await Promise.all([RedisServer.start(), Pebble.start({ validityDays: 90 })]);
  faults = await AcmeFaults.start(pebble);
  const key = makeKey();
  for (const replicaId of ['one', 'two', 'three']) {
    const database = await openRedisDatabase({ url: redis.url, site: 'test', replicaId, log: silentLog });
    databases.push(database);
    running.push(database.replicas.run(ending.signal));
    stands.push(
      new Stand({
        database,
        keys: [key],
        files: [],
        settings: {
          server: { directoryUrl: faults.directoryUrl, ca: faults.ca, externalAccount: null },
          emails: [],
          challenges: ['http-01'],
          preferredChain: null,
          limits: { perDomain: 50, perTenant: 50, perUser: 50 },
          tenants: [{ tenant: 'dev', baseHost: 'example.org', hasWildcard: false, hasPerHost: true }],
        },
      }),
    );
  }
  // Each is asked at random: it must not matter which.
  answering = await answerAt(pebble.httpPort, stands);
});
afterEach(async () => {
  await Promise.all(stands.splice(0).map((stand) => stand.end()));
  ending.abort();
  await Promise.all(running);
  for (const database of databases.splice(0)) database.close();
  answering.close();
  await faults.close();
  await pebble.dispose();
  await redis.dispose();
});

test('one of three replicas orders, all respond to the ACME server, and all serve the certificate within a second', async () => {
  const hosts = Array.from({ length: 6 }, (_, at) => `pod${at}.pods.example.org`);
  await until('they know each other', () => databases.every(({ replicas }) => replicas.live().length === 3));
  for (const host of hosts) {
    for (const stand of stands) stand.addPod(host);
    // Clients come to all at once.
    for (const stand of stands) stand.manager.wanted(host);
  }
  await until('all serve all', () => stands.every((stand) => hosts.every((host) => stand.served(host) !== undefined)));
  const orders = faults.requests.filter(({ path }) => path === '/order-plz');
  // The base host's, too.
  await until('the base host has one', () => stands.every((stand) => stand.served('example.org') !== undefined));
  expect(orders.length).toBeLessThanOrEqual(hosts.length + 1);
  expect(faults.count('/sign-me-up')).toBe(1);
  const spreads = hosts.map((host) => {
    const times = stands.map(({ changes }) => changes.find(({ names }) => names.includes(host))?.atMs ?? Infinity);
    return Math.max(...times) - Math.min(...times);
  });
  console.log(`from the first replica to the last: ${spreads.map((ms) => ms.toFixed(0)).join(', ')} ms`);
  expect(Math.max(...spreads)).toBeLessThan(1_000);
  for (const host of hosts) {
    expect(new Set(stands.map((stand) => stand.served(host)?.certificatePem)).size).toBe(1);
  }
  expect(stands.map((stand) => stand.manager.report().counts.issued).filter((issued) => issued > 0)).toHaveLength(1);
});

test('when the ordering replica ends during an order, another finishes the same order', async () => {
  const host = 'handed.pods.example.org';
  for (const stand of stands) stand.addPod(host);
  await until('the base host has one', () => stands.every((stand) => stand.served('example.org') !== undefined));
  faults.requests.length = 0;
  let isHeld = true;
  faults.fault = ({ path }) => (isHeld && path.startsWith('/authZ/') ? 'silence' : null);
  stands[0]?.manager.wanted(host);
  await until('it is on its way', () => faults.count('/authZ/') > 0);
  const acting = stands.find(({ manager }) => manager.report().counts.issued > 0);
  if (acting === undefined) throw new Error('nobody has ordered');
  await acting.end();
  // Nor is it asked for answers any more: the ACME server comes several times, and wants all of them.
  stands.splice(stands.indexOf(acting), 1);
  isHeld = false;
  const others = [...stands];
  await until('the others serve it', () => others.every((stand) => stand.served(host) !== undefined), {
    timeoutMs: 40_000,
  });
  expect(faults.requests.filter(({ path }) => path === '/order-plz')).toHaveLength(1);
});
