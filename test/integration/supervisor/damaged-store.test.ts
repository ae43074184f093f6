import { closeSync, openSync, readFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Program } from '../../support/program.ts';
import { until } from '../../support/until.ts';

const PAGE_BYTES = 4_096;

let program: Program;
beforeAll(async () => {
  program = await Program.start({ workers: 1 });
});
afterAll(async () => {
  await program.dispose();
});

test('a damaged page of the store makes the replica unready', async () => {
  for (let pod = 0; pod < 30; pod++) {
    const description = `marker-${pod}-${'x'.repeat(200)}`;
    const body = { pod_id: `damaged${pod}`, pod_template: 'podgate/hello', status_requested: 'OFF', description };
    expect(await program.api('POST', '/v3/pods', body)).toMatchObject({ status: 200 });
  }
  await program.stop();
  const path = join(program.dataDir, 'podgate.db');
  const page = Math.floor(readFileSync(path).indexOf('marker-15-') / PAGE_BYTES);
  const file = openSync(path, 'r+');
  writeSync(file, Buffer.alloc(100, 0xff), 0, 100, page * PAGE_BYTES);
  closeSync(file);

  program.launch();
  await until(
    'it says that the store is damaged',
    async () => {
      if (!program.isRunning) throw new Error(`it ended: ${program.output}`);
      const answer = await program.get('/readyz').catch(() => null);
      return answer?.status === 503 && JSON.stringify(answer.body.result).includes('damaged');
    },
    { timeoutMs: 60_000 },
  );
  expect((await program.get('/healthz')).status).toBe(200);
});
