import { type ChildProcess, spawn } from 'node:child_process';
import { openSync, closeSync } from 'node:fs';
import { once } from 'node:events';

export interface GuardedProcess {
  readonly pid: number;
  /** Null while it runs; how it ended after that. */
  readonly ending: () => string | null;
  kill(signal: NodeJS.Signals): void;
  /** SIGKILL, and waits until it is gone. */
  end(): Promise<void>;
}

/**
 * Starts a server that the kernel kills when this process dies, even by SIGKILL (PR_SET_PDEATHSIG, by setpriv of
 * util-linux, which is the server itself after its exec). What it prints goes to a file.
 */
export function startGuarded(command: string, args: readonly string[], logFile: string): GuardedProcess {
  const log = openSync(logFile, 'a');
  let child: ChildProcess;
  try {
    child = spawn('setpriv', ['--pdeathsig', 'KILL', command, ...args], { stdio: ['ignore', log, log] });
  } finally {
    closeSync(log);
  }
  const { pid } = child;
  if (pid === undefined) throw new Error(`${command} could not be started`);
  child.on('error', () => undefined);
  const isOver = () => child.exitCode !== null || child.signalCode !== null;
  return {
    pid,
    ending: () => (isOver() ? String(child.signalCode ?? child.exitCode) : null),
    kill: (signal) => void child.kill(signal),
    async end() {
      if (isOver()) return;
      const ended = once(child, 'exit');
      child.kill('SIGKILL');
      await ended;
    },
  };
}
