import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { ControlPlane } from './control-plane.ts';
import type { Answer, Command } from './kubelet/commands.ts';
import type { Timings } from './kubelet/container-runner.ts';
import type { NodePod } from './kubelet/kubelet.ts';

const READY_TIMEOUT_MS = 30_000;
const STOP_TIMEOUT_MS = 20_000;

/** The stand-in in a process of its own, so that what it costs is not the test's, and it can be stopped and killed. */
export interface KubeletProcess {
  readonly pid: number;
  readonly network: number;
  pods(): Promise<readonly NodePod[]>;
  evict(namespace: string, pod: string): Promise<void>;
  outOfMemory(namespace: string, pod: string): Promise<void>;
  crash(namespace: string, pod: string): Promise<void>;
  refusePods(message: string | null): Promise<void>;
  claimDirectory(uid: string): Promise<string>;
  /** SIGSTOP: a node that hangs, with pods inside it; SIGKILL: one that dies with its pods. */
  signal(name: NodeJS.Signals): void;
  /** Ends its pods, then itself. */
  stop(): Promise<void>;
}

export async function startKubeletProcess(
  controlPlane: Pick<ControlPlane, 'folder'>,
  options: { readonly testPods?: 'inside' | 'processes'; readonly timings?: Partial<Timings> } = {},
): Promise<KubeletProcess> {
  const main = join(import.meta.dirname, 'kubelet', 'main.ts');
  const args = [
    ...['--folder', controlPlane.folder, '--test-pods', options.testPods ?? 'inside'],
    ...['--timings', JSON.stringify(options.timings ?? {})],
  ];
  // The kernel ends it with us; see startGuarded.
  const child = spawn('setpriv', ['--pdeathsig', 'KILL', process.execPath, main, ...args], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const waiting = new Map<number, { resolve: (answer: Answer) => void; reject: (error: Error) => void }>();
  let lastId = 0;
  const expect = (id: number, timeoutMs: number): Promise<Answer> =>
    new Promise((resolve, reject) => {
      const timer = setTimeout(
        () => reject(new Error(`the stand-in did not answer within ${timeoutMs} ms`)),
        timeoutMs,
      );
      const settle = (): void => {
        clearTimeout(timer);
        waiting.delete(id);
      };
      waiting.set(id, {
        resolve(answer) {
          settle();
          resolve(answer);
        },
        reject(error) {
          settle();
          reject(error);
        },
      });
    });
  createInterface({ input: child.stdout }).on('line', (line) => {
    const answer = JSON.parse(line) as Answer;
    waiting.get(answer.id)?.resolve(answer);
  });
  child.stdin.on('error', () => undefined);
  const ended = once(child, 'exit');
  void ended.then(() => {
    for (const { reject } of [...waiting.values()]) reject(new Error('the stand-in has ended'));
  });

  async function ask(command: Command): Promise<readonly NodePod[] | string | null> {
    const id = (lastId += 1);
    const answered = expect(id, READY_TIMEOUT_MS);
    child.stdin.write(`${JSON.stringify({ id, command })}\n`);
    const answer = await answered;
    if ('error' in answer) throw new Error(answer.error);
    return 'result' in answer ? answer.result : null;
  }

  async function tell(command: Command): Promise<void> {
    await ask(command);
  }

  const ready = await expect(0, READY_TIMEOUT_MS);
  const { pid } = child;
  if (!('network' in ready) || pid === undefined) throw new Error('the stand-in has not said where its pods are');
  return {
    pid,
    network: ready.network,
    pods: async () => (await ask({ kind: 'pods' })) as readonly NodePod[],
    evict: (namespace, pod) => tell({ kind: 'evict', namespace, pod }),
    outOfMemory: (namespace, pod) => tell({ kind: 'outOfMemory', namespace, pod }),
    crash: (namespace, pod) => tell({ kind: 'crash', namespace, pod }),
    refusePods: (message) => tell({ kind: 'refusePods', message }),
    claimDirectory: async (uid) => (await ask({ kind: 'claimDirectory', uid })) as string,
    signal: (name) => void child.kill(name),
    async stop() {
      if (child.exitCode !== null || child.signalCode !== null) return;
      child.stdin.end();
      const kill = setTimeout(() => child.kill('SIGKILL'), STOP_TIMEOUT_MS);
      await ended;
      clearTimeout(kill);
    },
  };
}
