import { setTimeout as delay } from 'node:timers/promises';
import { isAborted } from '../../core/abort.ts';
import { CliError, EXIT_FAILED } from '../cli-error.ts';
import { type ApiCall, callApi, refusalOf } from '../target/call-api.ts';
import type { Target } from '../target/target.ts';
import { callForPod, type Pod, podPath, readPod, reasonOf } from './pod.ts';
import type { Progress, Stage } from './progress.ts';

const POLL_MS = 250;

const STAGE_OF: Readonly<Record<string, Stage | 'stopping'>> = {
  STOPPED: 'queued',
  REQUESTED: 'queued',
  SPAWNER_SETUP: 'spawner',
  CREATING_CONTAINER: 'container',
  RUNNING: 'ready',
  SHUTTING_DOWN: 'stopping',
  ASLEEP: 'queued',
};

export interface Wait {
  readonly target: Target;
  readonly podId: string;
  readonly progress: Progress;
  readonly timeoutMs: number;
}

/**
 * Makes `call` (create, start or restart, with `?wait=routable`) and shows the pod's way until every gateway routes to
 * it. Throws CliError with the reason when the pod ends before that, or is not there in time.
 */
export async function callUntilRoutable(wait: Wait, call: ApiCall): Promise<Pod> {
  const { target, podId } = wait;
  const endMs = performance.now() + wait.timeoutMs;
  let reply = await whilePolling(wait, callApi(target, call));
  for (;;) {
    if (reply.status < 200 || reply.status > 299) throw refusalOf(target, reply);
    const pod = await readPod(target, podId);
    if (reply.status === 200 && reply.metadata['routable'] === true) return pod;
    if (hasEnded(pod)) {
      throw new CliError(EXIT_FAILED, `pod ${podId} is ${pod.status}${reasonOf(pod)}; ${nextStepOf(pod)}`);
    }
    if (performance.now() > endMs) {
      throw new CliError(EXIT_FAILED, `pod ${podId} is ${pod.status} and not reachable yet: ${reply.message}`);
    }
    // The API waits a minute at most. For a pod that is on its way, this changes nothing.
    const again = callApi(target, { method: 'POST', path: podPath(podId, '/start?wait=routable') });
    reply = await whilePolling(wait, again);
  }
}

export async function callUntilStopped({ target, podId, progress, timeoutMs }: Wait): Promise<Pod> {
  const endMs = performance.now() + timeoutMs;
  await callForPod(target, podId, { method: 'POST', path: podPath(podId, '/stop') });
  for (;;) {
    const pod = await readPod(target, podId);
    if (pod.status === 'STOPPED') return pod;
    if (pod.status_requested !== 'OFF') throw new CliError(EXIT_FAILED, `pod ${podId} was started by someone else`);
    if (performance.now() > endMs) throw new CliError(EXIT_FAILED, `pod ${podId} is still ${pod.status}`);
    progress.at('stopping', '');
    await delay(POLL_MS);
  }
}

async function whilePolling<T>({ target, podId, progress }: Wait, call: Promise<T>): Promise<T> {
  const done = new AbortController();
  const poll = async (): Promise<void> => {
    while (!isAborted(done.signal)) {
      // Right after a create it may not be there yet; problems of the API are those of the call itself.
      const reply = await callApi(target, { method: 'GET', path: podPath(podId), signal: done.signal }).catch(
        () => null,
      );
      if (reply?.status === 200 && !isAborted(done.signal)) show(progress, reply.result as Pod);
      await delay(POLL_MS, undefined, { signal: done.signal }).catch(() => undefined);
    }
  };
  const polling = poll();
  try {
    return await call;
  } finally {
    done.abort();
    await polling;
  }
}

function show(progress: Progress, { status, status_requested: wish, status_container: container }: Pod): void {
  const stage = wish === 'RESTART' ? 'stopping' : STAGE_OF[status];
  if (stage !== undefined) progress.at(stage, stage === 'container' ? (container.message ?? '') : '');
}

/** A clone may have failed before it printed anything: while its data was copied. Its reason says what to change. */
function nextStepOf({ pod_id: podId, cloned_from: original = '' }: Pod): string {
  if (original === '') return `see what it printed: podgate logs ${podId}`;
  return `once the cause is gone, try again at once: podgate restart ${podId} (what it printed, if anything: podgate logs ${podId})`;
}

function hasEnded({ status_requested: wish, status }: Pod): boolean {
  return wish === 'OFF' || (wish === 'ON' && (status === 'ERROR' || status === 'COMPLETE'));
}
