import { spawn } from 'node:child_process';
import { constants } from 'node:os';
import { type ContainerEnd, endOfCode, type RunningContainer } from './image.ts';

export interface ProcessOptions {
  readonly command: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
  readonly cwd: string;
  readonly user: { readonly uid: number; readonly gid: number } | null;
  readonly print: (chunk: Buffer) => void;
  /** What SIGTERM of the kubelet becomes (STOPSIGNAL of the image); default: itself. */
  readonly stopSignal?: NodeJS.Signals;
  /** How the program of an exec probe is to be run; default: as it is written. */
  readonly execCommand?: (command: readonly string[]) => readonly string[];
}

/** A container as a process group of this machine, which the kernel ends with us: see startGuarded. */
export function startProcess(options: ProcessOptions): RunningContainer {
  const { command, environment, cwd, user, print, stopSignal = 'SIGTERM' } = options;
  const child = spawn('setpriv', [...guard(user), ...command], {
    cwd,
    env: { ...environment },
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  child.stdout.on('data', print);
  child.stderr.on('data', print);
  const { promise: ended, resolve } = Promise.withResolvers<ContainerEnd>();
  const signal = (name: NodeJS.Signals): void => {
    if (child.pid === undefined) return;
    try {
      process.kill(-child.pid, name);
    } catch {
      // It is gone.
    }
  };
  child.on('error', (error) => {
    print(Buffer.from(`${error.message}\n`));
    resolve(endOfCode(127));
  });
  child.on('exit', (code, name) => {
    // Like a container's other processes, which end with its first one.
    signal('SIGKILL');
    resolve(endOfCode(name === null ? (code ?? 1) : 128 + constants.signals[name]));
  });
  return {
    pid: child.pid ?? null,
    ended,
    signal: (name) => signal(name === 'SIGTERM' ? stopSignal : name),
    exec: (probe, timeoutMs) => exec(options.execCommand?.(probe) ?? probe, { environment, cwd, user }, timeoutMs),
  };
}

const guard = (user: ProcessOptions['user']): readonly string[] => [
  ...(user === null ? [] : [`--reuid=${user.uid}`, `--regid=${user.gid}`, '--clear-groups']),
  ...['--pdeathsig', 'KILL', '--'],
];

/** Runs a command beside a container, with its environment. Answers the exit code; 124 after the time-out. */
export function exec(
  command: readonly string[],
  { environment, cwd, user }: Pick<ProcessOptions, 'environment' | 'cwd' | 'user'>,
  timeoutMs: number,
): Promise<number> {
  return new Promise((resolve) => {
    const child = spawn('setpriv', [...guard(user), ...command], {
      cwd,
      env: { ...environment },
      stdio: 'ignore',
      timeout: timeoutMs,
      killSignal: 'SIGKILL',
    });
    child.on('error', () => resolve(127));
    child.on('exit', (code) => resolve(code ?? 124));
  });
}

/**
 * The programs here listen on their pod's address alone, since all share one network: what a command of the pod asks of
 * its own localhost is asked of that address.
 */
export const atAddress = (word: string, address: string): string =>
  word.replace(/(?<![\d.])127\.0\.0\.1(?![\d.])|\blocalhost\b/g, address);
