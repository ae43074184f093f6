import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { Program } from '../support/program.ts';
import { run } from '../support/run.ts';
import { until } from '../support/until.ts';

const CLI = join(import.meta.dirname, '../../bin/podgate.mjs');
const directory = mkdtempSync(join(tmpdir(), 'podgate-kept-'));
let program: Program;

beforeAll(async () => {
  writeFileSync(join(directory, 'podgate.yaml'), 'quotas: { volumesPerUser: 1 }\n');
  program = await Program.start({ workers: 1, env: { PODGATE_CONFIG: join(directory, 'podgate.yaml') } });
});
afterAll(async () => {
  await program.dispose();
  rmSync(directory, { recursive: true });
});

const keptVolumes = (...args: readonly string[]) =>
  run(process.execPath, [CLI, 'kept-volumes', ...args], {
    env: { PODGATE_DATA_DIR: program.dataDir, PODGATE_CONFIG: join(directory, 'podgate.yaml') },
  });
const create = (podId: string) => program.api('POST', '/v3/pods', { pod_id: podId, pod_template: 'postgres' });

it('a volume that a deletion keeps counts until the operator removes it', async () => {
  expect((await create('first')).status).toBe(200);
  await until(
    'the pod runs',
    async () => ((await program.get('/v3/pods/first')).body.result as { status: string }).status === 'RUNNING',
    { timeoutMs: 60_000 },
  );
  expect((await program.api('DELETE', '/v3/pods/first?keep_volume=true')).status).toBe(200);
  const kept = await until(
    'the volume is kept',
    async () => {
      const { stdout } = await keptVolumes();
      return stdout.includes('/first/') ? stdout : null;
    },
    { timeoutMs: 30_000 },
  );
  expect(kept).toMatch(/^\S+\/first\/\S+ {2}created by admin, 1 volume, kept since \d{4}-/);

  const refused = await create('second');
  expect(refused.status).toBe(403);
  expect(refused.body.message).toContain('(quotas.volumesPerUser): User admin uses 1 of 1 volumes.');

  expect(await keptVolumes('remove', 'dev/none/none')).toMatchObject({ code: 1 });
  const [key = ''] = kept.split(' ');
  expect(await keptVolumes('remove', key)).toMatchObject({ code: 0, stdout: `${key} was removed with its data\n` });
  expect((await keptVolumes()).stdout).toBe('No volumes of deleted pods are kept.\n');
  expect((await create('second')).status).toBe(200);
  // What a deletion gives back is taken off by the next pass of the health loop.
  const metrics = await until('the tenant uses one volume', async () => {
    const text = await (await fetch(`http://127.0.0.1:${program.controlPort}/metrics`)).text();
    return /^podgate_quota_used\{tenant="dev",resource="volumes"\} 1$/m.test(text) ? text : null;
  });
  expect(metrics).toMatch(/^podgate_quota_refusals_total\{scope="user",resource="volumes"\} 1$/m);
  expect(metrics).toMatch(/^podgate_quota_limit\{scope="user",resource="volumes"\} 1$/m);
});
