import { join } from 'node:path';
import { run, type RunResult } from './run.ts';

const ROOT = join(import.meta.dirname, '../..');

/** `npx podgate ...` for the installation of a data directory. */
export function podgateCommand(
  program: { readonly dataDir: string },
  args: readonly string[],
  env: Record<string, string> = {},
): Promise<RunResult> {
  return run(process.execPath, [join(ROOT, 'cli/podgate.ts'), ...args], {
    env: { PODGATE_DATA_DIR: program.dataDir, ...env },
    cwd: ROOT,
  });
}
