import { cpSync, readdirSync, rmSync, statSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { Orchestrator } from '../../../core/orchestrator.ts';
import { podKey } from '../../../core/ids.ts';
import { startRunChange } from '../../../core/lifecycle/plan.ts';
import type { PodRecord } from '../../../core/pod.ts';
import { podPut } from '../../../core/pod-put.ts';
import { committed } from '../../contract/store-harness.ts';
import { podRecord, podSpec } from '../../support/pod-records.ts';
import { until } from '../../support/until.ts';
import { MemoryOrchestrator } from '../replicas/memory-orchestrator.ts';
import { Replica } from '../replicas/replica.ts';
import { createRedisStage, putPod, SITE, type RedisStage } from './redis-stage.ts';

/** In full: PODGATE_EXCHANGES=200 vitest run test/integration/store/exchanged.test.ts test/integration/redis/exchanged.test.ts */
const ROUNDS = Number(process.env['PODGATE_EXCHANGES'] ?? 8);
/** On a machine that others slow down; it takes less than half. */
const ROUND_MS = 10_000;
const KINDS = ['older', 'empty', 'foreign', 'older', 'truncated'] as const;
const PREFIX = `podgate:{${SITE}}:`;
const POD_IDS = ['ape', 'bee', 'cat', 'dog', 'eel', 'fox'];

interface Act {
  readonly replica: string;
  readonly what: 'ensure' | 'remove';
  readonly podId: string;
  readonly uid: string;
  readonly run: number;
  readonly atMs: number;
}

/** Notes who touched which workload. */
class WatchedOrchestrator extends MemoryOrchestrator {
  readonly acts: Act[] = [];

  override view(replica: string): Orchestrator {
    const view = super.view(replica);
    const note = (what: Act['what'], { podId, uid }: { podId: string; uid: string }, run: number): void =>
      void this.acts.push({ replica, what, podId, uid, run, atMs: performance.now() });
    return {
      ...view,
      ensure: (workload, signal) => {
        note('ensure', workload, workload.run);
        return view.ensure(workload, signal);
      },
      remove: (ref, options, signal) => {
        note('remove', ref, options.run);
        return view.remove(ref, options, signal);
      },
    };
  }
}

let stage: RedisStage;
let workloads: WatchedOrchestrator;
let replicas: Replica[];
beforeEach(async () => {
  stage = await createRedisStage();
  workloads = new WatchedOrchestrator();
  replicas = [];
  for (const name of ['one', 'two']) replicas.push(await Replica.start(name, stage.server.url, workloads));
});
afterEach(async () => {
  for (const replica of replicas) await replica.end();
  await stage.end();
});

/** Moves, in one step, all keys of `from` out of the way, and those that `to` has kept into their place. */
const MOVE = `
  for _, key in ipairs(redis.call('KEYS', ARGV[1] .. '*')) do
    if ARGV[2] == '' then redis.call('UNLINK', key) else redis.call('RENAME', key, ARGV[2] .. key) end
  end
  for _, key in ipairs(ARGV[3] ~= '' and redis.call('KEYS', ARGV[3] .. ARGV[1] .. '*') or {}) do
    redis.call('RENAME', key, string.sub(key, #ARGV[3] + 1))
  end
  return redis.call('HGET', ARGV[1] .. 'meta', 'commits') or '0'`;
const COPY = `
  for _, key in ipairs(redis.call('KEYS', ARGV[1] .. '*')) do
    redis.call('COPY', key, ARGV[2] .. ARGV[3] .. string.sub(key, #ARGV[1] + 1), 'REPLACE')
  end`;
const script = (text: string, ...args: readonly string[]) => stage.admin('EVAL', text, '0', ...args);

interface Exchanged {
  readonly commits: number;
  /** The record of a pod in the store that was taken away. */
  right(podId: string): Promise<PodRecord | null>;
  bringBack(): Promise<unknown>;
}

function parse(text: unknown): PodRecord | null {
  return typeof text === 'string' ? (JSON.parse(text.split(' ').slice(2).join(' ')) as PodRecord) : null;
}

async function exchangeKeys(kind: 'older' | 'empty' | 'foreign'): Promise<Exchanged> {
  const commits = Number(await script(MOVE, PREFIX, 'right:', kind === 'empty' ? '' : `${kind}:`));
  return {
    commits: kind === 'older' ? commits : -1,
    right: async (podId) =>
      parse(await stage.admin('HGET', `right:${PREFIX}records`, `pod ${podKey('default', podId)}`)),
    bringBack: () => script(MOVE, PREFIX, '', 'right:'),
  };
}

/** The server dies, and the end of what it had written is gone. */
async function truncate(): Promise<Exchanged> {
  const { server } = stage;
  const data = join(server.folder, 'appendonlydir');
  const saved = join(server.folder, 'saved');
  const before = new Map<string, PodRecord | null>();
  await server.kill();
  rmSync(saved, { recursive: true, force: true });
  cpSync(data, saved, { recursive: true });
  await server.start();
  for (const podId of POD_IDS) {
    before.set(podId, parse(await stage.admin('HGET', `${PREFIX}records`, `pod ${podKey('default', podId)}`)));
  }
  await server.kill();
  rmSync(data, { recursive: true });
  cpSync(saved, data, { recursive: true });
  const log = readdirSync(data).find((name) => name.endsWith('.incr.aof')) ?? '';
  const bytes = statSync(join(data, log)).size;
  truncateSync(join(data, log), Math.floor(bytes * (0.3 + Math.random() * 0.6)));
  await server.start();
  return {
    commits: Number((await stage.admin('HGET', `${PREFIX}meta`, 'commits')) ?? -1),
    right: async (podId) => before.get(podId) ?? null,
    async bringBack() {
      await server.kill();
      rmSync(data, { recursive: true });
      cpSync(saved, data, { recursive: true });
      await server.start();
    },
  };
}

interface Acknowledged {
  readonly replica: string;
  readonly begunMs: number;
  readonly endedMs: number;
  readonly key: string;
  readonly commit: number;
}

/** What users do at both replicas, until they are told to stop. */
function users(uids: { next: number }) {
  const acknowledged: Acknowledged[] = [];
  let isStopped = false;

  async function act({ name, database: { store } }: Replica): Promise<void> {
    const podId = POD_IDS[Math.floor(Math.random() * POD_IDS.length)] ?? '';
    const key = podKey('default', podId);
    const begunMs = performance.now();
    const stored = await store.get('pod', key);
    let record: PodRecord;
    if (stored === null) {
      const spec = podSpec({ timeToStopDefault: -1 });
      const base = podRecord({ podId, uid: `uid-${(uids.next += 1)}`, applied: null, run: 0, spec });
      record = { ...base, ...startRunChange(base) };
    } else if (stored.value.deleting !== null || Math.random() < 0.4) return;
    else {
      const isDelete = stored.value.wish === 'OFF' || Math.random() < 0.5;
      record = { ...stored.value, ...(isDelete ? { deleting: { keepVolume: false } } : { wish: 'OFF' }) };
    }
    const put = podPut(record, stored?.revision ?? 'absent');
    const result = await store.commit({ puts: [put], enqueue: stored === null ? [{ key }] : [] });
    if (result.kind !== 'committed') return;
    acknowledged.push({ replica: name, begunMs, endedMs: performance.now(), key, commit: result.commit });
  }

  const work = replicas.flatMap((replica) =>
    Array.from({ length: 4 }, async () => {
      while (!isStopped) {
        // The store is suspect, or its server is being started.
        await act(replica).catch(() => undefined);
        await delay(2 + Math.random() * 6);
      }
    }),
  );
  return {
    acknowledged,
    async stop(): Promise<void> {
      isStopped = true;
      await Promise.all(work);
    },
  };
}

const TITLE = `a Redis that is swapped under two replicas at work, ${ROUNDS} times, takes nothing from a replica that has seen more`;
it(TITLE, { timeout: ROUNDS * ROUND_MS }, async () => {
  const uids = { next: 0 };
  const counts = { exchanges: 0, suspect: 0, acts: 0, acknowledged: 0, adopted: 0 };
  const foreign = await stage.open({ site: 'elsewhere' });
  for (let n = 0; n < 5; n++) await committed(foreign.store.commit({ puts: [putPod(`f${n}`, 'absent')] }));
  for (let round = 0; round < ROUNDS; round++) {
    const kind = KINDS[round % KINDS.length] ?? 'older';
    const atWork = users(uids);
    await delay(Math.random() * 150);
    await script(COPY, PREFIX, 'older:', PREFIX);
    await script(COPY, 'podgate:{elsewhere}:', 'foreign:', PREFIX);
    await delay(Math.random() * 150);
    const marks = new Map(replicas.map((replica) => [replica.name, replica.database.guard.mark()]));
    const startedMs = performance.now();
    const exchanged = kind === 'truncated' ? await truncate() : await exchangeKeys(kind);
    const exchangedMs = performance.now();
    await delay(400);
    await atWork.stop();

    const losers = replicas.filter(({ name }) => (marks.get(name)?.commits ?? 0) > exchanged.commits);
    for (const replica of losers) {
      await until('it answers', () =>
        replica.database.store.identity().then(
          () => true,
          () => false,
        ),
      );
      expect(replica.database.guard.suspicion(), `${kind}: ${replica.name} believes it`).not.toBeNull();
      counts.suspect += 1;
    }
    const isLoser = (name: string): boolean => losers.some((replica) => replica.name === name);
    const late = atWork.acknowledged.filter(({ replica, begunMs }) => begunMs > exchangedMs && isLoser(replica));
    expect(late, `${kind}: written on top of lost data`).toEqual([]);
    const acts = workloads.acts.filter(({ replica, atMs }) => atMs > exchangedMs && isLoser(replica));
    for (const act of acts) {
      const record = await exchanged.right(act.podId);
      const own = record?.uid === act.uid ? record : null;
      const isWanted =
        act.what === 'ensure'
          ? own !== null && own.run >= act.run
          : own === null || own.deleting !== null || own.wish !== 'ON' || own.run > act.run;
      expect(isWanted, `${kind}: ${JSON.stringify(act)} for ${JSON.stringify(own)}`).toBe(true);
    }
    counts.exchanges += 1;
    counts.acts += workloads.acts.length;
    counts.acknowledged += atWork.acknowledged.length;

    await exchanged.bringBack();
    const store = replicas[0]?.database.store;
    if (store === undefined) throw new Error('there is no replica');
    for (const { key, commit, endedMs } of atWork.acknowledged) {
      if (endedMs > startedMs) continue;
      const found = await until('the record, or its trace', async () => {
        const stored = await store.get('pod', key).catch(() => null);
        return stored ?? (await store.tombstone('pod', key).catch(() => null));
      });
      expect(found.revision, `${key} of commit ${commit} is lost`).toBeGreaterThanOrEqual(commit);
    }
    await goOn(counts);
    await until('one leads again', () => replicas.some(({ leadership }) => leadership.isLeading()));
    workloads.acts.splice(0);
  }
  console.info(`exchanges of Redis: ${JSON.stringify(counts)}`);
});

/** Whoever had seen less, and has gone on with the copy, needs an operator's word: as `podgate recover` gives it. */
async function goOn(counts: { adopted: number }): Promise<void> {
  const isBelieved = async (): Promise<boolean> => {
    for (const { database, judge } of replicas) {
      try {
        await judge.judge(AbortSignal.timeout(5_000));
        await database.store.commit({});
      } catch {
        return false;
      }
    }
    return true;
  };
  await until('the server answers', () =>
    stage.admin('PING').then(
      () => true,
      () => false,
    ),
  );
  for (let attempt = 0; attempt < 20; attempt++) {
    if (await isBelieved()) return;
    await delay(100);
  }
  const [first] = replicas;
  const view = await first?.database.forRecovery();
  const identity = await view?.store.identity();
  if (view === undefined || identity === undefined) return;
  const known = replicas.flatMap(({ database }) => database.guard.mark() ?? []);
  const listed = (await workloads.view('check').list(AbortSignal.timeout(1_000))).map(({ storeId, commit }) => ({
    storeId,
    commits: commit,
  }));
  const replaces = [...known, ...listed].map(({ storeId }) => storeId).filter((id) => id !== identity.storeId);
  const commits = Math.max(identity.commits, ...[...known, ...listed].map((each) => each.commits)) + 1_000;
  await view.store.adopt({ storeId: identity.storeId, commits, fence: 0, replaces });
  counts.adopted += 1;
  expect(await until('all believe it again', isBelieved)).toBe(true);
}
