import { isAborted, pause } from '../../../../core/abort.ts';
import { backoffMs } from '../../../../core/backoff.ts';
import { errorText } from '../../../../core/errors.ts';
import type { Logger } from '../../../../core/logger.ts';
import type { WorkloadRef } from '../../../../core/workload-ref.ts';
import { KEEP_AT_BYTES, RunOutput, type RunningWorkload, type RunOutputOptions } from '../run-output.ts';

/** Streams that are open at a time: each is a connection to the API server, and one from there to a kubelet. */
const FOLLOWED_MOST = 256;
/** The kubelet takes an inotify instance for each, of which the kernel gives root 128 (fs.inotify.max_user_instances). */
const FOLLOWED_MOST_OF_NODE = 48;
const STARTS_AT_A_TIME = 16;
/** One that has been silent for so long gives its stream to one that prints. */
const SILENT_MS = 60_000;
/** Then a stream is begun anew: one that is dead says nothing either. The HTTP client gives up after 5 minutes of silence. */
const STREAM_SILENT_MS = 4 * 60_000;
/** After a stream that brought nothing; one that did is begun anew after the first wait. */
const FOLLOW_AGAIN = { firstMs: 250, maxMs: 5_000 };
/** What is read from a stream is saved after this time. */
const SAVE_AFTER_MS = 2_000;
const SAVE_AGAIN_MS = 5_000;

/** A pod that is not followed is looked at this often, one that prints nothing ever more rarely. */
const FIRST_MS = 10_000;
const LEAST_MS = 5_000;
const MOST_MS = 10 * 60_000;
/** Of all pods together: 20 looks a second, 4 at a time. */
const SPACING_MS = 50;
const AT_A_TIME = 4;
/** With few pods, each is looked at more often than every ten minutes. */
const MOST_MS_OF_FEW = 30_000;
const MOST_MS_EACH = 2 * SPACING_MS;
const IDLE_MS = 500;
const LOOK_DEADLINE_MS = 20_000;

export interface OutputRoundsOptions extends Required<RunOutputOptions> {
  readonly monotonicMs: () => number;
  readonly log: Logger;
  readonly followedMost?: number;
}

interface Watched {
  readonly workload: RunningWorkload;
  readonly output: RunOutput;
  node: string;
  /** Set while it is followed. */
  stop: AbortController | null;
  printedMs: number;
  saveAtMs: number | null;
  intervalMs: number;
  lookedMs: number;
  nextMs: number;
  isBusy: boolean;
}

/**
 * Keeps what pods print before their orchestrator drops it, on the replica that leads. Pods are followed while there are
 * streams, which are bounded in all and for each node; with more pods than streams, those that print have them, and the
 * others are looked at, the more often the more they print. What is kept carries a mark, from which any leader goes on.
 */
export class OutputRounds {
  readonly #options: OutputRoundsOptions;
  readonly #watched = new Map<string, Watched>();
  #looking = 0;

  constructor(options: OutputRoundsOptions) {
    this.#options = options;
  }

  /** Those that run now: all of them, after each pass. */
  present(workloads: readonly RunningWorkload[]): void {
    const nowMs = this.#options.monotonicMs();
    const runs = new Map(workloads.map(({ uid, run }) => [uid, run]));
    for (const [uid, watched] of this.#watched) {
      if (runs.get(uid) === watched.workload.run) continue;
      watched.stop?.abort();
      this.#watched.delete(uid);
    }
    for (const workload of workloads) {
      const node = workload.node ?? '';
      const known = this.#watched.get(workload.uid);
      if (known !== undefined) {
        known.node = node;
        continue;
      }
      this.#watched.set(workload.uid, {
        workload,
        output: new RunOutput(this.#options, workload),
        node,
        stop: null,
        printedMs: -Infinity,
        saveAtMs: null,
        intervalMs: FIRST_MS,
        lookedMs: nowMs,
        nextMs: nowMs + FIRST_MS,
        isBusy: false,
      });
    }
  }

  /** Works until the signal aborts. */
  async run(signal: AbortSignal): Promise<void> {
    let nextTickMs = -Infinity;
    while (!signal.aborted) {
      const nowMs = this.#options.monotonicMs();
      if (nowMs >= nextTickMs) {
        this.tick(signal);
        nextTickMs = nowMs + IDLE_MS;
      }
      const due = this.#looking < AT_A_TIME ? this.#nextDue() : null;
      if (due !== null) void this.#look(due, signal);
      await pause(due === null ? IDLE_MS : SPACING_MS, signal);
    }
  }

  /** Gives out streams, and saves what was read from them some time ago. */
  tick(signal: AbortSignal): void {
    const nowMs = this.#options.monotonicMs();
    this.#giveStreams(nowMs, signal);
    for (const watched of this.#watched.values()) {
      if (!watched.output.hasUnsaved()) watched.saveAtMs = null;
      else if (watched.saveAtMs === null) watched.saveAtMs = nowMs + SAVE_AFTER_MS;
      else if (watched.saveAtMs <= nowMs) {
        watched.saveAtMs = nowMs + SAVE_AGAIN_MS;
        watched.output.flush().catch((error: unknown) => this.#warn(watched, error, signal));
      }
    }
  }

  /** Looks at the one that has been due for longest. Returns false when none is. Never throws. */
  async lookAtDue(signal: AbortSignal): Promise<boolean> {
    const due = this.#nextDue();
    if (due !== null) await this.#look(due, signal);
    return due !== null;
  }

  /** Keeps all that this run has printed. Returns false when it is not watched. */
  readonly keepNow = async (
    { uid, run }: WorkloadRef & { readonly run: number },
    signal: AbortSignal,
  ): Promise<boolean> => {
    const watched = this.#watched.get(uid);
    if (watched?.workload.run !== run) return false;
    await watched.output.catchUp(signal);
    return true;
  };

  #nextDue(): Watched | null {
    const nowMs = this.#options.monotonicMs();
    let first: Watched | null = null;
    for (const watched of this.#watched.values()) {
      if (watched.stop !== null || watched.isBusy || watched.nextMs > nowMs) continue;
      if (watched.nextMs < (first?.nextMs ?? Infinity)) first = watched;
    }
    return first;
  }

  async #look(watched: Watched, signal: AbortSignal): Promise<void> {
    watched.isBusy = true;
    this.#looking++;
    const { monotonicMs } = this.#options;
    const mostMs = Math.max(MOST_MS_OF_FEW, Math.min(MOST_MS, this.#watched.size * MOST_MS_EACH));
    try {
      const deadline = AbortSignal.any([signal, AbortSignal.timeout(LOOK_DEADLINE_MS)]);
      const bytes = await watched.output.look(deadline);
      if (bytes > 0) watched.printedMs = monotonicMs();
      const perMs = bytes / Math.max(1, monotonicMs() - watched.lookedMs);
      // Half of what makes it due, at the rate it prints now; never much longer than before, since it may begin to print.
      const wantedMs = perMs === 0 ? mostMs : KEEP_AT_BYTES / 2 / perMs;
      watched.intervalMs = Math.max(LEAST_MS, Math.min(mostMs, wantedMs, watched.intervalMs * 2));
    } catch (error) {
      this.#warn(watched, error, signal);
      watched.intervalMs = Math.min(mostMs, watched.intervalMs * 2);
    } finally {
      this.#looking--;
      watched.isBusy = false;
      watched.lookedMs = monotonicMs();
      watched.nextMs = watched.lookedMs + watched.intervalMs;
    }
  }

  /** To all while there are some, then to those that print, from those that do not. */
  #giveStreams(nowMs: number, signal: AbortSignal): void {
    const most = this.#options.followedMost ?? FOLLOWED_MOST;
    const isSilent = ({ printedMs }: Watched): boolean => printedMs <= nowMs - SILENT_MS;
    const followed: Watched[] = [];
    const waiting: Watched[] = [];
    const ofNode = new Map<string, number>();
    const count = (node: string, by: number): void => void ofNode.set(node, (ofNode.get(node) ?? 0) + by);
    for (const watched of this.#watched.values()) {
      if (watched.stop === null) {
        if (!watched.isBusy) waiting.push(watched);
        continue;
      }
      followed.push(watched);
      count(watched.node, 1);
    }
    const silent = followed.filter(isSilent).toSorted((a, b) => a.printedMs - b.printedMs);
    let [open, starts] = [followed.length, 0];
    // Those that have printed last come first.
    for (const watched of waiting.toSorted((a, b) => b.printedMs - a.printedMs)) {
      if (starts === STARTS_AT_A_TIME) return;
      const isNodeFull = (ofNode.get(watched.node) ?? 0) >= FOLLOWED_MOST_OF_NODE;
      if (isNodeFull || open >= most) {
        if (isSilent(watched)) continue;
        const at = silent.findIndex(({ node }) => !isNodeFull || node === watched.node);
        const [yielding] = at === -1 ? [] : silent.splice(at, 1);
        if (yielding === undefined) continue;
        yielding.stop?.abort();
        count(yielding.node, -1);
        open--;
      }
      count(watched.node, 1);
      open++;
      starts++;
      void this.#follow(watched, signal);
    }
  }

  /** Until it runs no more, or its stream is given to another. Never throws. */
  async #follow(watched: Watched, signal: AbortSignal): Promise<void> {
    const stop = new AbortController();
    watched.stop = stop;
    const isOver = AbortSignal.any([signal, stop.signal]);
    let waits = 1;
    while (!isOver.aborted) {
      waits += 1;
      const silence = new AbortController();
      const timer = setTimeout(() => silence.abort(), STREAM_SILENT_MS);
      const printed = (): void => {
        timer.refresh();
        waits = 1;
        watched.printedMs = this.#options.monotonicMs();
      };
      try {
        await watched.output.follow(printed, AbortSignal.any([isOver, silence.signal]));
      } catch (error) {
        if (!silence.signal.aborted && !isAborted(isOver)) this.#warn(watched, error, signal);
      } finally {
        clearTimeout(timer);
      }
      await pause(backoffMs(waits, FOLLOW_AGAIN), isOver);
    }
    watched.stop = null;
    watched.lookedMs = this.#options.monotonicMs();
    watched.nextMs = watched.lookedMs + watched.intervalMs;
  }

  #warn({ workload: { tenant, podId } }: Watched, error: unknown, signal: AbortSignal): void {
    if (signal.aborted) return;
    this.#options.log.warn({ tenant, podId, error: errorText(error) }, 'failed to store the output of a running pod');
  }
}
