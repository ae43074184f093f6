import { workerData } from 'node:worker_threads';
import { openNamespaceCalls } from './namespace-calls.ts';
import { ANSWER, ANSWERED, CALL, GONE, LOST, REFUSED, requestOf, type SharedCall } from './namespace-thread.ts';

/** The thread of namespace-thread.ts: it waits for requests, and answers each with a descriptor. */
const shared = workerData as SharedCall;
const { state } = shared;

function answer(call: number, value: number): void {
  Atomics.store(state, ANSWER, value);
  Atomics.store(state, ANSWERED, call + 1);
  Atomics.notify(state, ANSWERED);
}

const calls = openNamespaceCalls(true);
answer(0, calls === null ? REFUSED : 0);
const ANSWERS = { gone: GONE, refused: REFUSED, lost: LOST } as const;
for (let last = 0; calls !== null;) {
  Atomics.wait(state, CALL, last);
  last = Atomics.load(state, CALL);
  const { namespace, family } = requestOf(shared);
  const made = calls.socket(namespace, family);
  answer(last, made.kind === 'fd' ? made.fd : ANSWERS[made.kind]);
}
