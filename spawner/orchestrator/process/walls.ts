import { spawnSync } from 'node:child_process';
import { SHIM_PATH } from './shim.ts';
import { USER_NAMESPACE, type Walls } from './room.ts';

const TRIAL_TIMEOUT_MS = 5_000;

/** As the hiding of files does, and then gives its rights back. */
const MOUNT =
  'mount -t tmpfs tmpfs /tmp && exec setpriv --no-new-privs --ambient-caps=-all --bounding-set=-all -- true';

/**
 * Tries what this system lets Podgate do for its pods: what a kernel has, a container may still forbid. `canEnter`: this
 * process reaches into other network namespaces. Takes 10 ms.
 */
export function tryWalls({ asRoot, canEnter }: { readonly asRoot: boolean; readonly canEnter: boolean }): Walls {
  const hasSetpriv = works('setpriv', ['--no-new-privs', '--', 'true']);
  const inner = 'ip link set lo up && exec unshare --pid --fork --mount-proc -- true';
  const hasNamespaces =
    asRoot && hasSetpriv && canEnter && works('unshare', ['--net', '--ipc', '--', 'sh', '-c', inner]);
  const hasUserNamespaces = !asRoot && hasSetpriv && works('unshare', [...USER_NAMESPACE.slice(1), 'sh', '-c', MOUNT]);
  return { hasSetpriv, hasNamespaces, hasUserNamespaces };
}

function works(program: string, args: readonly string[]): boolean {
  const options = { env: { PATH: SHIM_PATH }, stdio: 'ignore', timeout: TRIAL_TIMEOUT_MS } as const;
  return spawnSync(program, args, options).status === 0;
}
