import type { Command } from 'commander';
import { createCommand, type OutputOptions, withJson } from '../command.ts';
import { printResult } from '../output/print.ts';

interface TokenOptions extends OutputOptions {
  readonly user: string;
  readonly lifetime: string;
  readonly key?: string;
}

export function tokenCommand(): Command {
  return withJson(
    createCommand('token', {
      description: 'Prints a token for a user of the default tenant. Sign it with your own key if the tenant has one.',
      examples: [
        ['token --user alice', ''],
        ['token --user alice --lifetime 12h', ''],
        ['token --user alice --key tenant.key', "signed with the tenant's private key"],
      ],
    }),
  )
    .requiredOption('--user <name>', 'who the token is for')
    .option('--lifetime <duration>', 'a number with s, m, h or d; ten years at most', '30d')
    .option('--key <file>', 'private key (PEM) whose public half the tenant has')
    .action(async (options: TokenOptions) => {
      const { issueToken } = await import('../token/issue-token.ts');
      const token = await issueToken(options.user, options.lifetime, options.key ?? null);
      printResult(options, { token }, `${token}\n`);
    });
}
