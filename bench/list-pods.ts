/**
 * What lists cost: `node bench/list-pods.ts [PODS = 10000] [CALLS = 300]`. The API over a real listener and the embedded
 * store in memory, the client in a thread of its own; prints the CPU time that the API's thread spends on a page of 100, on
 * the whole list, and on the longest turn of its event loop meanwhile. CPU time, because a busy machine changes it least.
 */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { helpIfAsked } from '../scripts/help.ts';
import { ApiStand } from '../test/integration/api/api-stand.ts';
import { quotasOf } from '../test/unit/control/limits.ts';
import { ApiCaller, type ApiCallsDone } from './api-calls.ts';
import { machine, quantiles, show, threadCpuMs } from './measure.ts';
import { addCopies } from './pod-copies.ts';

helpIfAsked(import.meta.filename);

const [pods = 10_000, calls = 300] = process.argv.slice(2).map(Number);

const stand = await ApiStand.start({ quotas: quotasOf({ pods: pods + 1 }), checksWire: false });
const caller = new ApiCaller();
try {
  await stand.create('alice', 'model');
  await addCopies(stand.database.store, await stand.record('model'), { count: pods, prefix: 'pod' });
  const headers = { 'X-Tapis-Token': await stand.token('alice') };
  const list = (query: string, count: number): Promise<ApiCallsDone> => {
    const paths = Array.from({ length: count }, () => `/v3/pods${query}`);
    return caller.make({ url: stand.url, headers, method: 'GET', paths, writers: 1 });
  };

  console.log(machine());
  await list('?limit=100', 100);
  const pageMs: number[] = [];
  for (let call = 0; call < calls; call += 1) {
    const startMs = threadCpuMs();
    await list('?limit=100', 1);
    pageMs.push(threadCpuMs() - startMs);
  }
  console.log(`${pods} pods, a page of 100, ${calls} calls: CPU ${show(quantiles(pageMs))}`);

  await list('', 2);
  const startMs = threadCpuMs();
  const { bytes } = await list('', 1);
  const wholeMs = threadCpuMs() - startMs;
  const turnMs = await cpuOfTurns(list('', 1));
  console.log(
    `the whole list (${(bytes / 1e6).toFixed(1)} MB): CPU ${wholeMs.toFixed(0)} ms, ` +
      `its longest turn of the event loop ${Math.max(...turnMs).toFixed(1)} ms`,
  );
} finally {
  await caller.close();
  await stand.close();
}

/** The CPU time of each turn of this thread's event loop until `work` is done. The loop never sleeps meanwhile. */
async function cpuOfTurns(work: Promise<unknown>): Promise<readonly number[]> {
  const state = { isDone: false };
  const done = work.finally(() => (state.isDone = true));
  const turnMs: number[] = [];
  for (let lastMs = threadCpuMs(); !state.isDone;) {
    await nextTurn();
    const nowMs = threadCpuMs();
    turnMs.push(nowMs - lastMs);
    lastMs = nowMs;
  }
  await done;
  return turnMs;
}
