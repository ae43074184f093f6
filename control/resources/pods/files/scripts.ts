/**
 * What is run in a pod to list, read and write its files: by its own user and within its own file system, so no link in it
 * leads beyond what the pod itself can reach. Paths come as arguments, and are absolute or begin with `./`.
 */

/** Exit codes of these scripts. The shell itself uses 2 and from 126 on. */
export const EXIT = { tools: 42, denied: 43, missing: 44, directory: 45, special: 46 } as const;

const needs = (...programs: readonly string[]): string =>
  programs.map((program) => `command -v ${program} >/dev/null || exit ${EXIT.tools}\n`).join('');

/**
 * $1: path, $2: a mark that no name contains. Prints the working directory, or the directory listed; then, behind a mark
 * each, mode (hexadecimal), size, time (s) and name. A pattern without a match is no file: stat prints nothing for it.
 */
export const LIST = `
${needs('stat')}
if [ -d "$1" ]; then
  [ -r "$1" ] && cd "$1" 2>/dev/null || exit ${EXIT.denied}
  printf %s "$PWD"
  set -- "$2" * .[!.]* ..?*
else
  [ -e "$1" ] || [ -L "$1" ] || exit ${EXIT.missing}
  printf %s "$PWD"
  set -- "$2" "$1"
fi
_podgate_mark=$1
shift
stat -c "$_podgate_mark%f %s %Y %n" -- "$@" 2>/dev/null
[ $? -lt 126 ] || exit 126
`;

/** $1: path. Prints its size as a line, and so many bytes of it; all of it where it says 0, as files of /proc do. */
export const READ = `
${needs('stat', 'head', 'cat')}
[ ! -d "$1" ] || exit ${EXIT.directory}
[ -e "$1" ] || exit ${EXIT.missing}
[ -f "$1" ] || exit ${EXIT.special}
[ -r "$1" ] || exit ${EXIT.denied}
exec <"$1"
_podgate_size=$(stat -L -c %s -- "$1") || exit 1
echo "$_podgate_size"
[ "$_podgate_size" != 0 ] || exec cat
exec head -c "$_podgate_size"
`;

/** Where a file for $1 is staged: in its own directory, or without a path yet among the temporary files. */
const STAGE_DIRECTORY = `
case $1 in
  '') _podgate_directory=\${TMPDIR:-/tmp} ;;
  */) _podgate_directory=$1 ;;
  *) if [ -d "$1" ]; then _podgate_directory=$1; else _podgate_directory=\${1%/*}/; fi ;;
esac
`;

/** $1: path or '', $2: name of a new file, which gets the standard input. Prints where it is. */
export const STAGE = `
${needs('cat', 'mkdir', 'mv')}
${STAGE_DIRECTORY}
mkdir -p "$_podgate_directory" && cd -P "$_podgate_directory" || exit 1
set -C
cat >"$2" || exit 1
printf %s "$PWD/$2"
`;

/** $1, $2: as for STAGE. Removes what an upload that broke off has left. */
export const UNSTAGE = `${STAGE_DIRECTORY}rm -f "$_podgate_directory/$2"\n`;

/** $1: path, $2: staged file, $3: its name where the path is a directory. Prints where the file is now. */
export const PLACE = `
_podgate_to=$1
case $1 in */) mkdir -p "$1" || exit 1 ;; *) mkdir -p "\${1%/*}/" || exit 1 ;; esac
[ ! -d "$1" ] || _podgate_to=\${1%/}/$3
[ ! -d "$_podgate_to" ] || exit ${EXIT.directory}
if [ -f "$_podgate_to" ] && _podgate_mode=$(stat -L -c %a -- "$_podgate_to" 2>/dev/null); then
  chmod "$_podgate_mode" "$2" || exit 1
fi
cd -P "\${_podgate_to%/*}/" || exit 1
_podgate_to=$PWD/\${_podgate_to##*/}
_podgate_near=$PWD/\${2##*/}
[ "$2" = "$_podgate_near" ] || mv -f "$2" "$_podgate_near" || exit 1
mv -f "$_podgate_near" "$_podgate_to" || { rm -f "$_podgate_near"; exit 1; }
printf %s "$_podgate_to"
`;
