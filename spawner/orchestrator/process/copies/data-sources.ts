import { lstat } from 'node:fs/promises';
import type { DataOrigin } from '../../../../core/data-origin.ts';
import { PodgateError } from '../../../../core/errors.ts';
import type { WorkloadPhase } from '../../../../core/workloads.ts';
import type { WorkloadRef } from '../../../../core/workload-ref.ts';
import type { FilesRef } from '../../../../core/volume.ts';
import { WaitingLine } from '../../../../core/waiting-line.ts';
import type { Paths } from '../paths.ts';
import { exists } from '../runtime-files.ts';
import { openRoot } from '../volumes/walk-safely.ts';
import type { CopyLimit } from './copy-tree.ts';

/** Copies at a time: each reads and writes as fast as the disk can. */
const COPIES_MAX = 2;
const WAITING = 'Waits until other pods are cloned.';

/** The data of another pod, or a snapshot of it, for what begins with a copy of it. */
export interface DataSource {
  /** For messages, such as `pod bank`. */
  readonly name: string;
  /** Shows a sentence to the user of the copy; '' = none. */
  say(message: string): void;
  /** Throws PodgateError, with sentences for that user, when it cannot be copied now. The caller closes it. */
  open(signal: AbortSignal): Promise<OpenedData>;
}

export interface OpenedData {
  /** Its directory. What is in it is not trusted, and changes while its program runs. */
  readonly volume: string;
  /** The ports of its program by stanza; null: nothing runs on it. */
  readonly ports: Readonly<Record<string, number>> | null;
  /** What a copy has at most. */
  readonly limit: CopyLimit;
  /** Aborts when the pod starts, or its data is deleted: a copy never delays either. */
  readonly signal: AbortSignal;
  /** Throws PodgateError when some of it may have been deleted before it was copied. Asked after the copy. */
  requireWhole(): Promise<void>;
  close(): Promise<void>;
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
  /** Where the files of a snapshot are. */
  readonly pathOf: (ref: FilesRef) => string;
}

/** Which pods' data is being copied. */
export class DataSources {
  readonly #options: DataSourcesOptions;
  /** Of data that nothing runs on, by uid. */
  readonly #reading = new Map<string, Set<AbortController>>();
  readonly #line = new WaitingLine(COPIES_MAX);

  constructor(options: DataSourcesOptions) {
    this.#options = options;
  }

  async open(origin: DataOrigin, say: (message: string) => void, signal: AbortSignal): Promise<OpenedData> {
    const { refusal } = origin;
    if (refusal !== null) throw new PodgateError('api.forbidden', { publicMessages: [refusal] });
    if (this.#line.isFull) say(WAITING);
    if (!(await this.#line.take(signal))) signal.throwIfAborted();
    try {
      return await ('pod' in origin ? this.#open(origin.pod) : this.#openSnapshot(origin.snapshot));
    } catch (error) {
      this.#line.leave();
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
      throw hasData
        ? new PodgateError('orchestrator.unavailable', {
            publicMessages: [
              `The data of pod ${pod.podId} can be copied while it is RUNNING or STOPPED, which it is not.`,
            ],
          })
        : new PodgateError('api.conflict', {
            publicMessages: [`Pod ${pod.podId} has no data yet: start it first.`],
          });
    }
    const controller = new AbortController();
    if (!isRunning) this.#add(pod.uid, controller);
    return {
      volume,
      ports: found !== null && isRunning ? found.record.ports : null,
      limit: this.#limit,
      signal: controller.signal,
      requireWhole: () => Promise.resolve(),
      close: () => {
        this.#remove(pod.uid, controller);
        this.#line.leave();
        return Promise.resolve();
      },
    };
  }

  /** Nothing runs on it. Its deletion first moves its directory away: that is open, so no other one is taken for it. */
  async #openSnapshot(ref: FilesRef): Promise<OpenedData> {
    const volume = this.#options.pathOf(ref);
    const gone = (cause: unknown): PodgateError =>
      new PodgateError('api.conflict', { publicMessages: [`Snapshot ${ref.id} was deleted.`], cause });
    const directory = await openRoot(volume).catch((error: unknown) => {
      throw gone(error);
    });
    return {
      volume,
      ports: null,
      limit: this.#limit,
      signal: new AbortController().signal,
      requireWhole: async () => {
        const [opened, now] = await Promise.all([directory.stat(), lstat(volume).catch(() => null)]);
        if (now?.ino !== opened.ino) throw gone(null);
      },
      close: async () => {
        this.#line.leave();
        await directory.close();
      },
    };
  }

  get #limit(): CopyLimit {
    return { bytes: (this.#options.limitMiB ?? Infinity) * 1024 * 1024, of: 'a volume' };
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
}
