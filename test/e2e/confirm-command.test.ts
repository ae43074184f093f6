import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { Program } from '../support/program.ts';
import { run } from '../support/run.ts';
import { until } from '../support/until.ts';

const CLI = join(import.meta.dirname, '../../bin/podgate.mjs');
let program: Program;

beforeAll(async () => {
  program = await Program.start({ workers: 1 });
});
afterAll(async () => {
  await program.dispose();
});

const confirm = (...args: readonly string[]) =>
  run(process.execPath, [CLI, 'confirm', ...args], { env: { PODGATE_DATA_DIR: program.dataDir } });

it('asks the running program, which has no removals held back and so rejects every code', async () => {
  const listed = await until('it leads', async () => {
    const result = await confirm();
    return result.code === 0 ? result : null;
  });
  expect(listed.stdout).toBe('No removal is held back.\n');
  const refused = await confirm('--yes', '8-12345678', '--json');
  expect(refused).toMatchObject({ code: 1, stdout: '' });
  expect(refused.stderr).toBe('podgate: nothing was confirmed: no removal is held back now\n');
});
