import { afterEach, describe, expect, it } from 'vitest';
import { parseRedisUrl } from '../../../control/store/redis/redis-address.ts';
import { redisKeys } from '../../../control/store/redis/redis-keys.ts';
import { aclRule } from '../../../control/store/redis/rights.ts';
import { openRedisDatabase } from '../../../control/store/redis/redis-database.ts';
import type { Logger } from '../../../core/logger.ts';
import { PodgateError } from '../../../core/errors.ts';
import { committed } from '../../contract/store-harness.ts';
import { createTestAuthority } from '../../support/test-authority.ts';
import { silentLog } from '../../support/silent-log.ts';
import { until } from '../../support/until.ts';
import { createRedisStage, outcome, putPod, read, SITE, type RedisStage } from './redis-stage.ts';

let stage: RedisStage | null = null;
afterEach(async () => {
  await stage?.end();
  stage = null;
});

async function stageWith(...settings: readonly string[]): Promise<RedisStage> {
  stage = await createRedisStage({ settings });
  return stage;
}

/** The sentences with which opening is refused. */
async function refusal(open: Promise<unknown>): Promise<string> {
  try {
    await open;
  } catch (error) {
    if (error instanceof PodgateError && error.code === 'config.invalid') return error.publicMessages.join(' ');
    throw error;
  }
  throw new Error('it was not refused');
}

function withUser(stageOf: RedisStage, userAndPassword: string): string {
  return stageOf.server.url.replace('://', `://${userAndPassword}@`);
}

describe('a server that could lose acknowledged data', () => {
  it.each([
    ['appendfsync everysec', 'appendfsync is everysec and must be always'],
    ['appendonly no', 'appendonly is no and must be yes'],
    ['no-appendfsync-on-rewrite yes', 'no-appendfsync-on-rewrite is yes and must be no'],
    ['maxmemory-policy allkeys-lru', 'maxmemory-policy is allkeys-lru and must be noeviction'],
  ])('by %s is rejected', async (setting, sentence) => {
    const { open } = await stageWith(setting);
    expect(await refusal(open())).toContain(sentence);
  });

  it('gets all problems reported at once', async () => {
    const { open } = await stageWith('appendfsync no', 'appendonly no', 'maxmemory-policy volatile-ttl');
    expect(await refusal(open())).toMatch(/appendonly.*appendfsync.*maxmemory-policy/);
  });

  it('is not used when it comes back that way', async () => {
    const { open, server } = await stageWith();
    const { store } = await open();
    await server.kill();
    await server.start(['appendfsync everysec']);
    await until('the loss is noticed', async () => (await outcome(store.identity())) === 'store.unavailable');
    await expect(until('it is used', () => store.identity().catch(() => null), { timeoutMs: 1_000 })).rejects.toThrow(
      'not within',
    );
    await server.kill();
    await server.start([]);
    await until('an answer again', () => store.identity().catch(() => null));
  });

  it('by being a replica, or a node of a cluster, is rejected', async () => {
    const { open, admin } = await stageWith();
    await admin('REPLICAOF', '127.0.0.1', '1');
    expect(await refusal(open())).toContain('is a replica');
    await stage?.end();
    // One that has not all slots, as each node of several.
    const cluster = await stageWith('cluster-enabled yes');
    expect(await refusal(cluster.open())).toContain('Redis Cluster');
  });
});

describe('users', () => {
  it('with a password are accepted; without or with another one, rejected by name, never by password', async () => {
    const { server, open } = await stageWith('requirepass geheim');
    const here = stage ?? (await stageWith());
    await committed((await open({ url: withUser(here, ':geheim') })).store.commit({ puts: [putPod('a', 'absent')] }));
    expect(await refusal(open())).toContain('NOAUTH');
    const logged: string[] = [];
    const note = (fields: object, message: string): number => logged.push(JSON.stringify(fields), message);
    const log: Logger = { ...silentLog, info: note, warn: note, error: note, debug: note, child: () => log };
    const wrong = await refusal(open({ url: withUser(here, ':falsch'), log }));
    expect(wrong).toMatch(/refuses the user.*WRONGPASS/);
    const { store } = await open({ url: withUser(here, ':geheim'), log });
    await server.kill();
    const failure: unknown = await store.identity().catch((error: unknown) => error);
    expect(failure).toMatchObject({ code: 'store.unavailable' });
    expect(logged.length).toBeGreaterThan(0);
    expect(`${wrong} ${logged.join(' ')} ${String(failure)}`).not.toMatch(/geheim|falsch/);
  });

  it('of an ACL need the keys of their site and a few commands, as the documentation says', async () => {
    const here = await stageWith(
      `user podgate on >p%40ss ${aclRule(redisKeys(SITE), false)}`,
      'user default off nopass ~* &* +@all',
    );
    const { store, queue, logs, lock, replicas } = await here.open({ url: withUser(here, 'podgate:p%2540ss') });
    await committed(store.commit({ puts: [putPod('a', 'absent')], enqueue: [{ key: 'a' }] }));
    const claim = await queue.claim(1_000, AbortSignal.timeout(5_000));
    expect(claim?.key).toBe('a');
    await logs.appendAction('uid', 'line');
    await logs.saveOutput('uid', 1, 'text');
    expect(await logs.output('uid')).toBe('text');
    await logs.remove('uid');
    const lease = await lock.acquire('name', 1_000);
    expect(lease === null ? null : await lock.renew(lease, 1_000)).toBe(true);
    if (lease !== null) await lock.release(lease);
    if (claim !== null) {
      expect(await queue.extend(claim, 1_000)).toBe(true);
      expect(await queue.park(claim, 'why', 60_000)).toBe(true);
    }
    expect(await queue.parked(10)).toHaveLength(1);
    expect(await queue.unpark(null)).toBe(1);
    expect((await queue.stats()).due).toBe(1);
    const again = await queue.claim(1_000, AbortSignal.timeout(5_000));
    if (again !== null) expect(await queue.acknowledge(again)).toBe(true);
    const { commits } = await store.identity();
    // Enough for the feed to be trimmed.
    for (let number = 0; number < 110; number++) await committed(store.commit({}));
    const feed = read(store, commits);
    const waiting = feed.next();
    const revision = (await store.get('pod', 'a'))?.revision ?? 0;
    await committed(store.commit({ deletes: [{ kind: 'pod', key: 'a', expected: revision, uid: 'u' }] }));
    expect(await waiting).toMatchObject({ kind: 'delete' });
    expect(await store.tombstone('pod', 'a')).not.toBeNull();
    await feed.stop();
    expect(await store.list('pod', { limit: 10 })).toEqual([]);
    expect((await store.adopt({ storeId: 'x', commits: 1_000, fence: 0, replaces: [] })).storeId).toBe('x');
    const running = new AbortController();
    const run = replicas.run(running.signal);
    await until('it hears of itself', () => replicas.live().length === 1);
    running.abort();
    await run;
    const url = withUser(here, 'podgate:p%2540ss');
    expect(await refusal(here.open({ url, site: 'other' }))).toContain('~podgate:{other}:*');
  });

  it('without one of the rights are rejected with its name, and with all required ones', async () => {
    const rule = aclRule(redisKeys(SITE), true);
    const here = await stageWith(`user podgate on >secret ${rule}`);
    const url = withUser(here, 'podgate:secret');
    const commands = rule.split(' ').filter((word) => word.startsWith('+'));
    expect(commands.length).toBeGreaterThan(30);
    for (const command of commands) {
      await here.admin('ACL', 'SETUSER', 'podgate', command.replace('+', '-'));
      const sentence = await refusal(here.open({ url, copies: 1 }));
      expect(sentence).toContain(command.slice(1));
      expect(sentence).toContain('ACL SETUSER <user> ');
      expect(sentence).not.toContain('secret');
      await here.admin('ACL', 'SETUSER', 'podgate', command);
    }
    await here.admin('ACL', 'SETUSER', 'podgate', 'resetchannels');
    expect(await refusal(here.open({ url, copies: 1 }))).toContain(`(publish, subscribe)`);
    await here.admin('ACL', 'SETUSER', 'podgate', 'resetkeys');
    expect(await refusal(here.open({ url, copies: 1 }))).toContain(rule);
  });

  it('that may not read the settings are rejected with the missing rule', async () => {
    const here = await stageWith('user podgate on >secret ~* +@all -config');
    const sentence = await refusal(here.open({ url: withUser(here, 'podgate:secret') }));
    expect(sentence).toContain('ACL SETUSER <user> +config|get');
    expect(sentence).not.toContain('secret');
  });
});

describe('TLS', () => {
  it('is used for rediss, with the certificate checked against name and CA', async () => {
    const authority = await createTestAuthority(['localhost']);
    stage = await createRedisStage({ tls: authority });
    const url = stage.server.url.replace('127.0.0.1', 'localhost');
    const { store } = await stage.open({ url, ca: authority.ca });
    await committed(store.commit({ puts: [putPod('a', 'absent')] }));
    expect(await refusal(stage.open({ url }))).toContain('is not trusted');
    expect(await refusal(stage.open({ ca: authority.ca }))).toContain('ERR_TLS_CERT_ALTNAME_INVALID');
    const plain = url.replace('rediss:', 'redis:');
    expect(await outcome(stage.open({ url: plain }))).toBe('store.unavailable');
  });
});

describe('stored data', () => {
  it('of a newer release is rejected', async () => {
    const { open, admin } = await stageWith();
    (await open()).close();
    await admin('HSET', `podgate:{${SITE}}:meta`, 'layout', '2');
    expect(await refusal(open())).toContain('newer release (layout 2');
  });

  it('is separate for each site', async () => {
    const { open } = await stageWith();
    const [one, two] = [await open({ site: 'one' }), await open({ site: 'two' })];
    await committed(one.store.commit({ puts: [putPod('a', 'absent')], enqueue: [{ key: 'a' }] }));
    expect(await two.store.list('pod', { limit: 10 })).toEqual([]);
    expect(await two.queue.stats()).toEqual({ due: 0, delayed: 0, leased: 0, parked: 0 });
    expect((await two.store.identity()).storeId).not.toBe((await one.store.identity()).storeId);
  });
});

describe('a URL', () => {
  it.each([
    '',
    'localhost:6379',
    'http://h',
    'redis://',
    'redis://h/x',
    'redis://h?a=b',
    'redis://h/0#x',
    'redis://:%zz@h',
  ])('of another form is rejected without being quoted: %s', async (url) => {
    const sentence = await refusal(openRedisDatabase({ url, site: SITE, log: silentLog }));
    expect(sentence).toMatch(/^PODGATE_REDIS_URL/);
    expect(sentence).not.toContain('%zz');
  });

  it('provides host, port, user, password and database', () => {
    expect(parseRedisUrl('rediss://us%40er:p%3Aass@[::1]:7000/3')).toEqual({
      host: '::1',
      port: 7000,
      tls: true,
      username: 'us@er',
      password: 'p:ass',
      database: 3,
      shown: 'rediss://[::1]:7000',
    });
    expect(parseRedisUrl('redis://h')).toMatchObject({ port: 6379, username: null, password: null, database: 0 });
  });
});
