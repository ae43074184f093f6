import type { Command } from 'commander';
import { CliError, EXIT_USAGE } from '../cli-error.ts';
import { type CommandEntry, createCommand } from '../command.ts';
import { print } from '../output/print.ts';

export function completionCommand(commands: readonly CommandEntry[]): Command {
  return createCommand('completion', {
    description: `Prints a script with which a shell completes commands, options and pod names. podgate must be on the PATH.`,
    examples: [
      ['completion bash > ~/.local/share/bash-completion/completions/podgate', ''],
      ['completion zsh > ~/.zsh/_podgate', 'in a directory of $fpath'],
      ['completion fish > ~/.config/fish/completions/podgate.fish', ''],
    ],
  })
    .argument('<shell>', 'bash, zsh or fish')
    .action(async (name: string) => {
      const { completionScript, SHELLS } = await import('../completion/completion-script.ts');
      const { describeCommands } = await import('../completion/describe-commands.ts');
      const shell = SHELLS.find((each) => each === name);
      if (shell === undefined)
        throw new CliError(EXIT_USAGE, `no completion for ${name}; there is: ${SHELLS.join(', ')}`);
      print(completionScript(shell, await describeCommands(commands)));
    });
}
