import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Program } from '../support/program.ts';
import { run } from '../support/run.ts';
import { until } from '../support/until.ts';

/** Takes whatever room there is, again and again, as a program does that writes without end. */
const FILLER = `
const { openSync, writeSync } = require('node:fs');
const file = openSync(process.argv[1], 'a');
const bytes = Buffer.alloc(65_536);
const fill = () => { try { for (;;) writeSync(file, bytes); } catch {} };
fill();
process.stdout.write('full');
setInterval(fill, 2);
`;
const SIZE = '96m';

let directory: string;
let program: Program;
let filler: ChildProcess | null = null;
beforeEach(async () => {
  // Needs root, as the images in which the tests run have it: a file system of its own that can be filled.
  directory = mkdtempSync(join(tmpdir(), 'podgate-full-'));
  const mounted = await run('mount', ['-t', 'tmpfs', '-o', `size=${SIZE}`, 'tmpfs', directory]);
  expect(mounted).toMatchObject({ code: 0 });
  program = await Program.start({ workers: 1, dataDir: join(directory, 'data') });
});
afterEach(async () => {
  filler?.kill('SIGKILL');
  filler = null;
  await program.dispose();
  await run('umount', ['-l', directory]);
  rmSync(directory, { recursive: true });
});

async function fillTheDisk(): Promise<void> {
  const child = spawn(process.execPath, ['-e', FILLER, join(directory, 'filler')], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  filler = child;
  await new Promise((resolve) => child.stdout.once('data', resolve));
}

async function emptyTheDisk(): Promise<void> {
  const child = filler;
  filler = null;
  const ended = new Promise((resolve) => child?.once('exit', resolve));
  child?.kill('SIGKILL');
  await ended;
  rmSync(join(directory, 'filler'));
}

const PODS = ['one', 'two', 'three'];

test('on a full disk pods can be stopped and deleted, nothing new is taken, readiness says so, and room mends it', async () => {
  for (const pod of PODS) await program.createPod({ pod_id: pod, pod_template: 'podgate/hello' });
  await fillTheDisk();
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

  await emptyTheDisk();
  const ready = async (): Promise<boolean> => {
    const { status, body } = await program.get('/readyz');
    return status === 200 && (body.result as { store?: unknown }).store === 'healthy';
  };
  await until('it is ready', ready, { timeoutMs: 60_000 });
  await program.createPod({ pod_id: 'after', pod_template: 'podgate/hello' });
});
