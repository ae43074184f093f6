import { isAborted } from '../../../core/abort.ts';
import type { KeptOutput, LogStore } from '../../../core/log-store.ts';
import type { PrintedPart, WorkloadLogs } from '../../../core/workload-logs.ts';
import type { WorkloadRef } from '../../../core/workload-ref.ts';

/** From this size on, a run's output is kept: a kubelet may rotate a log of 256 KiB, and serves the newest file alone. */
export const KEEP_AT_BYTES = 128 * 1024;
/** A read of the orchestrator, with its times of lines, and how many it takes at most for all that a node has. */
const READ_BYTES = 16 * 1024 * 1024;
const READS_MAX = 3;

export type RunningWorkload = WorkloadRef & { readonly run: number; readonly node?: string };

export interface RunOutputOptions {
  readonly logs: LogStore;
  readonly printedSince: NonNullable<WorkloadLogs['printedSince']>;
  readonly followPrinted?: WorkloadLogs['followPrinted'];
}

/** How far the output of a run was read; what its newest program printed, and the one before, in UTF-16 code units. */
export interface OutputPosition {
  readonly mark: string;
  readonly previousLength: number;
  readonly currentLength: number;
}

const BEGIN: OutputPosition = { mark: '', previousLength: 0, currentLength: 0 };

/** The mark of a kept output is the orchestrator's, with both lengths behind it. */
function encodeMark({ mark, previousLength, currentLength }: OutputPosition): string {
  return `${mark};${previousLength};${currentLength}`;
}

export function positionOf(kept: KeptOutput | null): OutputPosition {
  const written = kept?.mark ?? '';
  const [, mark, previous, current] = /^(.*);(\d+);(\d+)$/.exec(written) ?? [];
  if (mark === undefined) return { ...BEGIN, mark: written };
  return { mark, previousLength: Number(previous), currentLength: Number(current) };
}

export function advance(from: OutputPosition, { text, mark, previousLength }: PrintedPart): OutputPosition {
  if (previousLength === undefined) return { ...from, mark, currentLength: from.currentLength + text.length };
  return {
    mark,
    previousLength: from.currentLength + previousLength,
    currentLength: text.length - previousLength,
  };
}

/**
 * The output of one run while it is being kept. Nothing is kept of a run that has printed little: no log of it has been
 * rotated. From then on everything is, each part once: a new reader ends the stream that was open, and what that
 * yields late is dropped.
 */
export class RunOutput {
  readonly #options: RunOutputOptions;
  readonly #workload: RunningWorkload;
  /** What the store has; null before it was asked. */
  #saved: OutputPosition | null = null;
  /** What was read from the stream behind `#saved`, and up to where. */
  #text = '';
  #read = BEGIN;
  /** What was only counted, of a run of which nothing is kept. */
  #counted = { mark: '', bytes: 0 };
  #stream: AbortController | null = null;
  #turn: Promise<unknown> = Promise.resolve();

  constructor(options: RunOutputOptions, workload: RunningWorkload) {
    this.#options = options;
    this.#workload = workload;
  }

  /** Text that a rotation could hide from a reader of the kept output and the newest file. */
  hasUnsaved(): boolean {
    return this.#text !== '' && this.#isKept();
  }

  #isKept(): boolean {
    return this.#saved !== null && this.#saved.mark !== '';
  }

  /** Reads what is new; keeps it where something is kept or much is new. Returns how many bytes are new. */
  look(signal: AbortSignal): Promise<number> {
    return this.#inTurn(async () => {
      await this.#open();
      if (this.#isKept()) return this.#catchUp(signal);
      const { printedSince } = this.#options;
      const how = { mark: this.#counted.mark, mostBytes: KEEP_AT_BYTES };
      const part = await printedSince(this.#workload, how, signal);
      const bytes = Buffer.byteLength(part.text);
      this.#counted = { mark: part.mark, bytes: this.#counted.bytes + bytes };
      return part.isAll && this.#counted.bytes < KEEP_AT_BYTES ? bytes : this.#catchUp(signal);
    });
  }

  /** Keeps all that was printed so far. Returns how many bytes are new. */
  catchUp(signal: AbortSignal): Promise<number> {
    return this.#inTurn(async () => {
      await this.#open();
      return this.#catchUp(signal);
    });
  }

  /** Saves what was read from the stream. */
  flush(): Promise<void> {
    return this.#inTurn(() => this.#save());
  }

  /** Reads from a stream until it ends; `printed` is called for each part. Throws what the stream throws. */
  async follow(printed: () => void, signal: AbortSignal): Promise<void> {
    const { followPrinted } = this.#options;
    if (followPrinted === undefined) return;
    const stream = new AbortController();
    const until = AbortSignal.any([signal, stream.signal]);
    const from = await this.#inTurn(async () => {
      await this.#open();
      if (this.#isKept()) await this.#catchUp(until);
      this.#stream?.abort();
      this.#stream = stream;
      return this.#read.mark;
    });
    try {
      for await (const part of followPrinted(this.#workload, from, until)) {
        if (stream.signal.aborted) return;
        this.#read = advance(this.#read, part);
        this.#text += part.text;
        printed();
        if (this.#text.length >= KEEP_AT_BYTES) await this.flush();
      }
    } catch (error) {
      if (!isAborted(stream.signal)) throw error;
    } finally {
      await this.#inTurn(() => this.#leave(stream));
    }
  }

  async #leave(stream: AbortController): Promise<void> {
    if (this.#stream !== stream) return;
    this.#stream = null;
    if (this.#isKept()) await this.#save();
    else this.#forget();
  }

  /** The orchestrator still has it: little was printed. */
  #forget(): void {
    this.#text = '';
    this.#read = this.#saved ?? BEGIN;
  }

  async #open(): Promise<void> {
    if (this.#saved !== null) return;
    const { uid, run } = this.#workload;
    this.#saved = positionOf(await this.#options.logs.outputOfRun(uid, run));
    this.#read = this.#saved;
  }

  async #catchUp(signal: AbortSignal): Promise<number> {
    this.#stream?.abort();
    this.#stream = null;
    if (this.#isKept()) await this.#save();
    else this.#forget();
    let bytes = 0;
    for (let reads = 0; reads < READS_MAX; reads++) {
      const how = { mark: this.#read.mark, mostBytes: READ_BYTES };
      const part = await this.#options.printedSince(this.#workload, how, signal);
      this.#read = advance(this.#read, part);
      this.#text += part.text;
      bytes += Buffer.byteLength(part.text);
      await this.#save();
      if (part.isAll) break;
    }
    return bytes;
  }

  async #save(): Promise<void> {
    const [text, read] = [this.#text, this.#read];
    if (text === '') return;
    const { uid, run } = this.#workload;
    await this.#options.logs.appendOutput(uid, run, text, encodeMark(read));
    this.#saved = read;
    // More may have come meanwhile.
    this.#text = this.#text.slice(text.length);
  }

  async #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const mine = this.#turn.then(work);
    this.#turn = mine.catch(() => undefined);
    return mine;
  }
}
