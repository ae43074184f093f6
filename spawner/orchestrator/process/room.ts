import { PROCESSES_MAX } from './cgroups.ts';
import type { OsUser } from './os-users.ts';

/**
 * The last step before a pod's program: reads its environment, which no process with more rights may be given. `exec`
 * runs programs only, never a builtin of this shell. The option for the number of processes is -p in dash, -u in other
 * shells.
 */
const PREPARE = `
if [ -n "$1" ]; then ulimit -p "$1" 2>/dev/null || ulimit -u "$1" 2>/dev/null; fi
shift
. /dev/fd/4
exec 4>&-
`;
const LAUNCH = `${PREPARE}exec "$@"`;
/**
 * The program as a child of process 1 of a pid namespace: that process would ignore signals, and has to reap what others
 * leave. Its traps keep it alive until the program has ended (traps are reset in children).
 */
const LAUNCH_IN_NAMESPACE = `${PREPARE}trap : TERM INT HUP QUIT USR1 USR2\n( exec "$@" )`;

/** How much stands between pods, and between them and the machine. */
export interface Walls {
  /** A network and a pid namespace of its own for each pod, made by root. */
  readonly hasNamespaces: boolean;
  /** util-linux's setpriv: changes the user and sets no_new_privs. */
  readonly hasSetpriv: boolean;
}

export interface Room {
  readonly prefix: readonly string[];
  readonly command: readonly string[];
  /** The user that the shim has to have already, since nothing in between can change it. */
  readonly shimUser: OsUser | null;
}

/** Puts a program behind the walls that there are: the command lines from the shim down to it. */
export function roomFor(walls: Walls, osUser: OsUser | null, program: readonly string[]): Room {
  const { hasNamespaces, hasSetpriv } = walls;
  const launch = hasNamespaces ? LAUNCH_IN_NAMESPACE : LAUNCH;
  // A fork bomb must not take all pids of the machine. Without a user of the pod's own, ours would count too.
  const processes = osUser === null ? '' : String(PROCESSES_MAX);
  return {
    prefix: hasNamespaces ? ['unshare', '--net', '--ipc', '--'] : [],
    command: [
      ...(hasNamespaces ? ['unshare', '--pid', '--fork', '--mount-proc', '--'] : []),
      ...(hasSetpriv ? ['setpriv', ...privileges(osUser), '--'] : []),
      ...['/bin/sh', '-c', launch, 'podgate-pod', processes, ...program],
    ],
    shimUser: hasSetpriv ? null : osUser,
  };
}

function privileges(osUser: OsUser | null): readonly string[] {
  if (osUser === null) return ['--no-new-privs'];
  return [
    `--reuid=${osUser.uid}`,
    `--regid=${osUser.gid}`,
    '--clear-groups',
    '--no-new-privs',
    '--inh-caps=-all',
    '--ambient-caps=-all',
    '--bounding-set=-all',
  ];
}

/** Names that shells keep for themselves, in one shell or another: to assign them ends the shell. */
const READONLY = new Set(['UID', 'EUID', 'PPID', 'SHELLOPTS', 'BASHOPTS', 'BASH_VERSINFO']);

/** A file for `. FILE` that exports these variables. Shells know no others than identifiers. */
export function environmentScript(environment: Readonly<Record<string, string>>): string {
  return Object.entries(environment)
    .filter(([name]) => /^[A-Za-z_][A-Za-z0-9_]*$/.test(name) && !READONLY.has(name))
    .map(([name, value]) => `export ${name}='${value.replaceAll("'", `'\\''`)}'\n`)
    .join('');
}
