import { accessSync, constants, readFileSync } from 'node:fs';
import { isBuiltin } from 'node:module';
import { join } from 'node:path';
import type { Config } from '../config/config.ts';
import { hasSysAdmin } from '../proxy/socket/capabilities.ts';
import { SHIM_PATH } from '../spawner/orchestrator/process/shim.ts';
import { tryWalls } from '../spawner/orchestrator/process/walls.ts';
import type { Walls } from '../spawner/orchestrator/process/room.ts';

/** Enter and make the network namespaces of pods, and bring up their loopback interfaces. */
const CAPABILITIES = '-all,+sys_admin,+net_admin';

export interface WallsOfPods {
  readonly walls: Walls;
  /** A port that keeps Podgate out of a user namespace of its own; null: none. */
  readonly privilegedPort: number | null;
}

/**
 * Starts this program again in a user namespace of its own, under the same pid, when that lets its pods have network
 * namespaces: a process may enter those that its own user namespace owns (setns(2)), and one with threads cannot change
 * its user namespace. Returns when there is nothing to gain. Inside, the user is the same and files are as
 * before; only setuid programs, such as sudo, gain nothing.
 */
export function enterOwnUserNamespace(config: Config): void {
  const prefix = prefixFor(config);
  if (prefix === null || !tryWalls({ asRoot: false, canEnter: isBuiltin('node:ffi'), prefix }).hasNamespaces) return;
  const [unshare = ''] = prefix;
  process.execve?.(unshare, [...prefix, process.execPath, ...process.execArgv, ...process.argv.slice(1)], process.env);
}

/** The walls that pods have when Podgate runs with these settings, tried from outside of it. */
export function wallsOfPods(config: Config): WallsOfPods {
  const asRoot = process.getuid?.() === 0;
  const prefix = prefixFor(config) ?? [];
  const canEnter = (asRoot || prefix.length > 0 || hasSysAdmin()) && isBuiltin('node:ffi');
  return { walls: tryWalls({ asRoot, canEnter, prefix }), privilegedPort: asRoot ? null : privilegedPortOf(config) };
}

/** Null where Podgate stays as it is. */
function prefixFor(config: Config): readonly string[] | null {
  if (process.platform !== 'linux' || process.getuid?.() === 0 || hasSysAdmin()) return null;
  // A gateway apart has no pods on its machine.
  if (config.orchestrator !== 'process' || !config.roles.includes('control')) return null;
  if (privilegedPortOf(config) !== null) return null;
  const unshare = findTool('unshare');
  const setpriv = findTool('setpriv');
  if (unshare === null || setpriv === null) return null;
  const capabilities = ['--inh-caps', '--ambient-caps', '--bounding-set'].map((set) => `${set}=${CAPABILITIES}`);
  return [unshare, '--user', '--map-current-user', '--keep-caps', '--', setpriv, ...capabilities, '--'];
}

/** A port that takes a capability to bind, which a user namespace would take away. */
function privilegedPortOf(config: Config): number | null {
  if (process.platform !== 'linux') return null;
  const first = Number(readFileSync('/proc/sys/net/ipv4/ip_unprivileged_port_start', 'utf8').trim());
  const ports = [config.httpsPort, config.httpPort, config.controlPort, ...config.listeners.map(({ port }) => port)];
  return ports.find((port) => port > 0 && port < first) ?? null;
}

function findTool(name: string): string | null {
  for (const directory of SHIM_PATH.split(':')) {
    const path = join(directory, name);
    try {
      accessSync(path, constants.X_OK);
      return path;
    } catch {
      // Elsewhere.
    }
  }
  return null;
}
