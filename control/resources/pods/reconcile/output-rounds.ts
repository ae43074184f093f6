import { pause } from '../../../../core/abort.ts';
import { errorText } from '../../../../core/errors.ts';
import type { LogStore } from '../../../../core/log-store.ts';
import type { Logger } from '../../../../core/logger.ts';
import type { Orchestrator, WorkloadRef } from '../../../../core/orchestrator.ts';
import { addToKept } from './keep-output.ts';

/** The kubelet rotates a container's log at 10 MiB, and serves the newest file alone. Well before, the pod is followed. */
const KEEP_AT_BYTES = 4 * 1024 * 1024;
/** A pod that prints much is looked at this often, one that prints nothing ever more rarely. */
const FIRST_MS = 10_000;
const LEAST_MS = 5_000;
const MOST_MS = 10 * 60_000;
/** Of all pods together: 20 looks a second, 4 at a time. 10,000 silent pods need 17 a second. */
const SPACING_MS = 50;
const AT_A_TIME = 4;
/** Streams that are open at a time; beyond it, pods that print much are kept at each look. */
const FOLLOWED_MOST = 200;
/** What is followed is kept in pieces of this size. */
const PIECE_BYTES = 1024 * 1024;
/** Then a stream is begun anew: one that is dead says nothing either. */
const STREAM_MOST_MS = 10 * 60_000;
const FOLLOW_AGAIN_MS = 5_000;
const IDLE_MS = 500;
const LOOK_DEADLINE_MS = 20_000;

export type RunningWorkload = WorkloadRef & { readonly run: number };

export interface OutputRoundsOptions {
  readonly logs: LogStore;
  readonly printedSince: NonNullable<Orchestrator['printedSince']>;
  readonly followPrinted: NonNullable<Orchestrator['followPrinted']>;
  readonly monotonicMs: () => number;
  readonly log: Logger;
}

interface Watched {
  readonly workload: RunningWorkload;
  /** Null before the first look. */
  mark: string | null;
  /** Printed since it was last kept, as far as is known. */
  bytes: number;
  intervalMs: number;
  lookedMs: number;
  nextMs: number;
  isBusy: boolean;
}

/**
 * Keeps what pods print before their orchestrator drops it, on the replica that leads. A look reads what is new and only
 * counts it, the more often the more the pod prints. One that has printed 4 MiB is followed from then on: what is printed
 * between a look and a rotation could be read no more. What is kept carries the time of its last line, from which any
 * leader goes on.
 */
export class OutputRounds {
  readonly #options: OutputRoundsOptions;
  readonly #watched = new Map<string, Watched>();
  #running = 0;
  #followed = 0;

  constructor(options: OutputRoundsOptions) {
    this.#options = options;
  }

  /** Those that run now: all of them, after each pass. */
  present(workloads: readonly RunningWorkload[]): void {
    const nowMs = this.#options.monotonicMs();
    const uids = new Set(workloads.map(({ uid }) => uid));
    for (const uid of this.#watched.keys()) if (!uids.has(uid)) this.#watched.delete(uid);
    for (const workload of workloads) {
      if (this.#watched.get(workload.uid)?.workload.run === workload.run) continue;
      this.#watched.set(workload.uid, {
        workload,
        mark: null,
        bytes: 0,
        intervalMs: FIRST_MS,
        lookedMs: nowMs,
        nextMs: nowMs + FIRST_MS,
        isBusy: false,
      });
    }
  }

  /** Works until the signal aborts. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const due = this.#running < AT_A_TIME ? this.#nextDue() : null;
      if (due !== null) void this.#look(due, signal);
      await pause(due === null ? IDLE_MS : SPACING_MS, signal);
    }
  }

  /** Looks at the one that has been due for longest. Returns false when none is. Never throws. */
  async lookAtDue(signal: AbortSignal): Promise<boolean> {
    const due = this.#nextDue();
    if (due !== null) await this.#look(due, signal);
    return due !== null;
  }

  #nextDue(): Watched | null {
    const nowMs = this.#options.monotonicMs();
    let first: Watched | null = null;
    for (const watched of this.#watched.values()) {
      if (!watched.isBusy && watched.nextMs <= nowMs && watched.nextMs < (first?.nextMs ?? Infinity)) first = watched;
    }
    return first;
  }

  async #look(watched: Watched, signal: AbortSignal): Promise<void> {
    watched.isBusy = true;
    this.#running++;
    const { monotonicMs, log } = this.#options;
    let isFollowed = false;
    try {
      const deadline = AbortSignal.any([signal, AbortSignal.timeout(LOOK_DEADLINE_MS)]);
      const bytes = await this.#count(watched, deadline);
      isFollowed = watched.bytes >= KEEP_AT_BYTES && this.#followed < FOLLOWED_MOST;
      const perMs = bytes / Math.max(1, monotonicMs() - watched.lookedMs);
      // Half of what makes it due, at the rate it prints now; never much longer than before, since it may begin to print.
      const wantedMs = perMs === 0 ? MOST_MS : KEEP_AT_BYTES / 2 / perMs;
      watched.intervalMs = Math.max(LEAST_MS, Math.min(MOST_MS, wantedMs, watched.intervalMs * 2));
    } catch (error) {
      const { tenant, podId } = watched.workload;
      if (!signal.aborted) log.warn({ tenant, podId, error: errorText(error) }, 'what a pod prints could not be kept');
      watched.intervalMs = Math.min(MOST_MS, watched.intervalMs * 2);
    } finally {
      this.#running--;
      // One that is followed is not looked at.
      watched.isBusy = isFollowed;
      if (isFollowed) void this.#follow(watched, signal);
      watched.lookedMs = monotonicMs();
      watched.nextMs = watched.lookedMs + watched.intervalMs;
    }
  }

  /** Returns how much is new. */
  async #count(watched: Watched, signal: AbortSignal): Promise<number> {
    const { logs, printedSince } = this.#options;
    const { workload } = watched;
    watched.mark ??= (await logs.outputOfRun(workload.uid, workload.run))?.mark ?? '';
    const part = await printedSince(workload, { mark: watched.mark, mostBytes: KEEP_AT_BYTES }, signal);
    const bytes = Buffer.byteLength(part.text);
    watched.mark = part.mark;
    watched.bytes += bytes;
    if (part.isAll && watched.bytes < KEEP_AT_BYTES) return bytes;
    watched.mark = await addToKept({ logs, printedSince }, workload, signal);
    // From now on it is kept at each look: its next rotation may be near.
    watched.bytes = KEEP_AT_BYTES;
    return bytes;
  }

  /** Until it runs no more. Never throws. */
  async #follow(watched: Watched, signal: AbortSignal): Promise<void> {
    const { log } = this.#options;
    const { tenant, podId, uid } = watched.workload;
    this.#followed++;
    while (!signal.aborted && this.#watched.get(uid) === watched) {
      await this.#followOnce(watched.workload, signal).catch((error: unknown) => {
        if (!signal.aborted)
          log.warn({ tenant, podId, error: errorText(error) }, 'what a pod prints is followed again');
      });
      await pause(FOLLOW_AGAIN_MS, signal);
    }
    this.#followed--;
  }

  async #followOnce(workload: RunningWorkload, signal: AbortSignal): Promise<void> {
    const { logs, printedSince, followPrinted } = this.#options;
    const { uid, run } = workload;
    let from = await addToKept({ logs, printedSince }, workload, signal);
    let [mark, text] = [from, ''];
    const keep = async (): Promise<boolean> => {
      const kept = await logs.outputOfRun(uid, run);
      // Kept by somebody else meanwhile, when its run ends: what is here is old.
      if ((kept?.mark ?? '') !== from) return false;
      await logs.saveOutput(uid, run, (kept?.text ?? '') + text, mark);
      [from, text] = [mark, ''];
      return true;
    };
    const isOver = AbortSignal.timeout(STREAM_MOST_MS);
    try {
      for await (const part of followPrinted(workload, from, AbortSignal.any([signal, isOver]))) {
        text += part.text;
        ({ mark } = part);
        if (text.length >= PIECE_BYTES && !(await keep())) return;
      }
    } catch (error) {
      if (!isOver.aborted) throw error;
    } finally {
      if (text !== '') await keep();
    }
  }
}
