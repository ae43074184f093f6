/**
 * node bench/route-change.ts [CHANGES = 500]
 * From the commit that makes a pod RUNNING to the moment both workers have applied its route, with 1, 1,000 and 100,000
 * routes in the table: a real store on disk, a real feed socket, workers as processes of their own.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { serveFeed } from '../control/workers/feed-server.ts';
import { ControlRouteFeed } from '../control/routes/route-feed.ts';
import { openSqliteDatabase } from '../control/store/sqlite/sqlite-database.ts';
import { podKey } from '../core/ids.ts';
import { podPut } from '../core/pod-put.ts';
import type { PodRecord } from '../core/pod.ts';
import { FeedClient, STALE_AFTER_MS } from '../proxy/routes/feed-client.ts';
import { RouteTable } from '../proxy/routes/route-table.ts';
import { podRecord, podSpec, workloadOf } from '../test/support/pod-records.ts';
import { silentLog } from '../test/support/silent-log.ts';
import { until } from '../test/support/until.ts';
import { machine, quantiles, show } from './measure.ts';
import { ServedCertificates } from '../control/workers/served-certificates.ts';
import { helpIfAsked } from '../scripts/help.ts';

helpIfAsked(import.meta.filename);

const clock = { now: () => Date.now(), monotonicMs: () => performance.now() };
const [first, second] = process.argv.slice(2);
if (first === '--worker') await beWorker(second ?? '');
else await measureAll(Number(first ?? 500));

async function beWorker(socketPath: string): Promise<void> {
  const table = new RouteTable();
  const sink = {
    replaceRoutes: (routes: Parameters<RouteTable['replace']>[0]) => table.replace(routes),
    changeRoutes: (...change: Parameters<RouteTable['apply']>) => table.apply(...change),
    setBaseHosts: () => undefined,
    replaceCertificates: () => undefined,
    changeCertificates: () => undefined,
    setChallenges: () => undefined,
    setTicketKeys: () => undefined,
    setPodNetworks: () => undefined,
    setReplicas: () => undefined,
    reportPod: () => null,
    reportTraffic: () => [],
    cancel: () => undefined,
    loginAnswered: () => undefined,
    cancelAnswered: () => undefined,
  };
  const options = { socketPath, worker: process.pid, clock, log: silentLog, staleAfterMs: STALE_AFTER_MS };
  await new FeedClient({ ...options, sink }).run(new AbortController().signal);
}

async function measureAll(changes: number): Promise<void> {
  console.log(`${machine()}; 2 workers, ${changes} changes each`);
  for (const routes of [1, 1_000, 100_000]) await measure(routes, changes);
}

async function measure(routes: number, changes: number): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'podgate-bench-'));
  const database = openSqliteDatabase({ path: join(directory, 'store.db'), clock, log: silentLog });
  const { store } = database;
  for (let from = 0; from < routes; from += 1_000) {
    const puts = Array.from({ length: Math.min(1_000, routes - from) }, (_, i) =>
      podPut(pod(from + i, 'STOPPED'), 'absent'),
    );
    await store.commit({ puts });
  }
  const feed = new ControlRouteFeed({ store, log: silentLog, baseHostOf: () => 'localhost' });
  const stop = new AbortController();
  const socketPath = join(directory, 'feed.sock');
  const server = serveFeed(
    {
      feed,
      certificates: new ServedCertificates([]),
      path: socketPath,
      epoch: 'bench',
      baseHosts: ['localhost'],
      log: silentLog,
    },
    stop.signal,
  );
  const running = feed.run(stop.signal);
  feed.observationsComplete();
  await until('the table is read', () => feed.isReady, { timeoutMs: 60_000 });
  const started = performance.now();
  const workers = [1, 2].map(() => fork(import.meta.filename, ['--worker', socketPath]));
  try {
    // The first wait is over when both workers have the snapshot.
    await until('both workers follow', () => feed.followerCount === 2, { everyMs: 1 });
    await change(0);
    const snapshotMs = performance.now() - started;
    const latencies: number[] = [];
    for (let i = 0; i < changes; i += 1) latencies.push(await change(i % routes));
    console.log(
      `${routes} routes: ${show(quantiles(latencies))}; ` +
        `workers started and full after ${snapshotMs.toFixed(0)} ms`,
    );
  } finally {
    workers.forEach((worker: ChildProcess) => worker.kill());
    stop.abort();
    await Promise.all([server, running]);
    database.close();
    rmSync(directory, { recursive: true, force: true });
  }

  async function change(i: number): Promise<number> {
    const key = podKey('default', `pod${i}`);
    const stored = await store.get('pod', key);
    if (stored === null) throw new Error(`no ${key}`);
    const { sequence } = feed;
    const stoppedRevision = await write(podOff(i), stored.revision);
    await until('the feed has seen it stopped', () => feed.sequence > sequence, { everyMs: 1 });
    feed.observed(key, `uid-${i}`, workloadOf(pod(i, 'RUNNING')));
    const begun = performance.now();
    await write(pod(i, 'RUNNING'), stoppedRevision);
    const waited = await feed.waitRoutable({ tenant: 'default', podId: `pod${i}`, uid: `uid-${i}`, run: 1 }, 30_000);
    if (waited.kind !== 'routable') throw new Error(`not routable: ${JSON.stringify(waited)}`);
    return performance.now() - begun;
  }

  async function write(record: PodRecord, expected: number): Promise<number> {
    const result = await store.commit({ puts: [podPut(record, expected)] });
    if (result.kind !== 'committed') throw new Error(result.kind);
    return result.commit;
  }
}

/** Differs from STOPPED in its allow list, so that it is a change of the route from either status. */
function podOff(i: number): PodRecord {
  const networking = {
    default: { protocol: 'http' as const, port: 5000, ipAllowList: [`10.0.0.${Date.now() % 250}`] },
  };
  return { ...pod(i, 'STOPPED'), spec: podSpec({ networking }) };
}

function pod(i: number, status: 'STOPPED' | 'RUNNING'): PodRecord {
  // `updatedAtMs` makes every write a change of the record, as a real transition is.
  return podRecord({ podId: `pod${i}`, uid: `uid-${i}`, spec: podSpec(), status, updatedAtMs: Date.now() });
}
