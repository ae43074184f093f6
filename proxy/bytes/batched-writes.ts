import type { Socket } from 'node:net';
import { FULL_RECORD_BYTES } from './user-buffer.ts';

/** Two reads of the kernel (64 KiB each in libuv). Also what a sink that is full pins. Measured: 4, 8, 16 records cost 1.00, 0.94, 0.96. */
const SLAB_BYTES = 8 * FULL_RECORD_BYTES;

/**
 * Gathers the full TLS records that a source delivers in one turn of the event loop, so that its sink gets them in one
 * write. A record by itself is a system call, and garbage, for every 16 KiB.
 */
export interface BatchedWrites {
  /** Copies the bytes. False: the sink is full, read no more until its 'drain'. */
  readonly add: (bytes: Buffer) => boolean;
  /** Writes what is gathered. Due before anything else is written to the sink, and before its end. */
  readonly flush: () => void;
}

let slab = Buffer.allocUnsafeSlow(SLAB_BYTES);
let length = 0;
/** Whose bytes are in the slab: there is one for all sources, so that neither idle nor busy ones cost memory. */
let owner: Socket | null = null;
let isScheduled = false;

export function createBatchedWrites(sink: Socket): BatchedWrites {
  return {
    add(bytes) {
      if (owner !== sink || length + bytes.length > SLAB_BYTES) flush();
      owner = sink;
      length += bytes.copy(slab, length);
      if (bytes.length < FULL_RECORD_BYTES || length === SLAB_BYTES) flush();
      else if (!isScheduled) {
        isScheduled = true;
        setImmediate(flushLater);
      }
      return !sink.writableNeedDrain;
    },
    flush() {
      if (owner === sink) flush();
    },
  };
}

function flushLater(): void {
  isScheduled = false;
  flush();
}

function flush(): void {
  const sink = owner;
  const bytes = slab.subarray(0, length);
  owner = null;
  length = 0;
  if (sink === null || sink.destroyed || sink.writableEnded) return;
  if (sink.writableLength > 0) {
    // It is to wait: in a copy, so that the slab is free at once.
    sink.write(Buffer.from(bytes));
    return;
  }
  sink.write(bytes);
  // The kernel did not take all of it: the socket goes on reading from this slab.
  if (sink.writableLength > 0) slab = Buffer.allocUnsafeSlow(SLAB_BYTES);
}
