import type { Command } from 'commander';
import { CliError, EXIT_USAGE } from '../cli-error.ts';
import { createCommand, type OutputOptions, withJson, withTarget } from '../command.ts';
import { printResult } from '../output/print.ts';
import { formatTable } from '../output/table.ts';
import { callForPod, podPath } from '../pods/pod.ts';
import { chooseTarget, type TargetOptions } from '../target/choose-target.ts';

const LEVELS: readonly string[] = ['READ', 'USER', 'ADMIN'];

interface ShareOptions extends OutputOptions, TargetOptions {
  readonly remove?: boolean;
}

export function shareCommand(): Command {
  return withTarget(
    withJson(
      createCommand('share', {
        description: `Shows or changes who may do what with a pod.

READ: see it and its logs. USER: read its credentials, change it, see who is connected. ADMIN: start, stop, delete and
share it. At least one user stays ADMIN.`,
        examples: [
          ['share mypg', 'show'],
          ['share mypg alice USER', ''],
          ['share mypg alice --remove', ''],
        ],
      }),
    ),
  )
    .argument('<pod>')
    .argument('[user]')
    .argument('[level]', LEVELS.join(', '))
    .option('--remove', 'take away what the user has')
    .action(async (podId: string, user: string | undefined, level: string | undefined, options: ShareOptions) => {
      const call = callOf(podId, user, level?.toUpperCase(), options.remove === true);
      const { permissions } = (await callForPod(chooseTarget(options), podId, call)) as {
        permissions: readonly string[];
      };
      const rows = permissions.map((each) => {
        const at = each.lastIndexOf(':');
        return { user: each.slice(0, at), level: each.slice(at + 1) };
      });
      printResult(
        options,
        rows,
        formatTable(
          ['USER', 'LEVEL'],
          rows.map((row) => [row.user, row.level]),
        ),
      );
    });
}

function callOf(podId: string, user: string | undefined, level: string | undefined, isRemoved: boolean) {
  const path = podPath(podId, '/permissions');
  if (user === undefined) {
    if (isRemoved) throw new CliError(EXIT_USAGE, 'name the user: podgate share POD USER --remove');
    return { method: 'GET', path } as const;
  }
  if (isRemoved) return { method: 'DELETE', path: `${path}/${encodeURIComponent(user)}` } as const;
  if (level === undefined || !LEVELS.includes(level)) {
    throw new CliError(EXIT_USAGE, `name the level: ${LEVELS.join(', ')}`);
  }
  return { method: 'POST', path, body: { user, level } } as const;
}
