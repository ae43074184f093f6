import type { Command } from 'commander';
import { PODGATE } from '../called-as.ts';
import { CliError, EXIT_FAILED } from '../cli-error.ts';
import { createCommand, type OutputOptions, withJson } from '../command.ts';
import { nearestTo } from '../output/nearest.ts';
import { printResult } from '../output/print.ts';
import { readLogins, writeCa, writeLogins } from '../target/logins.ts';

export function logoutCommand(): Command {
  return withJson(
    createCommand('logout', {
      description: `Forgets a login and its token. The token itself stays valid until it expires. Commands then use the installation on
this machine, or another login that you choose with ${PODGATE} login --profile.`,
      examples: [
        ['logout', 'the current login'],
        ['logout --profile work', ''],
      ],
    }),
  )
    .option('--profile <name>', 'this login instead of the current one')
    .action((options: OutputOptions & { profile?: string }) => {
      const { current, profiles } = readLogins();
      const profile = options.profile ?? current;
      if (profile === null) throw new CliError(EXIT_FAILED, 'there is no current login');
      const { [profile]: login, ...others } = profiles;
      if (login === undefined) {
        const near = nearestTo(profile, Object.keys(profiles));
        throw new CliError(
          EXIT_FAILED,
          `there is no login ${profile}${near === null ? '' : `; did you mean ${near}?`}`,
        );
      }
      writeLogins({ current: current === profile ? null : current, profiles: others });
      writeCa(profile, null);
      printResult(options, { profile, url: login.origin }, `logged out of ${login.origin} (profile ${profile})\n`);
    });
}
