import { resolve } from 'node:path';
import { CliError, EXIT_USAGE } from '../cli-error.ts';
import { callOperator } from './call-operator.ts';

export const BACKUP_HELP = `npx podgate backup FILE

Copies the whole embedded store to a new file while Podgate runs. Back up the keyring (secret.key) as well: without it,
no credential can be decrypted. Back up a store in Redis with: redis-cli --rdb FILE.
`;

/** Answers what to print. */
export async function backupCommand(args: readonly string[]): Promise<string> {
  const [path, ...others] = args;
  if (path === '--help' || path === '-h') return BACKUP_HELP;
  if (path === undefined || others.length > 0 || path.startsWith('-')) {
    throw new CliError(EXIT_USAGE, 'usage: npx podgate backup FILE');
  }
  const file = resolve(path);
  const { bytes } = await callOperator('backup', { path: file });
  return `${file}: ${bytes} bytes\n`;
}
