import { plainPhrase, type UseInside, useInsideOf } from '../../../core/use-inside.ts';
import type { WorkloadRef } from '../../../core/workload-ref.ts';
import { execInPod, type ExecParts } from './exec-in-pod.ts';

const OUTPUT_MAX_BYTES = 64 * 1024;
const DEADLINE_MS = 10_000;

/** Runs a command in the container that prints what uses the pod, a reason in each line. */
export async function useInsidePod(
  parts: ExecParts,
  ref: WorkloadRef,
  command: readonly string[],
  signal: AbortSignal,
): Promise<UseInside> {
  const options = { command, outputMaxBytes: OUTPUT_MAX_BYTES, deadlineMs: DEADLINE_MS };
  const result = await execInPod(parts, ref, options, signal);
  switch (result.kind) {
    case 'ended': {
      if (result.exit.kind === 'code' && result.exit.code === 0) return useInsideOf(linesOf(result.stdout));
      const said = plainPhrase(linesOf(result.stderr).at(-1) ?? '');
      return { kind: 'unknown', why: `the check inside the pod failed${said === '' ? '' : `: ${said}`}` };
    }
    case 'stopped':
      return { kind: 'unknown', why: 'the check inside the pod did not end in time' };
    case 'refused':
    case 'busy':
      return { kind: 'unknown', why: `the check inside the pod was refused: ${plainPhrase(result.reason)}` };
  }
}

function linesOf(bytes: Uint8Array): readonly string[] {
  return Buffer.from(bytes)
    .toString('utf8')
    .split('\n')
    .filter((line) => line.trim() !== '');
}
