import { type ChildProcess, spawn } from 'node:child_process';
import { constants } from 'node:os';
import type { ProcessName } from './belonging.ts';
import { parseStat } from './process-table.ts';

/**
 * Processes and threads that a pod with a user of its own may have: a fork bomb must not take all pids of the machine
 * (32,768 where nobody has raised it). Without such a user, ours would count too.
 */
const PROCESSES_MAX = 4_096;

/**
 * The parent of a pod's program. It outlives us, so that whoever comes after us learns how the program ended: it writes
 * to fd 3, a file of ours that the pod's user cannot open. Its traps keep it alive until the program has ended (traps
 * are reset in children). `exec` in a subshell runs programs only, never a builtin of this shell, in the foreground,
 * where no signal is ignored. fd 4 is the log. The first argument is the most processes it may have, or nothing; the
 * option for that is -p in dash, -u in other shells.
 */
const SHIM = `
if [ -n "$1" ]; then ulimit -p "$1" 2>/dev/null || ulimit -u "$1" 2>/dev/null; fi
shift
trap : TERM INT HUP QUIT USR1 USR2
stat=
read -r stat </proc/$$/stat
printf 'started %d %s\\n' "$$" "$stat" >&3
( exec "$@" ) 2>&4 3>&- 4>&-
code=$?
printf 'exited %d\\n' "$code" >&3
exit "$code"
`;

export interface ShimOptions {
  readonly command: readonly string[];
  readonly cwd: string;
  readonly environment: Readonly<Record<string, string>>;
  /** Null: runs as ourselves. */
  readonly user: { readonly uid: number; readonly gid: number } | null;
  readonly logFd: number;
  readonly statusFd: number;
}

/** Starts the shim as leader of a session and a process group of its own. */
export function spawnShim(options: ShimOptions): ChildProcess {
  const { command, cwd, environment, user, logFd, statusFd } = options;
  return spawn('/bin/sh', ['-c', SHIM, 'podgate-pod', user === null ? '' : String(PROCESSES_MAX), ...command], {
    cwd,
    env: environment,
    detached: true,
    stdio: ['ignore', logFd, 'ignore', statusFd, logFd],
    ...(user ?? {}),
  });
}

/** What the status file says. */
export interface ShimStatus {
  /** Null before the shim has written; its start is null where there is no /proc. */
  readonly started: { readonly pid: number; readonly start: string | null } | null;
  readonly exit: Exit | null;
}

/** How a program ended: by a code or by a signal. */
export type Exit =
  { readonly kind: 'code'; readonly code: number } | { readonly kind: 'signal'; readonly signal: string };

export function parseShimStatus(text: string): ShimStatus {
  const started = /^started (\d+) (.*)$/m.exec(text);
  const exited = /^exited (\d+)$/m.exec(text);
  return {
    started: started === null ? null : { pid: Number(started[1]), start: parseStat(started[2] ?? '')?.start ?? null },
    // A line that was not written to its end says nothing.
    exit: exited === null || !text.endsWith('\n') ? null : exitOfShellCode(Number(exited[1])),
  };
}

/** A shell answers 128 + n for a program that signal n ended (POSIX 2.8.2). */
export function exitOfShellCode(code: number): Exit {
  const signal = Object.entries(constants.signals).find(([, number]) => number === code - 128);
  return code > 128 && signal !== undefined ? { kind: 'signal', signal: signal[0] } : { kind: 'code', code };
}

export function exitText(exit: Exit): string {
  return exit.kind === 'code' ? `exited with code ${exit.code}` : `killed by ${exit.signal}`;
}

export function isSameProcess(a: ProcessName, b: ProcessName): boolean {
  return a.pid === b.pid && a.start === b.start;
}
