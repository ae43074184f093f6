import { run } from '../../test/support/run.ts';

/** Null, or a sentence on what to install. */
export async function missingProgram(program: string, packages: string): Promise<string | null> {
  const found = await run('/bin/sh', ['-c', `command -v ${program}`]);
  return found.code === 0 ? null : `${program} is not installed (Debian: apt-get install ${packages})`;
}
