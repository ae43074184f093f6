import { isAborted, untilAborted } from '../../../../core/abort.ts';
import type { DataOrigin } from '../../../../core/data-origin.ts';
import { PodgateError } from '../../../../core/errors.ts';
import type { WorkloadPhase } from '../../../../core/workloads.ts';
import type { WorkloadRef } from '../../../../core/workload-ref.ts';
import type { Paths } from '../paths.ts';
import { exists } from '../runtime-files.ts';

/** Copies at a time: each reads and writes as fast as the disk can. */
const COPIES_MAX = 2;
const WAITING = 'Waits until other pods are cloned.';

/** The data of another pod, for a recipe that begins with a copy of it. */
export interface DataSource {
  /** For messages. */
  readonly podId: string;
  /** Shows a sentence to the user of the new pod; '' = none. */
  say(message: string): void;
  /** Throws PodgateError, with sentences for that user, when it cannot be copied now. The caller closes it. */
  open(signal: AbortSignal): Promise<OpenedData>;
}

export interface OpenedData {
  /** Its directory. What is in it is not trusted, and changes while its program runs. */
  readonly volume: string;
  /** The ports of its program by stanza; null: nothing runs on it. */
  readonly ports: Readonly<Record<string, number>> | null;
  /** A copy has at most so many. */
  readonly limitBytes: number;
  /** Aborts when the pod starts, or its data is deleted: a copy never delays either. */
  readonly signal: AbortSignal;
  close(): void;
}

interface Found {
  readonly record: { readonly ports: Readonly<Record<string, number>> };
  readonly isLive: boolean;
  observation(): { readonly phase: WorkloadPhase };
}

export interface DataSourcesOptions {
  readonly paths: Paths;
  /** Of a pod's volume; null: it has no limit. */
  readonly limitMiB: number | null;
  /** What there is of a pod now; 'changing': it is being made, or its data is being deleted. */
  readonly find: (ref: WorkloadRef) => Found | 'changing' | null;
}

/** Which pods' data is being copied. */
export class DataSources {
  readonly #options: DataSourcesOptions;
  /** Of data that nothing runs on, by uid. */
  readonly #reading = new Map<string, Set<AbortController>>();
  #active = 0;
  readonly #waiting = new Set<() => void>();

  constructor(options: DataSourcesOptions) {
    this.#options = options;
  }

  async open({ pod, refusal }: DataOrigin, say: (message: string) => void, signal: AbortSignal): Promise<OpenedData> {
    if (refusal !== null) throw new PodgateError('api.forbidden', { publicMessages: [refusal] });
    await this.#takePlace(say, signal);
    try {
      return await this.#open(pod);
    } catch (error) {
      this.#leavePlace();
      throw error;
    }
  }

  /** Ends the copies of what must not change while it is copied. True: one is still ending. */
  interrupt(uid: string): boolean {
    const controllers = this.#reading.get(uid);
    for (const controller of controllers ?? []) controller.abort();
    return controllers !== undefined;
  }

  async #open(pod: WorkloadRef): Promise<OpenedData> {
    const volume = this.#options.paths.volume(pod.uid);
    const hasData = await exists(volume);
    // From here on in one step: a start that comes later finds the copy, and interrupts it.
    const found = this.#options.find(pod);
    const phase = found === null || found === 'changing' ? null : found.observation().phase;
    const isRunning = phase === 'ready';
    if (!hasData || found === 'changing' || (found !== null && !isRunning && (found.isLive || phase === 'stopping'))) {
      throw new PodgateError('api.conflict', {
        publicMessages: [
          hasData
            ? `The data of pod ${pod.podId} can be copied while it is RUNNING or STOPPED, which it is not.`
            : `Pod ${pod.podId} has no data yet: start it first.`,
        ],
      });
    }
    const controller = new AbortController();
    if (!isRunning) this.#add(pod.uid, controller);
    let isClosed = false;
    return {
      volume,
      ports: found !== null && isRunning ? found.record.ports : null,
      limitBytes: (this.#options.limitMiB ?? Infinity) * 1024 * 1024,
      signal: controller.signal,
      close: () => {
        if (isClosed) return;
        isClosed = true;
        this.#remove(pod.uid, controller);
        this.#leavePlace();
      },
    };
  }

  #add(uid: string, controller: AbortController): void {
    const controllers = this.#reading.get(uid) ?? new Set();
    this.#reading.set(uid, controllers.add(controller));
  }

  #remove(uid: string, controller: AbortController): void {
    const controllers = this.#reading.get(uid);
    controllers?.delete(controller);
    if (controllers?.size === 0) this.#reading.delete(uid);
  }

  async #takePlace(say: (message: string) => void, signal: AbortSignal): Promise<void> {
    if (this.#active < COPIES_MAX) {
      this.#active += 1;
      return;
    }
    say(WAITING);
    const { promise, resolve } = Promise.withResolvers<undefined>();
    const take = (): void => {
      resolve(undefined);
    };
    this.#waiting.add(take);
    await Promise.race([promise, untilAborted(signal)]);
    if (!isAborted(signal)) return;
    // Not among those that wait any more: it has been given the place.
    if (!this.#waiting.delete(take)) this.#leavePlace();
    signal.throwIfAborted();
  }

  #leavePlace(): void {
    const [next] = this.#waiting;
    if (next === undefined) this.#active -= 1;
    else {
      this.#waiting.delete(next);
      next();
    }
  }
}
