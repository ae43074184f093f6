import { fork, type ChildProcess } from 'node:child_process';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { openRedisDatabase, type RedisDatabase } from '../../../control/store/redis/redis-database.ts';
import { podKey } from '../../../core/ids.ts';
import type { PodRecord } from '../../../core/pod.ts';
import { fenceOf } from '../../../core/lock.ts';
import { podPut } from '../../../core/pod-put.ts';
import { podRecord, podSpec } from '../../support/pod-records.ts';
import { RedisServer } from '../../support/redis-server.ts';
import { silentLog } from '../../support/silent-log.ts';
import { until } from '../../support/until.ts';
import type { PausedLeaderOptions, PausedLeaderWord } from './paused-leader.ts';

const LEASE_MS = 2_000;
const SPEC = podSpec({ timeToStopDefault: -1 });

let server: RedisServer;
let database: RedisDatabase;
let leader: ChildProcess | null = null;
let words: PausedLeaderWord[];

beforeEach(async () => {
  server = await RedisServer.start();
  database = await openRedisDatabase({ url: server.url, site: 'test', log: silentLog });
  words = [];
});
afterEach(async () => {
  leader?.kill('SIGKILL');
  leader = null;
  database.close();
  await server.dispose();
});

function start(record: PodRecord, clock: PausedLeaderOptions['clock']): ChildProcess {
  const options: PausedLeaderOptions = { url: server.url, record, clock, leaseMs: LEASE_MS };
  const child = fork(new URL('paused-leader.ts', import.meta.url), [JSON.stringify(options)]);
  child.on('message', (word: PausedLeaderWord) => words.push(word));
  leader = child;
  return child;
}

const stored = () => database.store.get('pod', podKey('default', 'mypod'));

/** Stops the leader in the middle of an observation, and has another lead meanwhile, who finds nothing to change. */
async function overtake(record: PodRecord, clock: PausedLeaderOptions['clock']): Promise<void> {
  await database.store.commit({ puts: [podPut(record, 'absent')] });
  const child = start(record, clock);
  await until('it observes', () => words.includes('observing'));
  child.kill('SIGSTOP');
  const lease = await until('the lease is free', () => database.lock.acquire('health', 20_000), { everyMs: 100 });
  await database.store.commit({ fence: fenceOf(lease) });
  words = [];
  child.kill('SIGCONT');
  await until('it has noticed', () => words.includes('no longer leading'));
  // So that anything it might still do would be seen.
  await new Promise((resolve) => setTimeout(resolve, 1_000));
}

// The record is as it read it: compare-and-set alone would let its write pass.
test.each([
  ['by its own clock, and does not even try', 'runs on', []],
  ['by the fence of its commit, where its clock stood still as well', 'stands still', ['fenced']],
] as const)('a leader that was paused notices %s: nothing is overwritten', async (_, clock, commits) => {
  await overtake(podRecord({ spec: SPEC }), clock);
  expect(words.filter((word) => word === 'committed' || word === 'fenced')).toEqual(commits);
  expect(await stored()).toMatchObject({ revision: 1, value: { status: 'RUNNING' } });
});

test('a leader that was paused before it removed a workload does not remove it', async () => {
  await overtake(podRecord({ spec: SPEC, wish: 'OFF', status: 'SHUTTING_DOWN' }), 'runs on');
  expect(words).not.toContain('removed');
  expect(await stored()).toMatchObject({ revision: 1 });
});
