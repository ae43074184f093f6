import { cpSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { run } from './run.ts';
import { pageBlock } from './page-block.ts';

export const DEPLOY = join(import.meta.dirname, '../../deploy');
const OPERATIONS = join(import.meta.dirname, '../../docs/operations.md');

/** What docs/operations.md has its reader copy, below `folder`; the path of the new overlay, still without secrets. */
export function copyOverlay(folder: string): string {
  const deploy = join(folder, 'deploy');
  cpSync(DEPLOY, deploy, { recursive: true });
  const mine = join(deploy, 'overlays', 'mine');
  cpSync(join(deploy, 'overlays', 'example'), mine, { recursive: true });
  return mine;
}

/** Types what docs/operations.md says, in that overlay: it has its settings and secrets then. */
export async function makeSecrets(overlay: string): Promise<void> {
  const script = pageBlock(readFileSync(OPERATIONS, 'utf8'), 'secrets');
  const { code, stderr } = await run('sh', ['-eu', '-c', script], { cwd: overlay });
  if (code !== 0) throw new Error(`the lines of docs/operations.md end with ${code}: ${stderr}`);
}
