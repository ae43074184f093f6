import type { Command } from 'commander';
import type { CommandEntry } from '../command.ts';

/** What a shell needs to complete one command. */
export interface DescribedCommand {
  readonly name: string;
  readonly summary: string;
  /** `--json` and the like. */
  readonly options: readonly { readonly flag: string; readonly summary: string }[];
  readonly subcommands: readonly string[];
  readonly takesPods: boolean;
}

/** The one source of completion: the commands themselves. Loads all of them. */
export async function describeCommands(commands: readonly CommandEntry[]): Promise<readonly DescribedCommand[]> {
  return await Promise.all(
    commands.map(async ({ name, summary, load }) => {
      const command: Command = await load();
      const all = [command, ...command.commands];
      const flags = new Map(
        all.flatMap(({ options }) => options.map(({ long, description }) => [long ?? '', description] as const)),
      );
      flags.set('--help', 'show help');
      return {
        name,
        summary,
        options: [...flags].filter(([flag]) => flag !== '').map(([flag, text]) => ({ flag, summary: text })),
        subcommands: command.commands.map((each) => each.name()),
        takesPods: name !== 'create' && command.registeredArguments[0]?.name().startsWith('pod') === true,
      };
    }),
  );
}
