import { IGNORED_FS_GROUP } from '../../ignored-fs-group.ts';

/** In the volume, beside the data of the image. */
const LOCK = '.podgate-lock';

/** Bash that ends the start with the reason when the volume is another group's: what programs say of that helps nobody. */
export function requireGroup(dataPath: string): string {
  return `
if [ ! -w "${dataPath}" ] && [ "$(stat -c %g "${dataPath}")" != "$(id -g)" ]; then
  cat >&2 <<'END'
${IGNORED_FS_GROUP}
END
  exit 1
fi
`;
}

/**
 * Bash that waits as long as a container before this one still runs on the volume, and then keeps it to this one.
 *
 * A node that was deleted from the cluster, or whose Pods were deleted by force, may run on. When its kubelet reports
 * again, it ends what the cluster no longer knows and starts the successor at the same time (observed with Kubernetes
 * 1.34: both ran for 0.5 s). Postgres does not notice, as it looks for the other server by process id and shared memory,
 * and both are in other namespaces. A lock of the kernel holds across namespaces, and on network file systems that have
 * locks. It ends with the last process that has inherited it. Without `flock`, or without locks, the start goes on.
 */
export function lockVolume(dataPath: string): string {
  return `
if command -v flock >/dev/null && { exec 9>>"${dataPath}/${LOCK}"; } 2>/dev/null; then
  flock -n -E 75 9
  if [ "$?" = 75 ]; then
    echo 'An earlier container of this pod still uses the volume. The start continues once that container has ended.' >&2
    trap 'exit 143' TERM INT
    flock 9 &
    wait "$!"
    trap - TERM INT
  fi
fi
`;
}
