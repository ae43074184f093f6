import { PodgateError } from '../../../../core/errors.ts';
import type { PodRecord } from '../../../../core/pod.ts';
import type { ExecOptions, ExecResult } from '../../../../core/shell.ts';
import type { PodParts } from '../pod-parts.ts';
import { EXIT } from './scripts.ts';

/** Of what a script prints in its result, and of its errors. */
const OUTPUT_MAX_BYTES = 2 * 1024 * 1024;
const REASON_MAX_LENGTH = 300;

export interface ScriptRun extends Pick<ExecOptions, 'input' | 'output'> {
  readonly script: string;
  readonly args: readonly string[];
  readonly deadlineMs: number;
  /** The path in sentences about it. */
  readonly path: string;
}

/** What the script has printed. Throws PodgateError for everything but exit code 0. */
export async function runScript(
  { orchestrator }: Pick<PodParts, 'orchestrator'>,
  record: PodRecord,
  { script, args, path, ...options }: ScriptRun,
  signal: AbortSignal,
): Promise<string> {
  const command = ['/bin/sh', '-c', script, 'podgate-files', ...args];
  const result = await orchestrator.shell.exec(
    record,
    { ...options, command, outputMaxBytes: OUTPUT_MAX_BYTES },
    signal,
  );
  if (result.kind === 'ended' && result.exit.kind === 'code' && result.exit.code === 0) {
    return Buffer.from(result.stdout).toString();
  }
  throw problemOf(result, path, options.deadlineMs);
}

function problemOf(result: ExecResult, path: string, deadlineMs: number): PodgateError {
  const shown = JSON.stringify(path.slice(0, REASON_MAX_LENGTH));
  switch (result.kind) {
    case 'busy':
      return refusal('api.too-many-requests', result.reason);
    case 'refused':
      return refusal('api.conflict', result.reason);
    case 'stopped':
      return result.reason === 'deadline'
        ? refusal('api.conflict', `The pod took longer than ${deadlineMs / 1000} s.`)
        : refusal('api.conflict', `There are too many files in ${shown} to list them.`);
    case 'ended':
  }
  const code = result.exit.kind === 'code' ? result.exit.code : null;
  switch (code) {
    case EXIT.tools:
      return refusal(
        'api.conflict',
        'The image of this pod lacks a program that this needs: sh, cat, head, mkdir, mv and stat.',
      );
    case EXIT.missing:
      return refusal('api.not-found', `There is no file ${shown} in the pod.`);
    case EXIT.directory:
      return refusal('api.conflict', `In the pod, ${shown} is a directory; name a file.`);
    case EXIT.special:
      return refusal('api.conflict', `In the pod, ${shown} is not a regular file.`);
    case EXIT.denied:
      return refusal('api.conflict', `The user of the pod may not read ${shown}.`);
    case 126:
      return refusal('api.conflict', `There are too many files in ${shown} to list them.`);
    case null:
    default:
      return refusal('api.conflict', `The pod could not do this: ${reasonOf(result.stderr, result.exit)}`);
  }
}

/** What the pod's own programs say. */
function reasonOf(stderr: Uint8Array, exit: object): string {
  const text = Buffer.from(stderr).toString().trim().replaceAll(/\s+/g, ' ').slice(-REASON_MAX_LENGTH);
  return text === '' ? `${JSON.stringify(exit)}.` : text;
}

function refusal(code: 'api.conflict' | 'api.not-found' | 'api.too-many-requests', sentence: string): PodgateError {
  return new PodgateError(code, { publicMessages: [sentence] });
}
