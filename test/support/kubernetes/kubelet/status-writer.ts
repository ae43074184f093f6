import { setTimeout as delay } from 'node:timers/promises';
import { isKubeError, type KubeClient, STRATEGIC_MERGE } from '../kube-client.ts';
import { type Pod, podPath } from './objects.ts';

const RETRY_MS = 200;

export interface StatusWriter {
  /** Something has changed: what `status` answers then is written, soon; what changes meanwhile is written with it. */
  touch(): void;
  /** Until everything is written, or the pod is gone. */
  flushed(): Promise<void>;
}

/** Writes a pod's status until the signal aborts, as often as it takes: the API server may be away. */
export function createStatusWriter(
  client: KubeClient,
  pod: Pod,
  status: () => object,
  failed: (error: unknown) => void,
  signal: AbortSignal,
): StatusWriter {
  let isDirty = false;
  let written = '';
  let writing: Promise<void> | null = null;

  async function write(): Promise<void> {
    // What changes in one go is written in one go.
    await Promise.resolve();
    while (isDirty && !signal.aborted) {
      isDirty = false;
      // The uid is a precondition: another pod of that name is none of ours.
      const body = JSON.stringify({ metadata: { uid: pod.metadata.uid }, status: status() });
      if (body === written) continue;
      try {
        await client.call('PATCH', `${podPath(pod)}/status`, { body: JSON.parse(body), contentType: STRATEGIC_MERGE });
        written = body;
      } catch (error) {
        if (isKubeError(error, 'NotFound', 'Conflict')) return;
        failed(error);
        isDirty = true;
        await delay(RETRY_MS, undefined, { signal }).catch(() => undefined);
      }
    }
  }

  const touch = (): void => {
    isDirty = true;
    writing ??= write().finally(() => {
      writing = null;
      if (isDirty && !signal.aborted) touch();
    });
  };
  return {
    touch,
    flushed: async () => {
      while (writing !== null) await writing;
    },
  };
}
