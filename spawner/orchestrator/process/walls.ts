import { spawnSync } from 'node:child_process';
import { SHIM_PATH } from './shim.ts';
import { MOUNT_TRIAL } from './mount-script.ts';
import { USER_NAMESPACE, type Walls } from './room.ts';

const TRIAL_TIMEOUT_MS = 5_000;

/** Hides files as pods have them hidden, then gives up its capabilities. */
const MOUNT =
  'mount -t tmpfs tmpfs /tmp && exec setpriv --no-new-privs --ambient-caps=-all --bounding-set=-all -- true';
const LOOPBACK_UP = 'ip link set lo up && exec "$@"';

export interface WallsTrial {
  readonly asRoot: boolean;
  /** This process enters the network namespaces of pods: setns(2) works in it. */
  readonly canEnter: boolean;
  /** A command line to run every trial under. Default: none. */
  readonly prefix?: readonly string[];
}

/**
 * Tries what this system lets Podgate do for its pods: what a kernel supports, a container may still forbid. Takes 10 ms.
 * Network namespaces take CAP_SYS_ADMIN: that of root, or that of a user namespace which Podgate runs in
 * (main/own-user-namespace.ts).
 */
export function tryWalls({ asRoot, canEnter, prefix = [] }: WallsTrial): Walls {
  const works = (...command: readonly string[]): boolean => succeeds([...prefix, ...command]);
  const hasSetpriv = works('setpriv', '--no-new-privs', '--', 'true');
  const userNamespace = [...USER_NAMESPACE, 'sh', '-c', MOUNT];
  const hasUserNamespaces = !asRoot && hasSetpriv && works(...userNamespace);
  const inner = asRoot ? ['unshare', '--pid', '--fork', '--mount-proc', '--', 'true'] : userNamespace;
  const hasNamespaces =
    hasSetpriv &&
    canEnter &&
    (asRoot || hasUserNamespaces) &&
    works('unshare', '--net', '--ipc', '--', 'sh', '-c', LOOPBACK_UP, 'sh', ...inner);
  const isContained = hasNamespaces || hasUserNamespaces;
  const inMountNamespace = asRoot ? ['unshare', '--pid', '--fork', '--mount-proc', '--'] : USER_NAMESPACE;
  const canMount = isContained && works(...inMountNamespace, 'sh', '-c', MOUNT_TRIAL);
  return { hasSetpriv, hasNamespaces, hasUserNamespaces, canMount };
}

function succeeds([program = 'false', ...args]: readonly string[]): boolean {
  const options = { env: { PATH: SHIM_PATH }, stdio: 'ignore', timeout: TRIAL_TIMEOUT_MS } as const;
  return spawnSync(program, args, options).status === 0;
}
