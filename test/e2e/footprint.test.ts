import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Program } from '../support/program.ts';

const MIB = 1024;

/** KiB that this process alone uses: unlike RSS and PSS, independent of other Node processes on the machine. */
function privateKiB(pid: number): number {
  const rollup = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8');
  return Number(/^Private_Dirty: +(\d+) kB$/m.exec(rollup)?.[1]);
}

describe.skipIf(process.platform !== 'linux')('memory of an idle installation (/proc is Linux only)', () => {
  let program: Program | undefined;

  // The first start fills the compile cache, if this checkout has never run. The second finds it.
  beforeAll(async () => {
    program = await Program.start({ workers: 2 });
    await program.stop();
    await program.start();
  }, 180_000);
  afterAll(() => program?.dispose());

  function memoryOf(role: 'control' | 'worker' | 'probe'): number {
    return Math.max(...(program?.children(role) ?? []).map(({ pid }) => privateKiB(pid)));
  }

  // Node's own TypeScript parser takes 12 MiB in each process that strips a single file.
  it('children do not load the TypeScript parser', () => {
    expect(memoryOf('probe')).toBeLessThan(26 * MIB);
    expect(memoryOf('worker')).toBeLessThan(38 * MIB);
  });

  it('the control process does not load what this installation does not use', () => {
    expect(memoryOf('control')).toBeLessThan(100 * MIB);
  });
});
