import { mkdtempSync, rmSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { ControlRouteFeed } from '../../../control/routes/route-feed.ts';
import { openSqliteDatabase, type SqliteDatabase } from '../../../control/store/sqlite/sqlite-database.ts';
import { createChallengesEverywhere } from '../../../control/workers/challenges-everywhere.ts';
import { serveFeed } from '../../../control/workers/feed-server.ts';
import { ServedCertificates } from '../../../control/workers/served-certificates.ts';
import { WorkerArrivals } from '../../../control/workers/worker-arrivals.ts';
import { podKey } from '../../../core/ids.ts';
import type { ControlMessage, WorkerMessage } from '../../../core/feed-protocol.ts';
import { podPut } from '../../../core/pod-put.ts';
import { podRecord, workloadOf } from '../../support/pod-records.ts';
import { silentLog } from '../../support/silent-log.ts';
import { until } from '../../support/until.ts';

const clock = { now: () => Date.now(), monotonicMs: () => performance.now() };
const MYPOD = { tenant: 'default', podId: 'mypod', uid: 'uid-1', run: 1 };

let directory: string;
let database: SqliteDatabase;
const sockets: Socket[] = [];
const stop = { now: new AbortController(), running: Promise.resolve() as Promise<unknown> };

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'podgate-arrivals-'));
  database = openSqliteDatabase({ path: ':memory:', clock, log: silentLog });
  stop.now = new AbortController();
});
afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  stop.now.abort();
  await stop.running;
  database.close();
  rmSync(directory, { recursive: true, force: true });
});

/** The control process of a replica of two workers, right after its start. */
async function control({ awaitedMs }: { readonly awaitedMs: number }) {
  const arrivals = new WorkerArrivals(2, awaitedMs);
  const served = new ServedCertificates([]);
  const { store, replicas } = database;
  const feed = new ControlRouteFeed({ store, log: silentLog, baseHostOf: () => 'localhost', arrivals });
  const path = join(directory, 'feed.sock');
  const server = { feed, certificates: served, arrivals, path, epoch: 'one', baseHosts: ['localhost'], log: silentLog };
  stop.running = Promise.all([feed.run(stop.now.signal), serveFeed(server, stop.now.signal)]);
  await store.commit({ puts: [podPut(podRecord(), 'absent')] });
  await until('the record is read', () => [...feed.routes()].length === 1);
  feed.observed(podKey('default', 'mypod'), 'uid-1', workloadOf(podRecord()));
  feed.observationsComplete();
  served.setChallenges({ http: { token: 'answer' }, tls: [] }, ['challenge-1']);
  const challenges = createChallengesEverywhere({ served, replicas, arrivals });
  const late = async (timeoutMs: number): Promise<number> =>
    (await challenges.wait(['challenge-1'], timeoutMs, stop.now.signal)).length;
  return { feed, late, path };
}

/** Connects, and applies whatever it is told. */
function worker(path: string, number: number): void {
  const socket = connect(path);
  sockets.push(socket);
  socket.on('error', () => undefined);
  const say = (message: WorkerMessage): void => void socket.write(`${JSON.stringify(message)}\n`);
  say({ kind: 'hello', worker: number, pid: 100 + number });
  createInterface({ input: socket }).on('line', (line) => {
    const message = JSON.parse(line) as ControlMessage;
    if (message.kind === 'challenges') say({ kind: 'challenges-applied', number: message.number });
    if (message.kind === 'snapshot-end') say({ kind: 'applied', epoch: 'one', sequence: message.sequence });
  });
}

test('after a restart of control, a worker that has not reconnected counts: for routes, and for ACME challenges', async () => {
  const { feed, late, path } = await control({ awaitedMs: 60_000 });
  worker(path, 0);
  expect(await feed.waitRoutable(MYPOD, 500)).toMatchObject({ kind: 'timeout', laggards: ['the gateway'] });
  expect(await late(300)).toBe(1);
  const [waiting, answered] = [feed.waitRoutable(MYPOD, 20_000), late(20_000)];
  worker(path, 1);
  expect(await waiting).toEqual({ kind: 'routable' });
  expect(await answered).toBe(0);
});

test('a worker that stays away is not waited for longer than a reconnect would take', async () => {
  const { feed, late, path } = await control({ awaitedMs: 700 });
  worker(path, 0);
  const [waiting, answered] = [feed.waitRoutable(MYPOD, 20_000), late(20_000)];
  expect(await waiting).toEqual({ kind: 'routable' });
  expect(await answered).toBe(0);
});
