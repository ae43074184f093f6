/**
 * Runs the command `"$@"` on behalf of a caller who is at the other end of standard input. POSIX sh, for every image that
 * has one; the process must lead a process group of its own.
 *
 * The caller sends the command's input in frames: the size as a line, and so many bytes; a size of 0 ends them
 * (send-input.ts). Nothing runs before the first line has come: it is the caller's go-ahead. Standard input stays open until the command has ended. When it ends before, the caller has
 * died or has given up, and the whole group is killed: it works without anybody who could send a signal.
 *
 * The reader of standard input must not be trapping TERM when it is told to end, so it says when it is ready. The shell's
 * own remarks ("Killed") are not the command's output. The script's variables have names that no pod's environment uses: to
 * assign an exported variable would change it for the command.
 */
export const EXEC_SCRIPT = `
exec 3>&2 2>/dev/null
trap : TERM
read -r _podgate_size || exit 125
if [ "$_podgate_size" != 0 ] && ! command -v head >/dev/null; then
  echo 'podgate: this image has no head(1), which passes on the input of a command' >&3
  exit 126
fi
{
  trap - TERM
  echo
  while [ "$_podgate_size" != 0 ]; do head -c "$_podgate_size"; read -r _podgate_size || kill -s KILL 0; done
  exec >&-
  read -r _podgate_end
  kill -s KILL 0
} | {
  trap : TERM
  read -r _podgate_ready
  ( exec 2>&3 3>&-; exec "$@" )
  _podgate_code=$?
  kill -s TERM 0
  exit "$_podgate_code"
}
exit "$?"
`;
