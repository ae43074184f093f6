import { PROCESSES_MAX } from './cgroups.ts';
import { mountingCommand, type PodMounts } from './mount-script.ts';
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
/** The same for a script beside the program. $1: its working directory. It inherits no namespaces. */
const LAUNCH_BESIDE = `${PREPARE}unset OLDPWD
exec 5>&- 6>&- 7>&- 8>&- 9>&-
cd "$1" || exit 126
shift
`;
/**
 * The program as a child of process 1 of a pid namespace: that process would ignore signals, and has to reap what others
 * leave. Its traps keep it alive until the program has ended (traps are reset in children).
 */
const LAUNCH_IN_NAMESPACE = `${PREPARE}trap : TERM INT HUP QUIT USR1 USR2\n( exec "$@" )`;

/**
 * Shared memory of the pod's own, as large as its memory limit, of which it is a part; the machine's would be shared with
 * other pods and outlive this one. $shm: its size in MiB.
 */
const SHARED_MEMORY = `[ ! -d /dev/shm ] || mount -t tmpfs -o "mode=1777,nosuid,nodev,size=\${shm}m" tmpfs /dev/shm`;
const WITH_SHARED_MEMORY = `shm=$1\nshift\n${SHARED_MEMORY}\nexec "$@"`;

/**
 * Hides files in a mount namespace of the pod's own. $1: directories that seem empty, $2: files that seem empty, $3: at
 * most five directories that are there nevertheless, the first of them the working directory, $4: those of them that it
 * cannot write to; each one a line. The former working directory would lead past the empty ones. $5: size of its shared
 * memory. A mount that may not drop the flags of the file system below it has to repeat them.
 */
const HIDE = `
set -ef
hidden=$1 files=$2 kept=$3 locked=$4 shm=$5
shift 5
${SHARED_MEMORY}
IFS='
'
fd=5
for path in $kept; do eval "exec $fd"'<"$path"'; fd=$((fd + 1)); done
cd /
for path in $hidden; do [ ! -d "$path" ] || mount -t tmpfs -o mode=711,size=64k tmpfs "$path"; done
for path in $files; do [ ! -e "$path" ] || mount --bind /dev/null "$path"; done
fd=5
for path in $kept; do
  mkdir -p "$path"
  mount --no-canonicalize --bind "/proc/self/fd/$fd" "$path"
  eval "exec $fd<&-"
  fd=$((fd + 1))
done
for path in $locked; do
  for flags in ro ro,nosuid,nodev ro,nosuid,nodev,noatime; do
    ! mount -o "remount,bind,$flags" "$path" 2>/dev/null || break
  done
done
for path in $kept; do cd "$path"; break; done
unset OLDPWD
exec "$@"
`;

/** How much stands between pods, and between them and the machine. */
export interface Walls {
  /** Each pod has a network and a pid namespace of its own. */
  readonly hasNamespaces: boolean;
  /** Without root: each pod has a user namespace, with pid and mount namespaces. */
  readonly hasUserNamespaces: boolean;
  /** Each pod can have a root directory of its own, with volumes in it. */
  readonly canMount: boolean;
  /** util-linux's setpriv: changes the user and sets no_new_privs. */
  readonly hasSetpriv: boolean;
}

/** Namespaces, as the options of nsenter(1) call them. */
export type NamespaceKind = 'user' | 'net' | 'ipc' | 'pid' | 'mount';

/** What pods that run as ourselves must not see, and what they need of it nevertheless. */
export interface HiddenFiles {
  readonly directories: readonly string[];
  readonly files: readonly string[];
  /** The first is the working directory. */
  readonly kept: readonly string[];
}

export interface Room {
  readonly prefix: readonly string[];
  readonly command: readonly string[];
  /** The user that the shim has to have already, since nothing in between can change it. */
  readonly shimUser: OsUser | null;
  /** Nothing of the program outlives it. */
  readonly isContained: boolean;
}

/** Puts a program behind the walls that there are: the command lines from the shim down to it. */
export function roomFor(
  walls: Walls,
  osUser: OsUser | null,
  hide: HiddenFiles,
  program: {
    readonly command: readonly string[];
    readonly memLimitMiB: number;
    readonly readOnly: readonly string[];
    /** Null: it mounts no named volumes. */
    readonly mounts: PodMounts | null;
    /** Of the volumes it mounts. */
    readonly groups: readonly number[];
  },
): Room {
  const { hasNamespaces, hasUserNamespaces, hasSetpriv } = walls;
  const isContained = hasNamespaces || hasUserNamespaces;
  const launch = isContained ? LAUNCH_IN_NAMESPACE : LAUNCH;
  const { readOnly } = program;
  const kept = [...hide.kept, ...readOnly];
  const lists = [hide.directories, hide.files, kept, readOnly].map((paths) => paths.join('\n'));
  const shm = String(program.memLimitMiB);
  const { mounts, groups } = program;
  const mounting = mounts === null ? [] : mountingCommand(mounts);
  return {
    prefix: hasNamespaces ? ['unshare', '--net', '--ipc', '--'] : [],
    command: [
      ...(hasUserNamespaces
        ? [...USER_NAMESPACE, ...mounting, '/bin/sh', '-c', HIDE, 'podgate-pod', ...lists, shm]
        : hasNamespaces
          ? [...PID_NAMESPACE, ...mounting, '/bin/sh', '-c', WITH_SHARED_MEMORY, 'podgate-pod', shm]
          : []),
      ...(hasSetpriv ? ['setpriv', ...privileges(osUser, hasUserNamespaces, groups), '--'] : []),
      ...sharing(mounts !== null),
      ...['/bin/sh', '-c', launch, 'podgate-pod', processesOf(osUser), ...program.command],
    ],
    shimUser: hasSetpriv ? null : osUser,
    isContained,
  };
}

/** First of the descriptors through which a command finds the namespaces of its pod. */
const NAMESPACE_FD = 5;

/**
 * Puts a script into the room of a program that runs: its namespaces (those of `pod-namespaces.ts`, in that order, from
 * descriptor 5 on), user and limits. A session of its own keeps its signals from what is outside.
 */
export function roomBeside(
  walls: Walls,
  osUser: OsUser | null,
  namespaces: readonly NamespaceKind[],
  {
    script,
    words,
    cwd,
    groups,
  }: {
    /** For sh, with its arguments. */
    readonly script: string;
    readonly words: readonly string[];
    readonly cwd: string;
    /** Of the volumes that the pod mounts; null: it mounts none. */
    readonly groups: readonly number[] | null;
  },
): Pick<Room, 'command' | 'shimUser'> {
  const { hasUserNamespaces, hasSetpriv } = walls;
  const enter = namespaces.map((kind, index) => `--${kind}=/proc/self/fd/${NAMESPACE_FD + index}`);
  return {
    command: [
      ...(enter.length === 0 ? [] : ['nsenter', ...enter, '--preserve-credentials', '--', 'setsid']),
      ...(hasSetpriv ? ['setpriv', ...privileges(osUser, hasUserNamespaces, groups ?? []), '--'] : []),
      ...sharing(groups !== null),
      ...['/bin/sh', '-c', LAUNCH_BESIDE + script, 'podgate-exec', processesOf(osUser), cwd, ...words],
    ],
    shimUser: hasSetpriv ? null : osUser,
  };
}

/** A fork bomb must not take all pids of the machine. Without a user of the pod's own, ours would count too. */
function processesOf(osUser: OsUser | null): string {
  return osUser === null ? '' : String(PROCESSES_MAX);
}

/** Its user has all rights in it until `setpriv` takes them away, and may mount. */
export const USER_NAMESPACE: readonly string[] = [
  ...['unshare', '--user', '--map-current-user', '--keep-caps', '--ipc', '--pid', '--fork', '--mount-proc', '--'],
];
const PID_NAMESPACE: readonly string[] = ['unshare', '--pid', '--fork', '--mount-proc', '--'];
const NO_CAPABILITIES = ['--inh-caps=-all', '--ambient-caps=-all', '--bounding-set=-all'];

/** Pods that share a volume share the files in it: they have its group, and let the group write. */
function sharing(hasVolumes: boolean): readonly string[] {
  return hasVolumes ? ['/bin/sh', '-c', 'umask 002\nexec "$@"', 'podgate-pod'] : [];
}

function privileges(osUser: OsUser | null, hasUserNamespaces: boolean, groups: readonly number[]): readonly string[] {
  const others = groups.length === 0 ? '--clear-groups' : `--groups=${groups.join(',')}`;
  const user = osUser === null ? [] : [`--reuid=${osUser.uid}`, `--regid=${osUser.gid}`, others];
  return [...user, '--no-new-privs', ...(osUser !== null || hasUserNamespaces ? NO_CAPABILITIES : [])];
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
