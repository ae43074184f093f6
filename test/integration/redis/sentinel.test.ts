import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parseRedisTarget } from '../../../control/store/redis/redis-address.ts';
import { openRedisDatabase, type RedisDatabase } from '../../../control/store/redis/redis-database.ts';
import { RedisSentinels } from '../../support/redis-sentinels.ts';
import { RedisServer } from '../../support/redis-server.ts';
import { run } from '../../support/run.ts';
import { silentLog } from '../../support/silent-log.ts';
import { until } from '../../support/until.ts';
import { outcome, putPod, SITE } from './redis-stage.ts';

const SETTINGS = ['requirepass geheim', 'masterauth geheim', 'repl-diskless-sync-delay 0'];

let master: RedisServer;
let replica: RedisServer;
let sentinels: RedisSentinels;
let opened: RedisDatabase[];

beforeEach(async () => {
  opened = [];
  master = await RedisServer.start({ settings: SETTINGS });
  replica = await RedisServer.start({ settings: [...SETTINGS, `replicaof 127.0.0.1 ${master.port}`] });
  await until('the replica is in step', async () => (await info(replica)).includes('master_link_status:up'));
  sentinels = await RedisSentinels.start(3, master.port, ['sentinel auth-pass pods geheim']);
  await until('the Sentinels know each other and the replica', async () => {
    const known = await Promise.all(
      sentinels.ports.map((port) => cli(port, 'SENTINEL', 'MASTER', 'pods').then((text) => text.split('\n'))),
    );
    const field = (lines: readonly string[], name: string): string => lines[lines.indexOf(name) + 1] ?? '';
    return known.every((lines) => field(lines, 'num-other-sentinels') === '2' && field(lines, 'num-slaves') === '1');
  });
}, 60_000);
afterEach(async () => {
  for (const database of opened) database.close();
  await sentinels.dispose();
  await replica.dispose();
  await master.dispose();
});

async function cli(port: number, ...args: readonly string[]): Promise<string> {
  return (await run('redis-cli', ['-p', String(port), ...args], { env: { REDISCLI_AUTH: '' } })).stdout.trim();
}

async function info(server: RedisServer): Promise<string> {
  const env = { REDISCLI_AUTH: 'geheim' };
  return (await run('redis-cli', ['-p', String(server.port), 'INFO', 'replication'], { env })).stdout;
}

async function open(more: { copies?: number } = {}): Promise<RedisDatabase> {
  const url = `redis+sentinel://:geheim@${sentinels.hosts}/pods`;
  const database = await openRedisDatabase({ url, site: SITE, log: silentLog, deadlineMs: 1_500, ...more });
  opened.push(database);
  return database;
}

/** Writes pods until told to stop; answers which were acknowledged and which may be there. */
function writers({ store }: RedisDatabase, count: number) {
  const acknowledged: string[] = [];
  let isStopped = false;
  const work = Array.from({ length: count }, async (_, writer) => {
    for (let number = 0; !isStopped; number++) {
      const key = `pod-${writer}-${number}`;
      if ((await outcome(store.commit({ puts: [putPod(key, 'absent')] }))) === 'done') acknowledged.push(key);
      // A call fails at once while there is no connection: without a pause nothing else would get a turn.
      else await delay(5);
    }
  });
  return {
    acknowledged,
    async stop(): Promise<void> {
      isStopped = true;
      await Promise.all(work);
    },
  };
}

async function missing({ store }: RedisDatabase, keys: readonly string[]): Promise<readonly string[]> {
  // On a slow machine a WAIT of the writers may have cost the connection, which then comes anew.
  const all = await until('a list of all', () => store.list('pod', { limit: 100_000 }).catch(() => null));
  const found = new Set(all.map(({ key }) => key));
  return keys.filter((key) => !found.has(key));
}

describe('with Sentinel and WAIT for one replica, which is the default', () => {
  it('a master killed during writes loses nothing that was acknowledged, and work continues on the next one', async () => {
    const database = await open();
    const before = writers(database, 8);
    await until('some are written', () => before.acknowledged.length > 100);
    await master.kill();
    await until('the replica is the master', async () => (await info(replica)).includes('role:master'));
    await until('reads are answered by it', async () => (await outcome(database.store.identity())) === 'done');
    // Alone, it acknowledges nothing: who would have a second copy?
    expect(await outcome(database.store.commit({ puts: [putPod('alone', 'absent')] }))).toBe('store.unavailable');
    await before.stop();
    expect(await missing(database, before.acknowledged)).toEqual([]);

    await master.start();
    await until('the old master follows', async () => (await info(master)).includes('role:slave'), {
      timeoutMs: 40_000,
    });
    const again = await until('commits are acknowledged again', async () =>
      (await outcome(database.store.commit({}))) === 'done' ? true : null,
    );
    expect(again).toBe(true);
    expect(await missing(database, before.acknowledged)).toEqual([]);
  }, 90_000);

  it('a replica that does not follow prevents commits from being acknowledged, but not reads', async () => {
    const { store } = await open();
    expect(await outcome(store.commit({ puts: [putPod('a', 'absent')] }))).toBe('done');
    replica.signal('SIGSTOP');
    expect(await outcome(store.commit({ puts: [putPod('b', 'absent')] }))).toBe('store.unavailable');
    expect(await store.get('pod', 'a')).not.toBeNull();
    replica.signal('SIGCONT');
    await until('it follows', async () => (await outcome(store.commit({}))) === 'done');
  });

  it('a failover by an operator is followed, even while the old master is running', async () => {
    const { store } = await open();
    expect(await outcome(store.commit({ puts: [putPod('a', 'absent')] }))).toBe('done');
    await cli(sentinels.ports[0] ?? 0, 'SENTINEL', 'FAILOVER', 'pods');
    await until('the replica is the master', async () => (await info(replica)).includes('role:master'));
    await until('commits go on', async () => (await outcome(store.commit({}))) === 'done', { timeoutMs: 40_000 });
    expect((await info(replica)).match(/role:master[^]*connected_slaves:1/)).not.toBeNull();
    expect(await store.get('pod', 'a')).not.toBeNull();
  }, 60_000);
});

describe('with Sentinel and without WAIT', () => {
  it('a failover loses what the replica did not have yet, and the store is suspect', async () => {
    const database = await open({ copies: 0 });
    expect(await outcome(database.store.commit({ puts: [putPod('both', 'absent')] }))).toBe('done');
    await until('the replica has it', async () => {
      const offsets = [await info(master), await info(replica)].map(
        (text) => /master_repl_offset:(\d+)/.exec(text)?.[1],
      );
      return offsets[0] === offsets[1];
    });
    replica.signal('SIGSTOP');
    // Its connection, too: what waits in there would reach it after all.
    await run('redis-cli', ['-p', String(master.port), 'CLIENT', 'KILL', 'TYPE', 'REPLICA'], {
      env: { REDISCLI_AUTH: 'geheim' },
    });
    expect(await outcome(database.store.commit({ puts: [putPod('lost', 'absent')] }))).toBe('done');
    await master.kill();
    replica.signal('SIGCONT');
    await until('the replica is the master', async () => (await info(replica)).includes('role:master'), {
      timeoutMs: 40_000,
    });
    await until('it answers', () => database.store.identity().catch(() => null));
    expect(await missing(database, ['both', 'lost'])).toEqual(['lost']);
    expect(database.guard.suspicion()).toBe('the store is older than last seen');
    expect(await outcome(database.store.commit({}))).toBe('store.suspect');
  }, 90_000);
});

it('an address contains Sentinels, master, user and database', () => {
  expect(parseRedisTarget('rediss+sentinel://us%40er:pw@one,two:7/pods/3')).toEqual({
    kind: 'sentinel',
    master: 'pods',
    shown: 'rediss+sentinel://one:26379,two:7/pods',
    sentinels: ['one:26379', 'two:7'].map((place) => ({
      host: place.split(':')[0],
      port: Number(place.split(':')[1]),
      tls: true,
      username: 'us@er',
      password: 'pw',
      database: 3,
      shown: `rediss://${place}`,
    })),
  });
});
