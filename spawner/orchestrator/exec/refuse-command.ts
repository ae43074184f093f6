import {
  EXEC_COMMAND_MAX_BYTES,
  EXEC_DEADLINE_MAX_MS,
  EXEC_INPUT_MAX_BYTES,
  EXEC_OUTPUT_MAX_BYTES,
  type ExecOptions,
} from '../../../core/shell.ts';

/** A sentence on why this can be run in no pod, or null. Pure. */
export function refuseCommand({ command, input, outputMaxBytes, deadlineMs }: ExecOptions): string | null {
  const [program = ''] = command;
  if (program === '') return 'The command is empty: name a program to run.';
  if (command.some((word) => word.includes('\0'))) return 'The command must not contain NUL bytes.';
  const bytes = command.reduce((sum, word) => sum + Buffer.byteLength(word) + 1, 0);
  if (bytes > EXEC_COMMAND_MAX_BYTES) {
    return `The command has ${bytes} bytes; at most ${EXEC_COMMAND_MAX_BYTES} are allowed.`;
  }
  const inputBytes = input instanceof Uint8Array ? input.length : 0;
  if (inputBytes > EXEC_INPUT_MAX_BYTES) {
    return `The input has ${inputBytes} bytes; at most ${EXEC_INPUT_MAX_BYTES} are allowed.`;
  }
  if (!isWithin(outputMaxBytes, EXEC_OUTPUT_MAX_BYTES)) {
    return `The output limit must be a number of bytes from 1 to ${EXEC_OUTPUT_MAX_BYTES}.`;
  }
  if (!isWithin(deadlineMs, EXEC_DEADLINE_MAX_MS)) {
    return `The deadline must be a number of milliseconds from 1 to ${EXEC_DEADLINE_MAX_MS}.`;
  }
  return null;
}

function isWithin(value: number, maximum: number): boolean {
  return Number.isSafeInteger(value) && value >= 1 && value <= maximum;
}

export const NOT_RUNNING = 'The pod is not running.';
