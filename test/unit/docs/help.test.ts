import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { topComment } from '../../../scripts/help.ts';
import { run } from '../../support/run.ts';

const ROOT = join(import.meta.dirname, '../../..');
/** Files in bench/ and scripts/ that read their arguments, and the trials. */
const PROGRAMS = ['bench', 'scripts', 'test/attack', 'test/faults', 'test/fuzz', 'test/image', 'test/kill']
  .flatMap((folder) => readdirSync(join(ROOT, folder)).map((name) => `${folder}/${name}`))
  .filter((file) => /^(bench|scripts)\/[^.]*\.ts$|-trial\.ts$|build-and-run\.ts$/.test(file))
  .filter((file) => /process\.argv|helpIfAsked\(|parseArgs\(/.test(readFileSync(join(ROOT, file), 'utf8')));

it('every program for developers says with --help what it does', async () => {
  expect(PROGRAMS.length).toBeGreaterThan(10);
  for (const file of PROGRAMS) {
    const source = readFileSync(join(ROOT, file), 'utf8');
    expect(source, file).toMatch(/helpIfAsked|--help|parseArgs/);
    if (source.includes('helpIfAsked(import.meta'))
      expect(topComment(source), file).toMatch(new RegExp(`node (--\\S+ )?${file}`));
  }
  const { code, stdout } = await run(process.execPath, [join(ROOT, 'bench/scale.ts'), '--help']);
  expect({ code, stdout }).toEqual({ code: 0, stdout: expect.stringContaining('REPLICAS') as string });
});
