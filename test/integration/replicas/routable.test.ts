import { afterEach, beforeEach, expect, test } from 'vitest';
import { waitRoutable } from '../../../control/resources/pods/wait-routable.ts';
import type { PodRecord } from '../../../core/pod.ts';
import { RedisServer } from '../../support/redis-server.ts';
import { until } from '../../support/until.ts';
import { createAdmin, type Admin } from './admin.ts';
import { MemoryOrchestrator } from './memory-orchestrator.ts';
import { Replica } from './replica.ts';

let server: RedisServer;
let admin: Admin;
let workloads: MemoryOrchestrator;
let one: Replica;
let two: Replica;
const replicas: Replica[] = [];

beforeEach(async () => {
  server = await RedisServer.start();
  admin = await createAdmin(server);
  workloads = new MemoryOrchestrator();
  [one, two] = [await start('one'), await start('two', 2)];
  await Promise.all([one.ready(), two.ready()]);
  for (const { database } of [one, two]) {
    await until('both know each other', () => database.replicas.live().length === 2);
  }
});
afterEach(async () => {
  for (const replica of replicas.splice(0)) await replica.end();
  admin.close();
  await server.dispose();
});

async function start(name: string, workers = 1): Promise<Replica> {
  const replica = await Replica.start(name, server.url, workloads, workers);
  replicas.push(replica);
  return replica;
}

const questionOf = ({ tenant, podId, uid, run }: PodRecord) => ({ tenant, podId, uid, run });

/** Settled or not, without waiting. */
function watched<T>(promise: Promise<T>): { readonly promise: Promise<T>; isSettled: boolean } {
  const state = { promise, isSettled: false };
  promise.then(
    () => (state.isSettled = true),
    () => (state.isSettled = true),
  );
  return state;
}

async function runningOn(replica: Replica, podId: string): Promise<void> {
  await until(`${podId} is RUNNING`, async () => (await replica.record(podId))?.status === 'RUNNING');
}

test('waiting for a route ends when every worker of every replica has it', async () => {
  const [, slow] = two.workers;
  if (slow === undefined) throw new Error('no second worker');
  slow.isHeldUp = true;
  const record = await one.create('ape');
  const waiting = watched(one.routable.waitRoutable(questionOf(record), 20_000));
  const there = watched(two.routable.waitRoutable(questionOf(record), 20_000));
  await runningOn(one, 'ape');
  // The own workers of the asked replica have it at once, and that is not enough.
  expect(await one.feed.waitRoutable(questionOf(record), 5_000)).toEqual({ kind: 'routable' });
  await new Promise((resolve) => setTimeout(resolve, 700));
  expect([waiting.isSettled, there.isSettled]).toEqual([false, false]);
  slow.goOn();
  expect(await Promise.all([waiting.promise, there.promise])).toEqual([{ kind: 'routable' }, { kind: 'routable' }]);
});

test('without a late worker, asking all adds little time', async () => {
  const tookMs: number[] = [];
  for (let at = 0; at < 20; at++) {
    const record = await one.create(`pod${at}`);
    const begunAt = performance.now();
    expect(await one.routable.waitRoutable(questionOf(record), 20_000)).toEqual({ kind: 'routable' });
    tookMs.push(performance.now() - begunAt);
  }
  tookMs.sort((a, b) => a - b);
  console.log(`created -> routable in both replicas: median ${tookMs[10]?.toFixed(1)} ms`);
  expect(tookMs[10]).toBeLessThan(500);
});

test('a worker that is late is named after the timeout, with its replica', async () => {
  const [, slow] = two.workers;
  if (slow === undefined) throw new Error('no second worker');
  const record = await one.create('ape');
  slow.isHeldUp = true;
  const waited = await one.routable.waitRoutable(questionOf(record), 3_500);
  expect(waited).toEqual({ kind: 'timeout', laggards: ['worker 2 (pid 22) of replica two'] });
});

test('a report for an earlier run does not count for a later one', async () => {
  const record = await one.create('ape');
  expect(await one.routable.waitRoutable(questionOf(record), 20_000)).toEqual({ kind: 'routable' });
  workloads.born = 'starting';
  await one.change('ape', () => ({ wish: 'RESTART' }));
  const waiting = watched(
    waitRoutable(
      { store: one.database.store, feed: one.routable, clock },
      record,
      20_000,
      new AbortController().signal,
    ),
  );
  await until('it is made again', async () => {
    const now = await one.record('ape');
    return now?.run === record.run + 1 && now.status === 'CREATING_CONTAINER';
  });
  await new Promise((resolve) => setTimeout(resolve, 300));
  expect(waiting.isSettled).toBe(false);
  workloads.become({ tenant: 'default', podId: 'ape' }, 'ready');
  expect(await waiting.promise).toMatchObject({ outcome: { kind: 'routable' }, record: { run: record.run + 1 } });
});

test('a killed replica is no longer waited for once its heartbeats are missing', async () => {
  for (const worker of two.workers) worker.isHeldUp = true;
  const record = await one.create('ape');
  const waiting = watched(one.routable.waitRoutable(questionOf(record), 30_000));
  await runningOn(one, 'ape');
  await new Promise((resolve) => setTimeout(resolve, 300));
  expect(waiting.isSettled).toBe(false);
  const killedAt = performance.now();
  await two.kill();
  expect(await waiting.promise).toEqual({ kind: 'routable' });
  expect(performance.now() - killedAt).toBeLessThan(12_000);
});

test('lost questions and replies are sent again', async () => {
  for (const worker of two.workers) worker.isHeldUp = true;
  const record = await one.create('ape');
  const waiting = watched(one.routable.waitRoutable(questionOf(record), 20_000));
  await runningOn(one, 'ape');
  // Whatever is published from here on reaches nobody, until both listen again.
  await admin.send('CLIENT', 'KILL', 'TYPE', 'pubsub');
  for (const worker of two.workers) worker.goOn();
  expect(await waiting.promise).toEqual({ kind: 'routable' });
});

test('garbage on the bus is ignored', async () => {
  const nonsense = [
    'nonsense',
    '{}',
    JSON.stringify({ from: 'x', topic: 'other', message: 1 }),
    JSON.stringify({ from: 'x', topic: 'routable', message: null }),
    JSON.stringify({
      from: 'x',
      topic: 'routable',
      message: { questions: [null, 1, {}, { id: 1, value: { run: 'r' } }] },
    }),
    JSON.stringify({ from: 'x', topic: 'routable', message: { to: 'one', answers: [null, { id: 1, value: 3 }] } }),
    JSON.stringify({
      from: 'x',
      topic: 'cancel',
      message: { questions: [{ id: 1, value: { key: 1, address: 'localhost' } }] },
    }),
    'x'.repeat(100_000),
  ];
  for (const text of nonsense) await admin.send('PUBLISH', 'podgate:{test}:bus', text);
  const record = await one.create('ape');
  expect(await one.routable.waitRoutable(questionOf(record), 20_000)).toEqual({ kind: 'routable' });
  expect(one.workers[0]?.cancels).toEqual([]);
});
const clock = { now: () => Date.now(), monotonicMs: () => performance.now() };
