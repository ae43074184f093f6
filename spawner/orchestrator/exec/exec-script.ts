/**
 * Runs the command `"$@"` on behalf of a caller at the other end of standard input (exec-dialogue.ts). POSIX sh, for every
 * image that has one; the process must lead a process group of its own.
 *
 * The caller's lines: the go-ahead, without which nothing runs, with the mark and whether there is input; then, for each
 * mark that asks for it, the size of a frame of input and so many bytes; `0` after the last; `end`. The script's own lines
 * go to the command's outputs and begin with the mark, a secret of the two: on standard error, `+` asks for a frame; the
 * exit code follows on both when the command has ended.
 *
 * Standard input is a lifeline: when it ends, or `end` comes, the whole group is killed, without anybody who could send a
 * signal. So it is always being read, whether the command reads or not: a frame is asked for when the second dd can hold all
 * of it. And nothing ends before `end`: a container runtime that closes a connection with unread input loses the output and
 * the exit code that are on their way.
 *
 * dd reads a block, all of it before it writes, and no byte beyond it (head of BusyBox does). The shell's own remarks
 * ("Killed") are not the command's output. A command that ends its process group with TERM must not end the script. The
 * script's variables have names that no pod's environment uses: to assign an exported variable would change it for the
 * command.
 */
export const EXEC_SCRIPT = `
exec 3>&2 4<&0 2>/dev/null </dev/null
trap : TERM
read -r _podgate_mark _podgate_input <&4 || exit 125
_podgate_listen() {
  trap '' PIPE TERM
  while read -r _podgate_line <&4; do
    case $_podgate_line in
      end) break ;;
      0) exec >/dev/null ;;
      *) echo "$_podgate_line"; dd bs="$_podgate_line" count=1 iflag=fullblock <&4 ;;
    esac
  done
  kill -s KILL 0
}
_podgate_feed() {
  echo "$_podgate_mark+" >&3
  while read -r _podgate_size; do
    dd bs="$_podgate_size" count=1 iflag=fullblock
    echo "$_podgate_mark+" >&3
  done
}
_podgate_run() {
  trap : TERM
  ( exec 2>&3 3>&-; exec "$@" )
  set -- "$?"
  echo "$_podgate_mark$1" >&3
  echo "$_podgate_mark$1"
  wait
  exit "$1"
}
if [ "$_podgate_input" = input ] && ! dd iflag=fullblock count=0 >/dev/null; then
  _podgate_input=none
  set -- sh -c 'echo "podgate: this image has no dd(1) with iflag=fullblock, which passes on the input of a command" >&2; exit 126'
fi
if [ "$_podgate_input" = input ]; then
  _podgate_listen 3>&- | _podgate_feed 4<&- | _podgate_run "$@" 4<&-
else
  _podgate_listen >/dev/null 3>&- &
  exec 4<&-
  _podgate_run "$@"
fi
`;
