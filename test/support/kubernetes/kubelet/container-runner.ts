import { randomBytes } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { createContainerLog, lastWords, type ContainerLog } from './container-log.ts';
import { type ContainerState, type ContainerView, nowText, type Terminated } from './container-state.ts';
import { MissingReference } from './environment.ts';
import type { ContainerContext, ContainerEnd, Image, RunningContainer } from './image.ts';
import type { Container, Pod, SecurityContext } from './objects.ts';
import { type ProbeTarget, runProbe } from './probes.ts';
import { VolumeNotReady } from './volumes.ts';

export interface Timings {
  /** Of the crash loop: after the first restart, doubled each time (10 s of a real kubelet). */
  readonly crashBackOffMs: number;
  readonly crashBackOffMaxMs: number;
  /** How often what is not there (image, secret, claim) is looked for again. */
  readonly retryMs: number;
  /** Replaces the period of every probe; null: as the pod says. */
  readonly probePeriodMs: number | null;
  /** How long a container is in the making, as when its image is being pulled. */
  readonly creatingMs: number;
}

export interface RunnerOptions {
  readonly pod: Pod;
  readonly container: Container;
  readonly image: (name: string) => Image | null;
  readonly timings: Timings;
  readonly context: (restarts: number) => Promise<Omit<ContainerContext, 'print'>>;
  /** The view has changed. */
  readonly changed: () => void;
  /** Init containers run to their success. */
  readonly isInit: boolean;
  /** How often it had been started before the node was: the first start of a new pod counts as none. */
  readonly restarts: number;
}

export interface ContainerRunner {
  view(): ContainerView;
  log(previous: boolean): ContainerLog | null;
  pid(): number | null;
  running(): RunningContainer | null;
  /** Until it ends for good (by its restart policy) or `stop` is called. */
  run(): Promise<void>;
  /** SIGTERM, and SIGKILL after the grace; resolves when nothing of it runs. */
  stop(graceMs: number): Promise<void>;
  /** SIGKILL to what runs now, as if by the kernel: 'OOMKilled', for instance. The restart policy decides what follows. */
  kill(reason: string, signal?: NodeJS.Signals): void;
}

export function createContainerRunner(options: RunnerOptions): ContainerRunner {
  const { pod, container, timings, changed, isInit } = options;
  const policy = pod.spec.restartPolicy ?? 'Always';
  const stopping = new AbortController();
  let state: ContainerState = {
    kind: 'waiting',
    reason: isInit ? 'PodInitializing' : 'ContainerCreating',
    message: '',
  };
  let last: Terminated | null = null;
  let restarts = options.restarts;
  let started = false;
  let ready = false;
  let running: RunningContainer | null = null;
  let killReason: string | null = null;
  let log: ContainerLog | null = null;
  let previousLog: ContainerLog | null = null;
  let finished: Promise<void> | null = null;

  // A function: control flow analysis would remember the answer across an await.
  const isStopping = (): boolean => stopping.signal.aborted;

  const wait = (reason: string, message: string): void => {
    if (state.kind === 'waiting' && state.reason === reason && state.message === message) return;
    state = { kind: 'waiting', reason, message };
    changed();
  };

  /** Null: stopped before it could begin. Says why it waits meanwhile. */
  async function begin(): Promise<{ readonly running: RunningContainer; readonly address: string } | null> {
    await pause(timings.creatingMs);
    for (let pulls = 0; !stopping.signal.aborted; pulls += 1) {
      const image = options.image(container.image);
      if (image === null) {
        const message = `failed to pull and unpack image "${container.image}": not found`;
        if (pulls === 0) wait('ErrImagePull', message);
        else wait('ImagePullBackOff', `Back-off pulling image "${container.image}": ErrImagePull: ${message}`);
      } else {
        try {
          refuseRoot(pod.spec.securityContext, container.securityContext, image);
          const context = await options.context(restarts);
          if (isStopping()) return null;
          previousLog = log;
          const current = createContainerLog();
          log = current;
          const started = await image.start({ ...context, print: (chunk) => current.write(chunk) });
          return { running: started, address: context.address };
        } catch (error) {
          if (error instanceof MissingReference) wait('CreateContainerConfigError', error.message);
          else if (error instanceof VolumeNotReady) wait('ContainerCreating', '');
          else wait('CreateContainerError', error instanceof Error ? error.message : String(error));
        }
      }
      await pause(timings.retryMs);
    }
    return null;
  }

  /** Answers how this one run ended, or null when it never began. */
  async function runOnce(): Promise<Terminated | null> {
    const begun = await begin();
    if (begun === null) return null;
    const containerId = `standin://${randomBytes(16).toString('hex')}`;
    const startedAt = nowText();
    running = begun.running;
    killReason = null;
    state = { kind: 'running', startedAt, containerId };
    const over = new AbortController();
    if (stopping.signal.aborted) begun.running.signal('SIGTERM');
    void probe({ container, ...begun }, over.signal);
    const end = await begun.running.ended;
    over.abort();
    running = null;
    [started, ready] = [false, false];
    const isSaid = container.terminationMessagePolicy === 'FallbackToLogsOnError' && end.exitCode !== 0;
    const message = isSaid && log !== null ? lastWords(log) : '';
    return { kind: 'terminated', ...reasoned(end), message, startedAt, finishedAt: nowText(), containerId };
  }

  const reasoned = (end: ContainerEnd): ContainerEnd =>
    killReason === null ? end : { exitCode: end.exitCode === 0 ? 137 : end.exitCode, reason: killReason };

  async function probe(target: ProbeTarget, signal: AbortSignal): Promise<void> {
    const { startupProbe, readinessProbe, livenessProbe } = container;
    const tell = (change: () => void) => (verdict: boolean) => {
      if (signal.aborted) return;
      if (verdict) change();
      changed();
    };
    const begins = (): void => {
      started = true;
      if (readinessProbe === undefined) ready = true;
      changed();
      if (readinessProbe !== undefined) {
        const told = (verdict: boolean): void => {
          if (signal.aborted) return;
          ready = verdict;
          changed();
        };
        void runProbe(readinessProbe, target, { periodMs: timings.probePeriodMs, first: false, told }, signal);
      }
      if (livenessProbe !== undefined) {
        const told = (verdict: boolean): void => {
          if (!verdict && !signal.aborted) target.running.signal('SIGTERM');
        };
        void runProbe(livenessProbe, target, { periodMs: timings.probePeriodMs, first: true, told }, signal);
      }
    };
    if (startupProbe === undefined) {
      begins();
      return;
    }
    changed();
    const only = new AbortController();
    const told = tell(() => {
      only.abort();
      begins();
    });
    const both = AbortSignal.any([signal, only.signal]);
    await runProbe(startupProbe, target, { periodMs: timings.probePeriodMs, first: false, told }, both);
  }

  async function run(): Promise<void> {
    for (let failures = 0; ;) {
      const begunMs = performance.now();
      const end = await runOnce();
      if (end === null) return;
      state = end;
      if (stopping.signal.aborted || !isRestarted(end.exitCode)) {
        last = null;
        changed();
        return;
      }
      last = end;
      // Whoever ran long enough is not in a loop.
      if (performance.now() - begunMs > 2 * timings.crashBackOffMaxMs) failures = 0;
      failures += 1;
      if (failures > 1) {
        const backOffMs = Math.min(timings.crashBackOffMs * 2 ** (failures - 2), timings.crashBackOffMaxMs);
        const whole = `back-off ${Math.max(1, Math.round(backOffMs / 1_000))}s restarting failed container=${container.name} pod=${pod.metadata.name}_${pod.metadata.namespace}(${pod.metadata.uid})`;
        state = { kind: 'waiting', reason: 'CrashLoopBackOff', message: whole };
        changed();
        await pause(backOffMs);
        if (isStopping()) {
          state = end;
          changed();
          return;
        }
      } else changed();
      restarts += 1;
    }
  }

  const isRestarted = (exitCode: number): boolean =>
    isInit ? exitCode !== 0 && policy !== 'Never' : policy === 'Always' || (policy === 'OnFailure' && exitCode !== 0);

  const pause = (milliseconds: number): Promise<void> =>
    milliseconds <= 0
      ? Promise.resolve()
      : delay(milliseconds, undefined, { signal: stopping.signal }).catch(() => undefined);

  return {
    view: () => ({ container, state, last, restarts, started, ready }),
    log: (previous) => (previous ? previousLog : log),
    pid: () => running?.pid ?? null,
    running: () => running,
    run: () => (finished ??= run()),
    async stop(graceMs) {
      stopping.abort();
      running?.signal('SIGTERM');
      const kill = setTimeout(() => running?.signal('SIGKILL'), graceMs);
      await finished;
      clearTimeout(kill);
    },
    kill(reason, signal = 'SIGKILL') {
      killReason = reason;
      running?.signal(signal);
    },
  };
}

/** The kubelet's own check, which the API server cannot make. */
function refuseRoot(ofPod: SecurityContext | undefined, own: SecurityContext | undefined, image: Image): void {
  const isRefused = own?.runAsNonRoot ?? ofPod?.runAsNonRoot ?? false;
  const user = own?.runAsUser ?? ofPod?.runAsUser;
  if (!isRefused || (user ?? image.user) !== 0) return;
  throw new MissingReference(
    user === undefined
      ? 'container has runAsNonRoot and image will run as root'
      : "container's runAsUser breaks non-root policy",
  );
}
