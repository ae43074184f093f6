/** A directory of a volume, for a pod. */
export interface MountSource {
  /** Its path on this machine: what is there now is mounted only if it is the directory that is open. */
  readonly path: string;
  readonly fd: number;
  readonly target: string;
  readonly isReadOnly: boolean;
}

export interface PodMounts {
  /** The pod's home: its new root directory is made there, before it is shown in it again. */
  readonly home: string;
  readonly expanded: readonly string[];
  /** At most MOUNTS_MAX. */
  readonly sources: readonly MountSource[];
}

/** Shells close descriptors of one digit alone, from MOUNT_FD on. */
export const MOUNT_FD = 5;
export const MOUNTS_MAX = 5;

/**
 * Gives a pod a root directory of its own, in which everything of this machine is shown, and its volumes beside it: paths
 * of volumes need not exist on this machine, which stays as it is. Runs in a mount namespace of the pod's own, before its
 * rights are taken away.
 *
 * The content of volumes is not trusted: a directory may have been exchanged for a link since it was opened. So the path
 * is entered, compared with what is open, and mounted as "." - a directory that was opened in another mount namespace
 * cannot be mounted itself.
 *
 * $1: home, $2: directories to be expanded, one a line, $3: how many mounts; then for each its path, descriptor, options
 * and target. The rest is run, in its home.
 */
const MOUNT = `
set -e
new=$1 expanded=$2 count=$3
shift 3
mount -t tmpfs -o mode=755,size=1m,nosuid,nodev tmpfs "$new"
show() {
  if [ -L "$1" ]; then cp -P "$1" "$2"
  elif [ -d "$1" ]; then mkdir "$2"; mount --rbind "$1" "$2"
  else : >"$2"; mount --bind "$1" "$2"
  fi
}
expand() {
  for entry in "$1"/* "$1"/.[!.]* "$1"/..?*; do
    if [ ! -e "$entry" ] && [ ! -L "$entry" ]; then continue; fi
    if [ ! -e "$new$entry" ] && [ ! -L "$new$entry" ]; then show "$entry" "$new$entry"; fi
  done
}
# The part that the new root is in comes first, while that is empty: its copy is taken away again.
first=\${new#/}
first=/\${first%%/*}
show "$first" "$new$first"
umount "$new$new"
expand ''
IFS='
'
set -f
for directory in $expanded; do
  set +f
  mount -t tmpfs -o mode=755,size=1m,nosuid,nodev tmpfs "$new$directory"
  expand "$directory"
  # By now others are mounted below its copy.
  case $new in "$directory"/*) umount -l "$new$new" ;; esac
  set -f
done
while [ "$count" -gt 0 ]; do
  cd -P "$1"
  [ . -ef "/proc/self/fd/$2" ]
  [ -d "$new$4" ] || mkdir -p "$new$4"
  mount --no-canonicalize --bind . "$new$4"
  mount -o "remount,bind,$3,nosuid,nodev" "$new$4"
  shift 4
  count=$((count - 1))
done
exec 5<&- 6<&- 7<&- 8<&- 9<&-
cd "$new"
mkdir .former
pivot_root . .former
cd /
umount -l /.former
rmdir /.former
mount -o remount,bind,ro,nosuid,nodev /
cd "$new"
unset OLDPWD
exec "$@"
`;

/** Tries what the script needs, in a mount namespace. */
export const MOUNT_TRIAL = 'mount -t tmpfs tmpfs /tmp && mkdir /tmp/former && cd /tmp && exec pivot_root . former';

/** The command line in front of what is run with these volumes. */
export function mountingCommand({ home, expanded, sources }: PodMounts): readonly string[] {
  return [
    ...['/bin/sh', '-c', MOUNT, 'podgate-pod', home, expanded.join('\n'), String(sources.length)],
    ...sources.flatMap(({ path, fd, target, isReadOnly }) => [path, String(fd), isReadOnly ? 'ro' : 'rw', target]),
  ];
}
