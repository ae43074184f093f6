import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** A network of two: this process, and programs in a namespace that can be cut off. */
export interface LossyNetwork {
  /** Of this process. */
  readonly address: string;
  /** Starts a program on the far side. */
  spawn(command: readonly string[]): ChildProcess;
  /** From now on nothing arrives, in either direction, and nobody is told. */
  cut(): Promise<void>;
  mend(): Promise<void>;
  close(): Promise<void>;
}

/** Null where this process may not make network namespaces (they need root). */
export async function openLossyNetwork(): Promise<LossyNetwork | null> {
  // Two of the networks for tests of equipment (RFC 2544), unlike those of other test processes.
  const id = process.pid % 16_384;
  const prefix = `198.18.${id >> 6}.${(id & 63) << 2}`.split('.').map(Number);
  const at = (host: number): string => [...prefix.slice(0, 3), (prefix[3] ?? 0) + host].join('.');
  const [namespace, near] = [`podgate-test-${id}`, `pgt${id}`];
  const ip = (...args: string[]): Promise<unknown> => run('ip', args);
  try {
    await ip('netns', 'add', namespace);
  } catch {
    return null;
  }
  await ip('link', 'add', near, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', namespace);
  await ip('addr', 'add', `${at(1)}/30`, 'dev', near);
  await ip('link', 'set', near, 'up');
  await ip('-n', namespace, 'addr', 'add', `${at(2)}/30`, 'dev', 'eth0');
  await ip('-n', namespace, 'link', 'set', 'eth0', 'up');
  const children: ChildProcess[] = [];
  return {
    address: at(1),
    spawn(command) {
      const child = spawn('ip', ['netns', 'exec', namespace, ...command], { stdio: ['ignore', 'pipe', 'inherit'] });
      children.push(child);
      return child;
    },
    async cut() {
      await ip('-n', namespace, 'link', 'set', 'eth0', 'down');
    },
    async mend() {
      await ip('-n', namespace, 'link', 'set', 'eth0', 'up');
    },
    async close() {
      for (const child of children) {
        if (child.exitCode !== null || child.signalCode !== null) continue;
        child.kill('SIGKILL');
        await once(child, 'exit');
      }
      await ip('netns', 'del', namespace);
    },
  };
}
