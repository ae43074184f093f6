/**
 * What lists cost: `node bench/list-pods.ts [pods] [calls]`. The API over a real listener and the embedded store in memory,
 * client and server in one process; prints the latency of a page of 100, and how long the whole list holds the event loop.
 */
import { monitorEventLoopDelay, performance } from 'node:perf_hooks';

import { podPut } from '../core/pod-put.ts';
import { quotasOf } from '../test/unit/control/limits.ts';
import { ApiStand } from '../test/integration/api/api-stand.ts';
import { helpIfAsked } from '../scripts/help.ts';

helpIfAsked(import.meta.filename);

const [pods = 10_000, calls = 300] = process.argv.slice(2).map(Number);
const BATCH = 500;

const stand = await ApiStand.start({ quotas: quotasOf({ pods: pods + 1 }) });
try {
  await stand.create('alice', 'model');
  const model = await stand.record('model');
  for (let start = 0; start < pods; start += BATCH) {
    const puts = Array.from({ length: Math.min(BATCH, pods - start) }, (_, at) => {
      const podId = `pod${String(start + at).padStart(7, '0')}`;
      return podPut({ ...model, podId, uid: `${model.uid}-${podId}` }, 'absent');
    });
    await stand.database.store.commit({ puts });
  }
  const headers = { 'X-Tapis-Token': await stand.token('alice') };
  const list = async (query: string): Promise<{ readonly ms: number; readonly bytes: number }> => {
    const startedMs = performance.now();
    const response = await fetch(`${stand.url}/v3/pods${query}`, { headers });
    const { byteLength } = await response.arrayBuffer();
    if (response.status !== 200) throw new Error(String(response.status));
    return { ms: performance.now() - startedMs, bytes: byteLength };
  };

  for (let count = 0; count < 30; count += 1) await list('?limit=100');
  const times: number[] = [];
  for (let count = 0; count < calls; count += 1) times.push((await list('?limit=100')).ms);
  times.sort((a, b) => a - b);
  const at = (part: number): string => (times[Math.min(calls - 1, Math.floor(part * calls))] ?? NaN).toFixed(1);
  console.log(`${pods} pods, a page of 100, ${calls} calls: p50 ${at(0.5)} ms, p99 ${at(0.99)} ms, max ${at(1)} ms`);

  await list('');
  const loop = monitorEventLoopDelay({ resolution: 1 });
  loop.enable();
  const whole = await list('');
  loop.disable();
  const inMs = (nanoseconds: number): string => (nanoseconds / 1e6).toFixed(1);
  console.log(
    `the whole list (${(whole.bytes / 1e6).toFixed(1)} MB): ${whole.ms.toFixed(0)} ms; the loop is late by ` +
      `p99 ${inMs(loop.percentile(99))} ms, max ${inMs(loop.max)} ms`,
  );
} finally {
  await stand.close();
}
