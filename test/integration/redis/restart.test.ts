import {
  copyFileSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, describe, expect, it } from 'vitest';
import { examineRedis } from '../../../control/store/redis/examine-redis.ts';
import { LOADING_USER_RULE } from '../../../control/store/redis/durability.ts';
import type { RedisDatabase } from '../../../control/store/redis/redis-database.ts';
import { createStoreMemory } from '../../../control/store/store-guard.ts';
import { PodgateError } from '../../../core/errors.ts';
import { systemClock } from '../../../main/system-clock.ts';
import { committed } from '../../contract/store-harness.ts';
import { repairOfOperationsPage, usersOfOperationsPage } from '../../support/redis-acl.ts';
import { run } from '../../support/run.ts';
import { until } from '../../support/until.ts';
import { createRedisStage, outcome, putPod, SITE, type RedisStage } from './redis-stage.ts';

const PASSWORD = 'secret';
const WRITERS = 4;
/** As docs/operations.md had it until the user `default` had all rights. */
const OLD_DEFAULT_USER = 'user default on nopass resetkeys resetchannels -@all +ping';

let stage: RedisStage | null = null;
afterEach(async () => {
  await stage?.end();
  stage = null;
});

/** A server with the ACL file of docs/operations.md, changed by `edit`. */
async function stageWithAcl(edit: (acl: string) => string = (acl) => acl) {
  const here = await createRedisStage();
  stage = here;
  const file = join(here.server.folder, 'users.acl');
  const settings = [`aclfile ${file}`];
  const writeAcl = (change: (acl: string) => string): void =>
    writeFileSync(file, change(usersOfOperationsPage({ site: SITE, password: PASSWORD })), { mode: 0o600 });
  writeAcl(edit);
  await here.server.kill();
  await here.server.start(settings);
  const url = here.server.url.replace('://', `://podgate:${PASSWORD}@`);
  return { ...here, url, settings, writeAcl };
}

/** Writes until stopped; answers the keys that were acknowledged. */
function writeUnderLoad(database: RedisDatabase) {
  const stop = new AbortController();
  const acknowledged: string[] = [];
  let next = 0;
  const writers = Array.from({ length: WRITERS }, async () => {
    while (!stop.signal.aborted) {
      const key = `p${next++}`;
      const put = putPod(key, 'absent');
      if ((await outcome(database.store.commit({ puts: [put], enqueue: [{ key }] }))) === 'done')
        acknowledged.push(key);
      else await sleep(5);
    }
  });
  return {
    acknowledged,
    stop: async (): Promise<readonly string[]> => {
      stop.abort();
      await Promise.all(writers);
      return acknowledged;
    },
  };
}

async function keysOf(database: RedisDatabase): Promise<ReadonlySet<string>> {
  const records = await until('the store is read again', () =>
    database.store.list('pod', { limit: 1_000_000 }).catch(() => null),
  );
  return new Set(records.map(({ key }) => key));
}

async function refusal(open: Promise<unknown>): Promise<string> {
  try {
    await open;
  } catch (error) {
    if (error instanceof PodgateError && error.code === 'config.invalid') return error.publicMessages.join(' ');
    throw error;
  }
  throw new Error('it was not refused');
}

async function doctorOf(url: string): Promise<readonly string[]> {
  const lines: string[] = [];
  for await (const finding of examineRedis({ url, ca: null, site: SITE, clock: systemClock })) {
    lines.push(`${finding.level} ${finding.subject}: ${finding.message}`);
  }
  return lines;
}

function linesOf(acl: string): ReadonlySet<string> {
  return new Set(acl.split('\n').filter((line) => line !== ''));
}

/** The increments of the append-only file; what was there before them is in the base. */
function increments(folder: string): readonly string[] {
  const directory = join(folder, 'appendonlydir');
  return readdirSync(directory)
    .filter((name) => name.endsWith('.incr.aof'))
    .map((name) => join(directory, name));
}

describe('a Redis with the users of docs/operations.md', () => {
  it('loses no acknowledged record when it is killed and started again under load', async () => {
    const { open, url, server, settings } = await stageWithAcl();
    const database = await open({ url });
    const load = writeUnderLoad(database);
    for (let restart = 0; restart < 3; restart++) {
      const before = load.acknowledged.length;
      await until('records are written', () => load.acknowledged.length > before + 20);
      await server.kill();
      await server.start(settings);
    }
    const after = load.acknowledged.length;
    await until('records are written again', () => load.acknowledged.length > after);
    const acknowledged = await load.stop();
    const kept = await keysOf(database);
    expect(acknowledged.filter((key) => !kept.has(key))).toEqual([]);
    expect(await doctorOf(url)).toContainEqual(expect.stringMatching(/^ok Redis restart: /));
  });

  it('admits nobody without a password, except for the ping of its probes', async () => {
    const { server } = await stageWithAcl();
    const cli = (...args: readonly string[]) => run('redis-cli', ['-p', String(server.port), '-e', ...args]);
    expect((await cli('ping')).code).not.toBe(0);
    const probe = ['--user', 'probe', '--pass', 'none', '--no-auth-warning'];
    expect(await cli(...probe, 'ping')).toMatchObject({ code: 0, stdout: 'PONG\n' });
    expect((await cli(...probe, 'get', `podgate:{${SITE}}:meta`)).code).not.toBe(0);
    expect((await cli(...probe, 'acl', 'whoami')).code).not.toBe(0);
  });
});

describe('a Redis that would lose records at its next restart', () => {
  it.each([
    ['limits its user default to ping', OLD_DEFAULT_USER, /may not run .*HSET/],
    ['limits it to other keys', 'user default off nopass ~other:* &* +@all', /may not run .*HSET/],
    ['leaves out a command that scripts write', 'user default off nopass ~* &* +@all -zadd', /may not run ZADD\./],
    ['leaves out transactions', 'user default off nopass ~* &* +@all -exec -multi', /may not run MULTI, EXEC\./],
    ['has none with any right, as Redis makes it by "off" alone', 'user default off', /may not run .*HSET/],
  ])('because it %s is rejected before anything is written', async (_how, rule, sentence) => {
    const { open, url } = await stageWithAcl((acl) => acl.replace(/^user default .*$/m, rule));
    const reason = await refusal(open({ url }));
    expect(reason).toMatch(sentence);
    expect(reason).toContain(LOADING_USER_RULE);
    expect(await doctorOf(url)).toContainEqual(expect.stringMatching(/^fail Redis restart: At its next restart/));
  });

  it('or does not allow the check is rejected, and the doctor finds out by other means', async () => {
    const { open, url } = await stageWithAcl((acl) =>
      acl.replace(/^user default .*$/m, OLD_DEFAULT_USER).replace(' +acl|dryrun', ''),
    );
    expect(await refusal(open({ url }))).toContain('ACL SETUSER <user> +acl|dryrun');
    expect(await doctorOf(url)).toContainEqual(expect.stringMatching(/^fail Redis restart: At its next restart/));
  });

  it('is not used any more once its users have changed, and can be repaired without losing a record', async () => {
    // With the file of an earlier release: a process of that release has written records, and Redis has not restarted yet.
    const { open, url, server, settings, writeAcl } = await stageWithAcl();
    const memory = createStoreMemory();
    const database = await open({ url, memory });
    const load = writeUnderLoad(database);
    await until('records are written', () => load.acknowledged.length > 50);
    const acknowledged = await load.stop();
    writeAcl((acl) => acl.replace(/^user default .*$/m, OLD_DEFAULT_USER));
    await server.kill();
    await server.start(settings);
    // What the old file does: the server has dropped the transactions. Nobody of ours writes there.
    expect(server.output).toContain('AOF-loading-client');
    await sleep(500);
    expect(await outcome(database.store.commit({ puts: [putPod('late', 'absent')] }))).not.toBe('done');
    // The repair of docs/operations.md: the file first, then a restart. The append-only file still has everything.
    writeAcl((acl) =>
      acl
        .replace(/^user default .*$/m, OLD_DEFAULT_USER)
        .replace(/^user probe .*\n/m, '')
        .replace(' +acl|dryrun', ''),
    );
    mkdirSync(join(server.folder, 'secrets'));
    renameSync(join(server.folder, 'users.acl'), join(server.folder, 'secrets/users.acl'));
    expect(await run('/bin/sh', ['-ec', repairOfOperationsPage()], { cwd: server.folder })).toMatchObject({ code: 0 });
    const repaired = readFileSync(join(server.folder, 'secrets/users.acl'), 'utf8');
    expect(linesOf(repaired)).toEqual(linesOf(usersOfOperationsPage({ site: SITE, password: PASSWORD })));
    writeAcl(() => repaired);
    await server.kill();
    await server.start(settings);
    const kept = await keysOf(database);
    expect(acknowledged.filter((key) => !kept.has(key))).toEqual([]);
    await until('it is written to again', async () => {
      return (await outcome(database.store.commit({ puts: [putPod('again', 'absent')] }))) === 'done';
    });
  });

  it('because its append-only file was enabled at run time is rejected for a new store', async () => {
    stage = await createRedisStage({ settings: ['appendonly no'] });
    const { open, admin, server } = stage;
    await admin('CONFIG', 'SET', 'appendonly', 'yes');
    await until('its file is written', async () =>
      String(await admin('INFO', 'persistence')).includes('aof_rewrite_in_progress:0'),
    );
    expect(await refusal(open())).toMatch(/may have been switched on while it ran.*redis\.conf says "appendonly yes"/);
    expect(await doctorOf(server.url)).toContainEqual(expect.stringMatching(/^warn Redis append-only file/));
    // What the message says.
    await server.kill();
    await server.start(['appendonly yes']);
    await committed((await open()).store.commit({ puts: [putPod('a', 'absent')] }));
    // A rewrite later in its life takes the proof from nobody.
    await admin('BGREWRITEAOF');
    await until('it is rewritten', async () => /aof_rewrites:1\r/.test(String(await admin('INFO', 'persistence'))));
    await committed((await open()).store.commit({ puts: [putPod('b', 'absent')] }));
    expect(await doctorOf(server.url)).toContainEqual(expect.stringMatching(/^ok Redis append-only file/));
  });
});

describe('a Redis that comes back with less than it acknowledged', () => {
  async function filled() {
    const here = await createRedisStage();
    stage = here;
    const database = await here.open();
    const load = writeUnderLoad(database);
    await until('records are written', () => load.acknowledged.length > 50);
    return { ...here, database, acknowledged: await load.stop() };
  }

  it('because its file was cut short is suspect, and nothing is written to it', async () => {
    const { server, database } = await filled();
    await server.kill();
    const [file = ''] = increments(server.folder);
    truncateSync(file, Math.floor(statSync(file).size / 2));
    await server.start();
    await until('an answer again', () => database.store.identity().catch(() => null));
    expect(await outcome(database.store.commit({ puts: [putPod('late', 'absent')] }))).toBe('store.suspect');
  });

  it('because it starts from an older snapshot without its append-only file is rejected; with the file everything is back', async () => {
    const { server, database, admin, acknowledged } = await filled();
    await admin('SAVE');
    copyFileSync(join(server.folder, 'dump.rdb'), join(server.folder, 'older.rdb'));
    await committed(database.store.commit({ puts: [putPod('newest', 'absent')] }));
    await server.kill();
    copyFileSync(join(server.folder, 'older.rdb'), join(server.folder, 'dump.rdb'));
    await server.start(['appendonly no']);
    await sleep(1_000);
    expect(await outcome(database.store.commit({ puts: [putPod('late', 'absent')] }))).toBe('store.unavailable');
    await server.kill();
    // An older snapshot beside the file changes nothing.
    await server.start();
    const kept = await keysOf(database);
    expect([...acknowledged, 'newest'].filter((key) => !kept.has(key))).toEqual([]);
  });
});
