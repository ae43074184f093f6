import type { ExecOutput } from '../../../core/shell.ts';

const FIRST_BYTES = 4 * 1024;

/** Collects what a command prints, up to a bound for each of the two streams. */
export class BoundedOutput {
  readonly #maxBytes: number;
  readonly #exceeded: () => void;
  readonly #streams: Readonly<Record<keyof ExecOutput, { bytes: Uint8Array; length: number }>> = {
    stdout: { bytes: new Uint8Array(), length: 0 },
    stderr: { bytes: new Uint8Array(), length: 0 },
  };

  /** `exceeded` is called when there is more than the bound, perhaps again and again. */
  constructor(maxBytes: number, exceeded: () => void) {
    this.#maxBytes = maxBytes;
    this.#exceeded = exceeded;
  }

  add(name: keyof ExecOutput, chunk: Uint8Array): void {
    const stream = this.#streams[name];
    const kept = chunk.subarray(0, this.#maxBytes - stream.length);
    const length = stream.length + kept.length;
    if (length > stream.bytes.length) {
      // Copied, not kept as chunks: a command that prints single bytes would cost a hundred times its bound.
      const grown = new Uint8Array(Math.min(this.#maxBytes, Math.max(FIRST_BYTES, length, 2 * stream.bytes.length)));
      grown.set(stream.bytes);
      stream.bytes = grown;
    }
    stream.bytes.set(kept, stream.length);
    stream.length = length;
    if (kept.length < chunk.length) this.#exceeded();
  }

  collected(): ExecOutput {
    const { stdout, stderr } = this.#streams;
    return { stdout: stdout.bytes.subarray(0, stdout.length), stderr: stderr.bytes.subarray(0, stderr.length) };
  }
}
