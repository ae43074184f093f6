import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Program } from '../support/program.ts';
import { SmallDisk } from '../support/small-disk.ts';
import { until } from '../support/until.ts';

let disk: SmallDisk;
let program: Program;
beforeEach(async () => {
  disk = await SmallDisk.mount('96m');
  program = await Program.start({ workers: 1, dataDir: join(disk.directory, 'data') });
});
afterEach(async () => {
  await program.dispose();
  await disk.dispose();
});

const PODS = ['one', 'two', 'three'];

test('on a full disk, pods can be stopped and deleted, creates are refused, readiness reports it, and free space ends it', async () => {
  for (const pod of PODS) await program.createPod({ pod_id: pod, pod_template: 'podgate/hello' });
  await disk.fill();
  let created = 0;
  await until(
    'creating a pod is refused',
    async () => {
      const body = { pod_id: `late${created++}`, pod_template: 'podgate/hello', description: 'x'.repeat(200) };
      return (await program.api('POST', '/v3/pods', body)).status === 503;
    },
    { timeoutMs: 120_000, everyMs: 1 },
  );
  await until('it is not ready', async () => {
    const { status, body } = await program.get('/readyz');
    return status === 503 && JSON.stringify(body.result).includes('it is full');
  });

  expect((await program.api('POST', '/v3/pods/one/stop')).status).toBe(200);
  await program.podStatus('one', 'STOPPED');
  expect((await program.api('DELETE', '/v3/pods/two')).status).toBe(200);
  await until('it is deleted', async () => (await program.get('/v3/pods/two')).status === 404);
  // The control process can be started again, too, and goes on with it.
  const [control] = program.children('control');
  process.kill(control?.pid ?? 0, 'SIGKILL');
  await until('the next control process works', async () => (await program.get('/v3/pods/three')).status === 200);
  await until('it still says so', async () => (await program.get('/readyz')).status === 503);
  expect((await program.api('POST', '/v3/pods/three/stop')).status).toBe(200);
  await program.podStatus('three', 'STOPPED');

  await disk.empty();
  const ready = async (): Promise<boolean> => {
    const { status, body } = await program.get('/readyz');
    return status === 200 && (body.result as { store?: unknown }).store === 'healthy';
  };
  await until('it is ready', ready, { timeoutMs: 60_000 });
  await program.createPod({ pod_id: 'after', pod_template: 'podgate/hello' });
});
