import { resolve } from 'node:path';
import type { Command } from 'commander';
import { createCommand, type OutputOptions, withJson } from '../command.ts';
import { printResult } from '../output/print.ts';
import { callOperator } from '../target/call-operator.ts';

export function backupCommand(): Command {
  return withJson(
    createCommand('backup', {
      description: `Copies the whole embedded store to a new file while Podgate runs. Back up the keyring (secret.key) as well:
without it, no credential can be decrypted. Back up a store in Redis with: redis-cli --rdb FILE.`,
      examples: [['backup /var/backups/podgate.db', '']],
    }),
  )
    .argument('<file>', 'the new file')
    .action(async (path: string, options: OutputOptions) => {
      const file = resolve(path);
      const { bytes } = await callOperator('backup', { path: file });
      printResult(options, { file, bytes }, `${file}: ${bytes} bytes\n`);
    });
}
