import type { DescribedCommand } from './describe-commands.ts';

export const SHELLS = ['bash', 'zsh', 'fish'] as const;
export type Shell = (typeof SHELLS)[number];

/** bash expands the words it is given: whatever a server says, nothing but names of pods gets there. */
const LIST_PODS = "list --quiet 2>/dev/null | LC_ALL=C tr -cd 'a-z0-9\\n'";

export function completionScript(shell: Shell, commands: readonly DescribedCommand[]): string {
  switch (shell) {
    case 'bash':
      return bashScript(commands);
    case 'zsh':
      return zshScript(commands);
    case 'fish':
      return fishScript(commands);
  }
}

/** Completes words, not files: after `--` and for options with a value, bash falls back to files. */
function bashScript(commands: readonly DescribedCommand[]): string {
  const cases = commands.map(({ name, options, subcommands, takesPods }) => {
    const flags = options.map(({ flag }) => flag).join(' ');
    const words = takesPods ? `$("\${COMP_WORDS[0]}" ${LIST_PODS})` : subcommands.join(' ');
    return `    ${name}) flags="${flags}"; [[ $cur == -* ]] || words="${words}" ;;\n`;
  });
  return `_podgate() {
  local cur="\${COMP_WORDS[COMP_CWORD]}" flags="" words=""
  COMPREPLY=()
  if [[ $COMP_CWORD -eq 1 ]]; then
    COMPREPLY=($(compgen -W "${commands.map(({ name }) => name).join(' ')} --help --version" -- "$cur"))
    return
  fi
  case "\${COMP_WORDS[1]}" in
${cases.join('')}  esac
  if [[ $cur == -* ]]; then words=$flags; fi
  COMPREPLY=($(compgen -W "$words" -- "$cur"))
}
complete -o default -F _podgate podgate ./podgate
`;
}

/** zsh reads the file, as a function of its name, at the first completion, which it has to do then as well. */
function zshScript(commands: readonly DescribedCommand[]): string {
  return `#compdef podgate
autoload -U +X bashcompinit && bashcompinit
${bashScript(commands)}if [[ "\${funcstack[1]}" == _podgate ]]; then _bash_complete -o default -F _podgate; fi
`;
}

function fishScript(commands: readonly DescribedCommand[]): string {
  const lines = commands.flatMap(({ name, summary, options, subcommands, takesPods }) => {
    const seen = `complete -c podgate -n '__fish_seen_subcommand_from ${name}'`;
    return [
      `complete -c podgate -f -n __fish_use_subcommand -a ${name} -d ${fishWord(summary)}`,
      ...options.map(({ flag, summary: text }) => `${seen} -l ${flag.slice(2)} -d ${fishWord(text)}`),
      ...(subcommands.length === 0 ? [] : [`${seen} -f -a '${subcommands.join(' ')}'`]),
      ...(takesPods ? [`${seen} -f -a '(podgate list --quiet 2>/dev/null)'`] : []),
    ];
  });
  return `${lines.join('\n')}\n`;
}

/** In fish, only these two have a meaning within single quotes. */
function fishWord(text: string): string {
  return `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
}
