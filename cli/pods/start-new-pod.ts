import { PODGATE } from '../called-as.ts';
import { print, printJson } from '../output/print.ts';
import { callForResult } from '../target/call-api.ts';
import { chooseTarget } from '../target/choose-target.ts';
import { addressText } from './pod-text.ts';
import type { Pod } from './pod.ts';
import { createProgress, SILENT_PROGRESS } from './progress.ts';
import { timeoutMsOf, type WaitOptions } from './run-wish.ts';
import { callUntilRoutable } from './wait-for-pod.ts';

export interface NewPodCall {
  /** Of the operation that creates it. */
  readonly path: string;
  readonly body: Readonly<Record<string, unknown>>;
}

/** Makes the call that creates a pod, waits until every gateway routes to it unless told otherwise, and prints what comes next. */
export async function startNewPod(podId: string, { path, body }: NewPodCall, options: WaitOptions): Promise<void> {
  const timeoutMs = timeoutMsOf(options);
  const target = chooseTarget(options);
  if (!options.wait || body['status_requested'] === 'OFF') {
    const pod = (await callForResult(target, { method: 'POST', path, body })) as Pod;
    if (options.json === true) printJson(pod);
    else print(`${podId} is created; its status is ${pod.status}\n`);
    return;
  }
  const startMs = performance.now();
  const progress = options.json === true ? SILENT_PROGRESS : createProgress(podId);
  let pod: Pod;
  try {
    pod = await callUntilRoutable(
      { target, podId, progress, timeoutMs },
      { method: 'POST', path: `${path}?wait=routable`, body },
    );
  } finally {
    progress.end();
  }
  if (options.json === true) printJson(pod);
  else print(`${podId} is ready (${((performance.now() - startMs) / 1000).toFixed(1)} s)\n${nextStepsOf(pod)}`);
}

/** What its user will want to type next. */
function nextStepsOf({ pod_id: podId, networking }: Pod): string {
  return Object.values(networking)
    .filter(({ url }) => url !== '')
    .map((stanza) => {
      if (stanza.protocol === 'postgres') return `  ${PODGATE} psql ${podId}\n`;
      if (stanza.protocol === 'http') return `  ${addressText(stanza)}\n`;
      return stanza.port === 7687 ? `  ${PODGATE} cypher ${podId}\n` : `  ${addressText(stanza)}\n`;
    })
    .join('');
}
