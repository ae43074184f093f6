import { closeSync } from 'node:fs';
import { Worker } from 'node:worker_threads';
import type { NetworkNamespace } from '../../core/pod-network.ts';
import type { NamespaceCalls, SocketMade } from './namespace-calls.ts';

/** What the two threads share: `call` changes with each request, `answer` says what came of it. */
export interface SharedCall {
  /** Int32: [number of the request, number of the last one answered, answer, family, inode low, inode high, path length]. */
  readonly state: Int32Array<SharedArrayBuffer>;
  readonly path: Uint8Array<SharedArrayBuffer>;
}
export const CALL = 0;
export const ANSWERED = 1;
export const ANSWER = 2;
const FAMILY = 3;
const INODE_LOW = 4;
const INODE_HIGH = 5;
const PATH_LENGTH = 6;
/** Answers that are no descriptor. */
export const GONE = -1;
export const REFUSED = -2;
export const LOST = -3;
const WORD = 2 ** 32;
const PATH_MAX_BYTES = 256;
const START_DEADLINE_MS = 10_000;
const CALL_DEADLINE_MS = 1_000;

/**
 * The same on another thread of this process, in whose table of descriptors its sockets are: for where a thread that
 * enters another namespace cannot come back (namespace-calls.ts). The caller waits: 12 us in
 * all, where entering them itself takes 7 us (measured). Null when that thread
 * cannot enter namespaces either.
 */
export function openNamespaceThread(): NamespaceCalls | null {
  const shared: SharedCall = {
    state: new Int32Array(new SharedArrayBuffer(7 * Int32Array.BYTES_PER_ELEMENT)),
    path: new Uint8Array(new SharedArrayBuffer(PATH_MAX_BYTES)),
  };
  const { state } = shared;
  const thread = new Worker(new URL('./namespace-thread-entry.ts', import.meta.url), {
    workerData: shared,
    resourceLimits: { maxOldGenerationSizeMb: 16, maxYoungGenerationSizeMb: 2 },
  });
  thread.unref();
  /** Request 0 is the start. Null when the answer is late. */
  const wait = (call: number, deadlineMs: number): number | null => {
    const untilMs = performance.now() + deadlineMs;
    while (Atomics.load(state, ANSWERED) !== call + 1) {
      const leftMs = untilMs - performance.now();
      if (leftMs <= 0) return null;
      Atomics.wait(state, ANSWERED, call, leftMs);
    }
    return Atomics.load(state, ANSWER);
  };
  if (wait(0, START_DEADLINE_MS) !== 0) {
    void thread.terminate();
    return null;
  }
  // As when a thread that enters namespaces itself cannot come back: this process dials no pod any more.
  thread.on('error', () => process.abort());
  let call = 0;
  let isLate = false;
  return {
    socket: ({ path, inode }: NetworkNamespace, family): SocketMade => {
      if (isLate) {
        const late = wait(call, 0);
        if (late === null) return { kind: 'refused' };
        // Nobody waits for that socket any more.
        if (late >= 0) closeSync(late);
        isLate = false;
      }
      const { written, read } = new TextEncoder().encodeInto(path, shared.path);
      if (read !== path.length) return { kind: 'gone' };
      call += 1;
      Atomics.store(state, PATH_LENGTH, written);
      Atomics.store(state, FAMILY, family);
      Atomics.store(state, INODE_LOW, inode % WORD);
      Atomics.store(state, INODE_HIGH, Math.floor(inode / WORD));
      Atomics.store(state, CALL, call);
      Atomics.notify(state, CALL);
      const answer = wait(call, CALL_DEADLINE_MS);
      isLate = answer === null;
      if (answer !== null && answer >= 0) return { kind: 'fd', fd: answer };
      return { kind: answer === GONE ? 'gone' : answer === LOST ? 'lost' : 'refused' };
    },
  };
}

/** The namespace of the request that stands there. */
export function requestOf({ state, path }: SharedCall): {
  readonly namespace: NetworkNamespace;
  readonly family: 4 | 6;
} {
  const inode = Atomics.load(state, INODE_HIGH) * WORD + (Atomics.load(state, INODE_LOW) >>> 0);
  const text = Buffer.from(path.subarray(0, Atomics.load(state, PATH_LENGTH))).toString('utf8');
  return { namespace: { path: text, inode }, family: Atomics.load(state, FAMILY) === 6 ? 6 : 4 };
}
