import type { TerminalSize } from '../../../core/shell.ts';
import { shellWord } from '../../../core/shell-word.ts';

/**
 * Runs $1, a line for sh, on a terminal of its own. script(1) of util-linux makes it, in the pod and as the pod's user: no
 * code of ours has to be built for each system. Its typescript is thrown away.
 */
export const TERMINAL_SCRIPT = `
SHELL=/bin/sh
export SHELL
exec script -q -e -f -c "$1" /dev/null
`;

/**
 * Sizes come as lines on descriptor 3. When that ends, the terminal has been closed or its caller has died: then everything
 * in its session is killed, also what ignores the hangup, without anybody who could send a signal. Not before: it must not
 * take the terminal's own signals for its end.
 */
const READ_SIZES = `(
trap '' HUP INT QUIT TERM TSTP TTIN TTOU
exec <&3 3<&- >/dev/null 2>&1
read -r own rest </proc/self/stat
while read -r rows columns; do stty rows "$rows" cols "$columns" </dev/tty; done
for process in /proc/[0-9]*; do
  read -r stat <"$process/stat" || continue
  pid=\${process#/proc/}
  set -- \${stat##*) }
  if [ "$4" = "$$" ] && [ "$pid" != "$own" ]; then kill -s KILL "$pid"; fi
done
) &
exec 3<&-`;

/** The line for TERMINAL_SCRIPT. `shell`: what SHELL is for the command; undefined: it has none. */
export function terminalLine(
  command: readonly string[],
  { columns, rows }: TerminalSize,
  shell: string | undefined,
): string {
  return [
    `stty sane rows ${rows} cols ${columns} 2>/dev/null`,
    READ_SIZES,
    shell === undefined ? 'unset SHELL' : `SHELL=${shellWord(shell)}`,
    `exec ${command.map(shellWord).join(' ')}`,
  ].join('\n');
}
