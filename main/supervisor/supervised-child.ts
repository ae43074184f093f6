import { type ChildProcess, fork } from 'node:child_process';
import { join } from 'node:path';
import { errorText } from '../../core/errors.ts';
import type { Logger } from '../../core/logger.ts';
import type { BoundSocket } from './listening-sockets.ts';
import type { ChildMessage, ChildRole, SupervisorMessage } from '../messages.ts';
import { deathsInARow, restartDelayMs } from './restart-backoff.ts';

const MAIN = join(import.meta.dirname, '..', '..', 'main.ts');

/** Node's FFI, by which sockets of other network namespaces are made, would announce that it is experimental. */
const NODE_OPTIONS = `${process.env['NODE_OPTIONS'] ?? ''} --disable-warning=ExperimentalWarning`.trim();

/** MiB. V8's own choice keeps 35 MiB more in use after a start (decision 0088). Not for workers: they move bytes. */
const SMALL_YOUNG_GENERATION = '--max-semi-space-size=4';

/** As main.ts says, but in time for main.ts itself: Node's TypeScript parser is not loaded then, which takes 12 MiB. */
const NODE_COMPILE_CACHE = join(MAIN, '..', 'node_modules', '.cache', 'podgate-compile');

/** Everything, pods included, is gone 5 s after Ctrl-C: children have this long before they are killed. */
export const STOP_GRACE_MS = 4_500;

export interface SupervisedChildOptions {
  readonly role: ChildRole;
  readonly number: number;
  readonly log: Logger;
  /** Sent first to each new process. */
  readonly start: () => Extract<SupervisorMessage, { kind: 'start' }>;
  readonly onStarted: (child: SupervisedChild) => void;
  readonly onMessage: (child: SupervisedChild, message: ChildMessage) => void;
  /** Returns whether to start it again. */
  readonly onEnded: (child: SupervisedChild, code: number | null) => boolean;
}

/** What the operator sets comes later, so it applies. */
function optionsOf(role: ChildRole): string {
  return role === 'worker' ? NODE_OPTIONS : `${SMALL_YOUNG_GENERATION} ${NODE_OPTIONS}`;
}

/** One child of the supervisor, started again whenever it ends. */
export class SupervisedChild {
  readonly role: ChildRole;
  readonly number: number;
  /** The number that slots are assigned to. */
  id: number;
  /** It has met an error that nothing caught. */
  hasFailed = false;
  readonly #options: SupervisedChildOptions;
  #process: ChildProcess | null = null;
  #deaths = 0;
  #retry: NodeJS.Timeout | undefined;
  #isStopping = false;
  #isRestarting = false;
  #isToldToEnd = false;
  readonly #ended = new Set<() => void>();

  constructor(options: SupervisedChildOptions) {
    this.role = options.role;
    this.number = options.number;
    this.id = options.number;
    this.#options = options;
  }

  get pid(): number | undefined {
    return this.#process?.pid;
  }

  get isToldToEnd(): boolean {
    return this.#isToldToEnd;
  }

  start(): void {
    const { role, number, log, start, onMessage, onStarted } = this.#options;
    const startedMs = performance.now();
    let child: ChildProcess;
    try {
      child = fork(MAIN, role === 'worker' ? [role, String(number)] : [role], {
        stdio: 'inherit',
        env: { NODE_COMPILE_CACHE, ...process.env, NODE_OPTIONS: optionsOf(role) },
      });
    } catch (error) {
      this.#startLater({ error: errorText(error) }, startedMs);
      return;
    }
    this.#process = child;
    child.on('message', (message) => onMessage(this, message as ChildMessage));
    child.on('error', (error) => {
      log.error({ error: error.message, role, number }, 'child process error');
      // Too many processes or open files: it did not come to be, and nothing else will be heard of it.
      if (child.pid === undefined) this.#onGone({}, null, startedMs);
    });
    child.once('exit', (code, signal) => this.#onGone({ pid: child.pid, code, signal }, code, startedMs));
    this.send(start());
    onStarted(this);
  }

  #onGone(fields: object, code: number | null, startedMs: number): void {
    this.#process = null;
    for (const wake of this.#ended) wake();
    if (this.#options.onEnded(this, code)) this.#startLater(fields, startedMs);
  }

  #startLater(fields: object, startedMs: number): void {
    if (this.#isStopping) return;
    if (this.#isRestarting) {
      this.#isRestarting = false;
      this.start();
      return;
    }
    const { role, number, log } = this.#options;
    this.#deaths = deathsInARow(this.#deaths, performance.now() - startedMs);
    const delayMs = restartDelayMs(this.#deaths);
    log.warn({ role, number, ...fields, delayMs }, 'a child process exited; restarting it');
    this.#retry = setTimeout(() => this.start(), delayMs);
  }

  /** Has no effect when the process is gone; onEnded reports that. */
  send(message: SupervisorMessage, socket?: BoundSocket): void {
    if (this.#process?.connected !== true) return;
    // Node's types know net.Server and net.Socket only; its native handles pass as well.
    this.#process.send(message, socket?.handle as never, undefined, () => undefined);
  }

  /** Ends it, and starts it again at once; it is killed after `graceMs`. */
  restart(graceMs: number): void {
    const child = this.#process;
    if (child === null) return;
    this.#isRestarting = true;
    child.kill('SIGCONT');
    child.kill('SIGTERM');
    const killer = setTimeout(() => child.kill('SIGKILL'), graceMs);
    child.once('exit', () => clearTimeout(killer));
  }

  /** Its next exit is final. */
  disableRestart(): void {
    this.#isStopping = true;
    clearTimeout(this.#retry);
  }

  /** Ends it when its sessions have ended. Resolves when it is gone; SIGKILL after `graceMs`. */
  retire(graceMs: number): Promise<void> {
    return this.#end({ kind: 'retire' }, graceMs);
  }

  /** Tells it to end, and sends SIGKILL after `graceMs`. Resolves when it is gone. */
  stop(graceMs: number): Promise<void> {
    return this.#end({ kind: 'stop', graceMs }, graceMs);
  }

  async #end(message: SupervisorMessage, graceMs: number): Promise<void> {
    this.#isToldToEnd = true;
    this.disableRestart();
    const child = this.#process;
    if (child === null) return;
    const gone = new Promise<void>((resolve) => this.#ended.add(resolve));
    // A paused process would be killed with its work undone, and pods would keep running.
    child.kill('SIGCONT');
    this.send(message);
    const killer = setTimeout(() => child.kill('SIGKILL'), graceMs);
    await gone;
    clearTimeout(killer);
  }

  /** Kills a process that hangs; it is started again, as after any other exit. */
  killHung(): void {
    this.#process?.kill('SIGKILL');
  }

  kill(): void {
    this.disableRestart();
    this.#process?.kill('SIGKILL');
  }
}
