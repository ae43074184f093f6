import type { ExecOutput } from '../../../core/shell.ts';

/** Collects what a command prints, up to a bound for each of the two streams. */
export class BoundedOutput {
  readonly #maxBytes: number;
  readonly #chunks: Readonly<Record<keyof ExecOutput, Uint8Array[]>> = { stdout: [], stderr: [] };
  readonly #bytes: Record<keyof ExecOutput, number> = { stdout: 0, stderr: 0 };
  readonly #exceeded: () => void;

  /** `exceeded` is called when there is more than the bound, perhaps again and again. */
  constructor(maxBytes: number, exceeded: () => void) {
    this.#maxBytes = maxBytes;
    this.#exceeded = exceeded;
  }

  add(stream: keyof ExecOutput, chunk: Uint8Array): void {
    const room = this.#maxBytes - this.#bytes[stream];
    const kept = chunk.length > room ? chunk.subarray(0, room) : chunk;
    this.#bytes[stream] += kept.length;
    if (kept.length > 0) this.#chunks[stream].push(kept);
    if (kept.length < chunk.length) this.#exceeded();
  }

  collected(): ExecOutput {
    return { stdout: Buffer.concat(this.#chunks.stdout), stderr: Buffer.concat(this.#chunks.stderr) };
  }
}
