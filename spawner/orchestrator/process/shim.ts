import { type ChildProcess, spawn } from 'node:child_process';
import { exitOfShellCode } from '../exec/shell-exit.ts';
import { parseStat } from './process-table.ts';

/**
 * The parent of a pod's program. It outlives us, so that the next process learns how the program ended: it writes
 * to fd 3, a file that the pod cannot open. Its traps keep it alive until the program has ended (traps are reset in
 * children).
 *
 * The program prints to a pipe. A second process writes that to output.log, and may not write more than $2 blocks of 512
 * bytes to one file: then the file gives way to a new one. So the disk is safe with no help of ours. Of what that process
 * reads at such a moment, 4 KiB at most, a part is lost; the new file says so.
 *
 * Arguments: directory of the log, blocks, `lo` to bring up the loopback interface of a new network namespace, the user
 * who may open the pipe by name (/dev/stdout), `contained` when nothing of the program can outlive it, the files of its
 * control groups, and the port (in hexadecimal) of the way out that somebody is about to open in its network: the program
 * starts when it is there, or after two seconds. The rest is run.
 */
const SHIM = `
trap : TERM INT HUP QUIT USR1 USR2
if [ "$3" = lo ]; then ip link set lo up || exit 125; fi
stat=
read -r stat </proc/$$/stat
printf 'started %d %s\\n' "$$" "$stat" >&3
log=$1 blocks=$2 owner=$4 contained=$5 groups=$6 door=$7
shift 7
turns=0
while [ -n "$door" ] && [ "$turns" -lt 200 ] && ! grep -q ":$door 00000000:0000 0A" /proc/net/tcp; do
  sleep 0.01
  turns=$((turns + 1))
done
{
  trap : TERM INT HUP QUIT USR1 USR2
  if [ -n "$owner" ]; then chown "$owner" /dev/fd/1; fi
  (
    for group in $groups; do echo 0 >"$group" || exit 125; done
    exec "$@"
  ) 3>&-
  printf 'exited %d\\n' "$?" >&3
  # A process that the program has left behind keeps the pipe open, and with it this pipeline.
  [ -n "$contained" ] || kill -s KILL $$
} 2>&1 | {
  trap '' TERM INT HUP QUIT USR1 USR2 XFSZ
  exec 3>&- 4>&- 5<&- 6<&- 7<&- 8<&- 9<&- 2>/dev/null
  cd "$log" || exit
  while :; do
    ( ulimit -f "$blocks" && exec dd bs=4k >>output.log ) && break
    { mv -f output.log output.1.log && echo '[some output was dropped here]' >output.log; } || sleep 1
  done
}
`;

/** Programs that the shim calls by name: never found on the pod's PATH. */
export const SHIM_PATH = '/usr/sbin:/usr/bin:/sbin:/bin';
const BLOCK_BYTES = 512;

export interface ShimOptions {
  /** What is run, down to the program (see room.ts). */
  readonly command: readonly string[];
  /** In front of the shim itself. */
  readonly prefix: readonly string[];
  readonly cwd: string;
  /** Of the shim and of what it runs, until the program's own environment is read from fd 4. */
  readonly environment: Readonly<Record<string, string>>;
  /** The user of the shim; null: our own. */
  readonly user: { readonly uid: number; readonly gid: number } | null;
  readonly logDirectory: string;
  /** Bound of each of the two files. */
  readonly logFileMaxBytes: number;
  readonly hasOwnNetwork: boolean;
  /** A port that somebody else opens in this network, and which the program may use at once; null: there is none. */
  readonly doorPort: number | null;
  /** Who may open the pipe by name; null: the user that the shim runs as. */
  readonly pipeOwner: number | null;
  /** Nothing of the program outlives it. */
  readonly isContained: boolean;
  /** Files to which a process writes 0 to join a control group: paths without blanks. */
  readonly groups: readonly string[];
  readonly statusFd: number;
  readonly environmentFd: number;
  /** Directories of volumes, from MOUNT_FD on. */
  readonly mountFds: readonly number[];
}

/** Starts the shim as leader of a session and a process group of its own. */
export function spawnShim(options: ShimOptions): ChildProcess {
  const [program = '/bin/sh', ...args] = [
    ...options.prefix,
    '/bin/sh',
    '-c',
    SHIM,
    'podgate-pod',
    options.logDirectory,
    String(Math.max(1, Math.floor(options.logFileMaxBytes / BLOCK_BYTES))),
    options.hasOwnNetwork ? 'lo' : '',
    options.pipeOwner === null ? '' : String(options.pipeOwner),
    options.isContained ? 'contained' : '',
    options.groups.join(' '),
    options.doorPort === null ? '' : options.doorPort.toString(16).toUpperCase().padStart(4, '0'),
    ...options.command,
  ];
  return spawn(program, args, {
    cwd: options.cwd,
    env: { PATH: SHIM_PATH, ...options.environment },
    detached: true,
    stdio: ['ignore', 'ignore', 'ignore', options.statusFd, options.environmentFd, ...options.mountFds],
    ...(options.user ?? {}),
  });
}
/** What the status file says. */
export interface ShimStatus {
  /** Null before the shim has written; its start is null where there is no /proc. */
  readonly started: { readonly pid: number; readonly start: string | null } | null;
  readonly exit: Exit | null;
}

/** How a program ended: by a code or by a signal. */
export type Exit = (
  { readonly kind: 'code'; readonly code: number } | { readonly kind: 'signal'; readonly signal: string }
) & {
  /** The limit that it ran into, when that is how it ended. */
  readonly outOfMemoryMiB?: number;
};

export function parseShimStatus(text: string): ShimStatus {
  const started = /^started (\d+) (.*)$/m.exec(text);
  const exited = /^exited (\d+)$/m.exec(text);
  return {
    started: started === null ? null : { pid: Number(started[1]), start: parseStat(started[2] ?? '')?.start ?? null },
    // A line that was not written to its end says nothing.
    exit: exited === null || !text.endsWith('\n') ? null : exitOfShellCode(Number(exited[1])),
  };
}

export function exitText(exit: Exit): string {
  const ended = exit.kind === 'code' ? `exited with code ${exit.code}` : `killed by ${exit.signal}`;
  return exit.outOfMemoryMiB === undefined ? ended : `${ended}: out of memory (limit ${exit.outOfMemoryMiB} MiB)`;
}
