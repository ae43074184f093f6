import { type ChildProcess, spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { processTable } from '../../test/support/process-table.ts';
import { run } from '../../test/support/run.ts';
import { until } from '../../test/support/until.ts';

/** What is measured has a core of its own; everything else is on the other. */
export const PEER_CORE = '0';
export const LOAD_CORE = '1';

/** CPU seconds of these processes, all threads that live (proc_pid_schedstat: nanoseconds). */
export function cpuSecondsOf(pids: readonly number[]): number {
  let nanoseconds = 0;
  for (const pid of pids) {
    for (const thread of readdirSync(`/proc/${pid}/task`)) {
      nanoseconds += Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'utf8').split(' ', 1)[0]);
    }
  }
  return nanoseconds / 1e9;
}

/** KiB of memory of their own and shared (VmRSS). */
export function residentKib(pids: readonly number[]): number {
  return pids.reduce((sum, pid) => {
    const status = readFileSync(`/proc/${pid}/status`, 'utf8');
    return sum + Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1] ?? 0);
  }, 0);
}

/** A process and all that descend from it. */
export function withDescendants(pid: number): readonly number[] {
  const table = processTable().filter(({ state }) => state !== 'Z');
  const found = [pid];
  for (const parent of found) found.push(...table.filter((one) => one.parent === parent).map((one) => one.pid));
  return found;
}

export async function pinTo(core: string, pids: readonly number[]): Promise<void> {
  for (const pid of pids) await run('taskset', ['-a', '-p', '-c', core, String(pid)]);
}

export interface StartedServer {
  readonly pids: () => readonly number[];
  /** What serves afterwards has just been started, on the same ports. */
  readonly restart: () => Promise<void>;
  readonly stop: () => Promise<void>;
}

/** Starts a server on the core of what is measured, and waits until it takes connections. */
export async function startServer(
  command: readonly string[],
  port: number,
  env: Readonly<Record<string, string>> = {},
): Promise<StartedServer> {
  const start = async (): Promise<ChildProcess> => {
    const child = spawn('taskset', ['-c', PEER_CORE, ...command], {
      env: { ...process.env, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let output = '';
    const keep = (text: string): void => void (output = (output + text).slice(-10_000));
    child.stdout.setEncoding('utf8').on('data', keep);
    child.stderr.setEncoding('utf8').on('data', keep);
    await until(`${command[0] ?? ''} takes connections`, () => child.exitCode !== null || takesConnections(port));
    if (child.exitCode !== null) throw new Error(`${command.join(' ')} ended:\n${output}`);
    return child;
  };
  let child = await start();
  return {
    pids: () => withDescendants(child.pid ?? 0),
    restart: async () => {
      await ended(child);
      child = await start();
    },
    stop: () => ended(child),
  };
}

export async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const closed = new Promise((resolve) => child.once('close', resolve));
  child.kill('SIGTERM');
  const timer = setTimeout(() => child.kill('SIGKILL'), 5_000);
  await closed;
  clearTimeout(timer);
}

function takesConnections(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.on('error', () => resolve(false));
    socket.on('connect', () => {
      socket.destroy();
      resolve(true);
    });
  });
}
