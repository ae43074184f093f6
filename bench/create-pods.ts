/**
 * What creating pods costs: `node bench/create-pods.ts [CREATES = 3000] [WRITERS = 16] [PODS ...= 0 100000]`. POST /v3/pods
 * over a real listener, with the embedded store on the disk and so many pods in it before; the client is a thread of its
 * own. Prints the CPU time that the API's thread spends on a create, and its ratio to the first line's: a busy machine
 * changes both least. The store commits in that thread, so the rate it allows is an upper bound: waits for the disk are not in it.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { helpIfAsked } from '../scripts/help.ts';
import { ApiStand } from '../test/integration/api/api-stand.ts';
import { quotasOf } from '../test/unit/control/limits.ts';
import { ApiCaller } from './api-calls.ts';
import { machine, threadCpuMs } from './measure.ts';
import { addCopies } from './pod-copies.ts';

helpIfAsked(import.meta.filename);

const [creates = 3_000, writers = 16, ...given] = process.argv.slice(2).map(Number);

console.log(machine());
let firstMs: number | null = null;
for (const pods of given.length > 0 ? given : [0, 100_000]) {
  const cpuMs = await cpuMsOfCreate(pods);
  firstMs ??= cpuMs;
  console.log(
    `${pods} pods before, ${writers} writers: CPU ${cpuMs.toFixed(3)} ms a create, ratio ${(cpuMs / firstMs).toFixed(2)}, ` +
      `at most ${(1e3 / cpuMs).toFixed(0)} creates/s`,
  );
}

async function cpuMsOfCreate(pods: number): Promise<number> {
  const directory = mkdtempSync(join(tmpdir(), 'podgate-bench-'));
  const databasePath = join(directory, 'podgate.db');
  const stand = await ApiStand.start({
    quotas: quotasOf({ pods: pods + 2 * creates + 1 }),
    checksWire: false,
    databasePath,
  });
  const caller = new ApiCaller();
  try {
    await stand.create('alice', 'model');
    await addCopies(stand.database.store, await stand.record('model'), { count: pods, prefix: 'old' });
    const headers = { 'X-Tapis-Token': await stand.token('alice'), 'Content-Type': 'application/json' };
    const create = (prefix: string, count: number) => {
      const paths = Array.from({ length: count }, () => '/v3/pods');
      const bodies = paths.map((_, at) => JSON.stringify({ pod_id: `${prefix}${at}`, pod_template: 'podgate/hello' }));
      return caller.make({ url: stand.url, headers, method: 'POST', paths, bodies, writers });
    };
    await create('warm', Math.min(500, creates));
    const startMs = threadCpuMs();
    await create('new', creates);
    return (threadCpuMs() - startMs) / creates;
  } finally {
    await caller.close();
    await stand.close();
    rmSync(directory, { recursive: true, force: true });
  }
}
