import { once } from 'node:events';
import type { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';

export interface HandedOver {
  /**
   * To be called when the command has ended: waits until all that it printed has been taken. What it has left running may
   * keep its output open: the rest is given up when nothing more comes for `drainMs`.
   */
  rest(drainMs: number, signal: AbortSignal): Promise<void>;
}

/** Hands over what a command prints, piece by piece; `failed` gets what `take` throws. */
export function handOver(
  output: Readable,
  take: (bytes: Uint8Array) => Promise<void>,
  failed: (error: unknown) => void,
): HandedOver {
  let isTaking = false;
  let pieces = 0;
  const all = async (): Promise<void> => {
    for await (const piece of output as AsyncIterable<Buffer>) {
      isTaking = true;
      pieces += 1;
      try {
        await take(piece);
      } catch (error) {
        failed(error);
        return;
      }
      isTaking = false;
    }
  };
  // It breaks off only where nobody waits for it any more.
  const done = all().catch(() => undefined);
  return {
    async rest(drainMs, signal) {
      const over = new AbortController();
      const stopped = signal.aborted ? Promise.resolve() : once(signal, 'abort', { signal: over.signal });
      const ended = Promise.race([done, stopped]).then(
        () => true,
        () => true,
      );
      let before: number;
      do before = pieces;
      while (!(await Promise.race([ended, sleep(drainMs, false)])) && (isTaking || pieces > before));
      over.abort();
    },
  };
}
