import { constants } from 'node:os';

import { PodgateError } from '../../../../core/errors.ts';
import type { PodRecord } from '../../../../core/pod.ts';
import type { ExecExit, ExecOptions, ExecResult } from '../../../../core/shell.ts';
import type { Caller } from '../../../auth/authenticator.ts';
import type { Places } from '../../../http/limits/places.ts';
import { readPod } from '../pod-objects.ts';
import { noteAction, type PodParts } from '../pod-parts.ts';

/** Of what one command prints, and of what all commands of a call print. */
const OUTPUT_MAX_BYTES = 1024 * 1024;
export const OUTPUTS_MAX_BYTES = 4 * 1024 * 1024;
/** Programs that a line of action_logs names, and characters of each name. */
const PROGRAMS_NAMED = 3;
const PROGRAM_NAMED_LENGTH = 40;

export interface CommandsRequest {
  readonly podId: string;
  /** Each a program and its arguments. */
  readonly commands: readonly (readonly string[])[];
  /** Standard input of each of them. */
  readonly input: Uint8Array;
  readonly commandTimeoutMs: number;
  readonly totalTimeoutMs: number;
  readonly stopsAtFailure: boolean;
  readonly signal: AbortSignal;
}

export interface RunCommand {
  readonly command: readonly string[];
  readonly stdout: Uint8Array;
  readonly stderr: Uint8Array;
  /** As a shell reports it: 128 + n after signal n. Null: Podgate ended it, or it did not run. */
  readonly exitCode: number | null;
  /** Why there is no exit code; else ''. */
  readonly reason: string;
  readonly durationMs: number;
  readonly startedAtMs: number;
}

export interface RunCommands {
  readonly results: readonly RunCommand[];
  /** Why the rest was not run; null: all of them were. */
  readonly end: 'failure' | 'timeout' | 'output' | null;
}

/**
 * Runs commands in a pod one after the other. ADMIN. Throws 'api.conflict' when the first cannot run, such as in a pod that
 * is not running, and 'api.too-many-requests'. The log of actions names programs only: their arguments may be secrets.
 */
export async function runCommands(
  parts: PodParts,
  places: Places,
  caller: Caller,
  request: CommandsRequest,
): Promise<RunCommands> {
  const { podId, commands } = request;
  const { value: record } = await readPod(parts, caller, podId, 'ADMIN', 'Running commands');
  const leave = places.enter(caller);
  try {
    await noteAction(parts, record, `'${caller.username}' ran ${programsOf(commands)}`);
    return await runAll(parts, record, request);
  } finally {
    leave();
  }
}

async function runAll(
  { orchestrator, clock }: PodParts,
  record: PodRecord,
  { commands, input, commandTimeoutMs, totalTimeoutMs, stopsAtFailure, signal }: CommandsRequest,
): Promise<RunCommands> {
  const endMs = clock.monotonicMs() + totalTimeoutMs;
  const results: RunCommand[] = [];
  let bytes = 0;
  for (const command of commands) {
    const beganMs = clock.monotonicMs();
    const leftMs = Math.floor(endMs - beganMs);
    if (leftMs < 1) return { results, end: 'timeout' };
    if (bytes >= OUTPUTS_MAX_BYTES) return { results, end: 'output' };
    const options: ExecOptions = {
      command,
      input,
      outputMaxBytes: Math.min(OUTPUT_MAX_BYTES, OUTPUTS_MAX_BYTES - bytes),
      deadlineMs: Math.min(commandTimeoutMs, leftMs),
    };
    const startedAtMs = clock.now();
    const result = await orchestrator.shell.exec(record, options, signal);
    if (results.length === 0) requireRun(result);
    const durationMs = clock.monotonicMs() - beganMs;
    const run: RunCommand = { command, ...outcomeOf(result, options), durationMs, startedAtMs };
    results.push(run);
    bytes += run.stdout.length + run.stderr.length;
    if (run.exitCode !== 0 && stopsAtFailure && results.length < commands.length) return { results, end: 'failure' };
  }
  return { results, end: null };
}

/** Throws what keeps a command from running. */
function requireRun(result: ExecResult): void {
  if (result.kind !== 'refused' && result.kind !== 'busy') return;
  const code = result.kind === 'refused' ? 'api.conflict' : 'api.too-many-requests';
  throw new PodgateError(code, { publicMessages: [result.reason] });
}

function outcomeOf(
  result: ExecResult,
  { deadlineMs, outputMaxBytes }: ExecOptions,
): Pick<RunCommand, 'stdout' | 'stderr' | 'exitCode' | 'reason'> {
  switch (result.kind) {
    case 'ended':
      return { stdout: result.stdout, stderr: result.stderr, exitCode: shellCodeOf(result.exit), reason: '' };
    case 'stopped': {
      const reason =
        result.reason === 'deadline'
          ? `Ended after ${Math.round(deadlineMs / 100) / 10} s, its time limit.`
          : `Ended since it printed more than ${outputMaxBytes} bytes.`;
      return { stdout: result.stdout, stderr: result.stderr, exitCode: null, reason };
    }
    case 'refused':
    case 'busy':
      return { stdout: new Uint8Array(), stderr: new Uint8Array(), exitCode: null, reason: result.reason };
  }
}

/** POSIX 2.8.2. */
export function shellCodeOf(exit: ExecExit): number {
  if (exit.kind === 'code') return exit.code;
  return 128 + (Object.entries(constants.signals).find(([name]) => name === exit.signal)?.[1] ?? 0);
}

export function programsOf(commands: readonly (readonly string[])[]): string {
  const names = commands.slice(0, PROGRAMS_NAMED).map(([program = '']) => program.slice(0, PROGRAM_NAMED_LENGTH));
  const more = commands.length - names.length;
  const count = commands.length === 1 ? 'a command' : `${commands.length} commands`;
  return `${count}: ${names.join(', ')}${more > 0 ? ` and ${more} more` : ''}`;
}
