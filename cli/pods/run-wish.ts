import { CliError, EXIT_USAGE } from '../cli-error.ts';
import type { OutputOptions } from '../command.ts';
import { parseDuration } from '../duration.ts';
import { print, printJson } from '../output/print.ts';
import { chooseTarget, type TargetOptions } from '../target/choose-target.ts';
import { callForPod, type Pod, podPath } from './pod.ts';
import { createProgress, SILENT_PROGRESS } from './progress.ts';
import { callUntilRoutable, callUntilStopped, type Wait } from './wait-for-pod.ts';

export interface WaitOptions extends OutputOptions, TargetOptions {
  /** Commander's `--no-wait`. */
  readonly wait: boolean;
  readonly timeout: string;
}

export function timeoutMsOf({ timeout }: Pick<WaitOptions, 'timeout'>): number {
  const seconds = parseDuration(timeout);
  if (seconds === null)
    throw new CliError(EXIT_USAGE, '--timeout must be a number with s, m, h or d, such as 90s or 5m');
  return seconds * 1000;
}

/** Starts, stops or restarts pods one after the other, and waits for each unless told otherwise. */
export async function runWish(
  wish: 'start' | 'stop' | 'restart',
  podIds: readonly string[],
  options: WaitOptions,
): Promise<void> {
  const timeoutMs = timeoutMsOf(options);
  const target = chooseTarget(options);
  const pods: Pod[] = [];
  for (const podId of podIds) {
    const startMs = performance.now();
    const call = { method: 'POST', path: podPath(podId, `/${wish}`) } as const;
    if (!options.wait) {
      pods.push((await callForPod(target, podId, call)) as Pod);
      if (options.json !== true) print(`${podId}: ${wish} requested\n`);
      continue;
    }
    const progress = options.json === true ? SILENT_PROGRESS : createProgress(podId);
    const wait: Wait = { target, podId, progress, timeoutMs };
    try {
      pods.push(
        wish === 'stop'
          ? await callUntilStopped(wait)
          : await callUntilRoutable(wait, { ...call, path: `${call.path}?wait=routable` }),
      );
    } finally {
      progress.end();
    }
    const took = `${((performance.now() - startMs) / 1000).toFixed(1)} s`;
    if (options.json !== true)
      print(wish === 'stop' ? `${podId} is stopped (${took})\n` : `${podId} is ready (${took})\n`);
  }
  if (options.json === true) printJson(pods);
}
