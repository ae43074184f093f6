import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
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
    startBeside: (words) => startBeside(options.execCommand?.(words) ?? words, { environment, cwd, user }),
  };
}

const guard = (user: ProcessOptions['user']): readonly string[] => [
  ...(user === null ? [] : [`--reuid=${user.uid}`, `--regid=${user.gid}`, '--clear-groups']),
  ...['--pdeathsig', 'KILL', '--'],
];

/** Starts a command with the environment of a container. */
export function startBeside(
  command: readonly string[],
  { environment, cwd, user }: Pick<ProcessOptions, 'environment' | 'cwd' | 'user'>,
): ChildProcessWithoutNullStreams {
  return spawn('setpriv', [...guard(user), ...command], {
    cwd,
    env: { ...environment },
    detached: true,
    stdio: 'pipe',
  });
}

/** Of an exec probe: the exit code; 124 after the time-out, 126 when the container has ended. */
export function execProbe(running: RunningContainer, command: readonly string[], timeoutMs: number): Promise<number> {
  const child = running.startBeside(command);
  if (child === null) return Promise.resolve(126);
  return new Promise((resolve) => {
    const timer = setTimeout(() => child.kill('SIGKILL'), timeoutMs);
    const settle = (code: number): void => {
      clearTimeout(timer);
      resolve(code);
    };
    child.on('error', () => settle(127));
    child.on('exit', (code) => settle(code ?? 124));
    child.stdin.on('error', () => undefined).end();
    child.stdout.resume();
    child.stderr.resume();
  });
}

/**
 * The programs here listen on their pod's address alone, since all share one network: what a command of the pod asks of
 * its own localhost is asked of that address.
 */
export const atAddress = (word: string, address: string): string =>
  word.replace(/(?<![\d.])127\.0\.0\.1(?![\d.])|\blocalhost\b/g, address);
