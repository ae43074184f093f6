import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, existsSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { run } from '../support/run.ts';
import { until } from '../support/until.ts';

const STOP_MS = 30_000;

/** A Docker of our own: its images, containers and socket are in a folder that goes with it. */
export interface ContainerEngine {
  readonly folder: string;
  /** What it printed; throws with that when the command fails. */
  docker(args: readonly string[], options?: { readonly input?: string; readonly timeoutMs?: number }): Promise<string>;
  /** The same, without throwing. */
  tryDocker(args: readonly string[]): Promise<{ readonly code: number | null; readonly output: string }>;
  /** Runs a command of this machine in the network of a container, which has no other one. */
  inNetworkOf(container: string, command: readonly string[]): Promise<string>;
  stop(): Promise<void>;
}

/**
 * Starts dockerd without a bridge and without rules for packets: containers have loopback alone, or this machine's
 * network. So it changes nothing here but its folders. It ends when this process does, even by SIGKILL (setpriv).
 */
export async function startContainerEngine(
  options: {
    /** Where its images stay for the next one; one engine at a time. */
    readonly dataRoot?: string;
  } = {},
): Promise<ContainerEngine> {
  const folder = mkdtempSync(join(tmpdir(), 'podgate-image-'));
  const logPath = join(folder, 'dockerd.log');
  const log = openSync(logPath, 'a');
  const socket = `unix://${join(folder, 'docker.sock')}`;
  const daemon = spawn(
    'setpriv',
    [
      ...['--pdeathsig', 'TERM', 'dockerd', '-H', socket],
      ...[
        '--data-root',
        options.dataRoot ?? join(folder, 'data'),
        '--exec-root',
        join(folder, 'exec'),
        '-p',
        join(folder, 'pid'),
      ],
      ...['--bridge=none', '--iptables=false', '--ip6tables=false'],
      // Root may not be allowed to raise either (no CAP_SYS_RESOURCE).
      ...['--oom-score-adjust', '0', '--default-ulimit', 'nofile=10000:10000'],
    ],
    { stdio: ['ignore', log, log] },
  );
  closeSync(log);
  // That it could not be started is said by its log, or by the first command.
  daemon.on('error', () => undefined);
  // Of the same package as the daemon. It asks for the builder that needs nothing beside it.
  const client = existsSync('/usr/bin/docker') ? '/usr/bin/docker' : 'docker';
  const env = { DOCKER_HOST: socket, DOCKER_BUILDKIT: '0', DOCKER_CONFIG: folder };

  async function tryDocker(
    args: readonly string[],
    options: { readonly input?: string; readonly timeoutMs?: number } = {},
  ): Promise<{ readonly code: number | null; readonly output: string }> {
    const { code, stdout, stderr } = await run(client, args, { env, timeoutMs: 60_000, ...options });
    return { code, output: code === 0 ? stdout.trimEnd() : `${stdout}${stderr}`.trimEnd() };
  }

  const engine: ContainerEngine = {
    folder,
    tryDocker,
    async docker(args, options) {
      const { code, output } = await tryDocker(args, options);
      if (code === 0) return output;
      throw new Error(`docker ${args.join(' ')} ended with ${code}:\n${output.slice(-4_000)}`);
    },
    async inNetworkOf(container, command) {
      const pid = await engine.docker(['inspect', '--format', '{{.State.Pid}}', container]);
      const done = await run('nsenter', [`--net=/proc/${pid}/ns/net`, ...command]);
      if (done.code === 0) return done.stdout;
      throw new Error(`${command[0]} in the network of ${container} ended with ${done.code}: ${done.stderr}`);
    },
    async stop() {
      const containers = (await tryDocker(['ps', '--all', '--quiet'])).output.split('\n').filter((id) => id !== '');
      if (containers.length > 0) await tryDocker(['rm', '--force', '--volumes', ...containers]);
      await ended(daemon);
      // It leaves the mount of a network, at least.
      for (const path of [folder, options.dataRoot ?? folder].flatMap(mountsBelow))
        await run('umount', ['--lazy', path]);
      rmSync(folder, { recursive: true, force: true });
    },
  };
  try {
    await until(
      'the container engine answers',
      async () => {
        const isOver = daemon.pid === undefined || daemon.exitCode !== null;
        return isOver || (await tryDocker(['version'])).code === 0;
      },
      { everyMs: 200 },
    );
    await engine.docker(['version']);
  } catch (error) {
    const output = readFileSync(logPath, 'utf8').slice(-4_000);
    await engine.stop();
    throw new Error(`dockerd does not start:\n${output}`, { cause: error });
  }
  return engine;
}

async function ended(daemon: ChildProcess): Promise<void> {
  if (daemon.pid === undefined) return;
  daemon.kill('SIGTERM');
  await until('dockerd has ended', () => daemon.exitCode !== null || daemon.signalCode !== null, {
    timeoutMs: STOP_MS,
  });
}

/** The innermost first. */
function mountsBelow(folder: string): readonly string[] {
  const mounts = readFileSync('/proc/self/mounts', 'utf8').split('\n');
  return mounts
    .map((line) => line.split(' ')[1] ?? '')
    .filter((path) => path.startsWith(`${folder}/`))
    .reverse();
}
