import {
  EXEC_COMMAND_MAX_BYTES,
  EXEC_DEADLINE_MAX_MS,
  EXEC_INPUT_MAX_BYTES,
  EXEC_OUTPUT_MAX_BYTES,
  type ExecOptions,
  TERMINAL_COMMAND_MAX_BYTES,
  TERMINAL_DEADLINE_MAX_MS,
  TERMINAL_SIZE_MAX,
  type TerminalOptions,
  type TerminalSize,
} from '../../../core/shell.ts';

/** A sentence on why this can be run in no pod, or null. Pure. */
export function refuseCommand({ command, input, outputMaxBytes, deadlineMs }: ExecOptions): string | null {
  const refusal = refuseWords(command, EXEC_COMMAND_MAX_BYTES);
  if (refusal !== null) return refusal;
  const inputBytes = input instanceof Uint8Array ? input.length : 0;
  if (inputBytes > EXEC_INPUT_MAX_BYTES) {
    return `The input has ${inputBytes} bytes; at most ${EXEC_INPUT_MAX_BYTES} are allowed.`;
  }
  if (!isWithin(outputMaxBytes, EXEC_OUTPUT_MAX_BYTES)) {
    return `The output limit must be a number of bytes from 1 to ${EXEC_OUTPUT_MAX_BYTES}.`;
  }
  return refuseDeadline(deadlineMs, EXEC_DEADLINE_MAX_MS);
}

/** The same for a terminal. Pure. */
export function refuseTerminal({ command, term, deadlineMs, ...size }: TerminalOptions): string | null {
  if (!/^[\w.+-]{1,64}$/.test(term)) return 'The kind of terminal must be a name such as xterm-256color.';
  return (
    refuseWords(command, TERMINAL_COMMAND_MAX_BYTES) ??
    refuseSize(size) ??
    refuseDeadline(deadlineMs, TERMINAL_DEADLINE_MAX_MS)
  );
}

/** A sentence on why a terminal cannot have this size, or null. Pure. */
export function refuseSize({ columns, rows }: TerminalSize): string | null {
  if (isWithin(columns, TERMINAL_SIZE_MAX) && isWithin(rows, TERMINAL_SIZE_MAX)) return null;
  return `A terminal must have from 1 to ${TERMINAL_SIZE_MAX} columns and rows.`;
}

function refuseWords(command: readonly string[], maxBytes: number): string | null {
  const [program = ''] = command;
  if (program === '') return 'The command is empty: name a program to run.';
  if (command.some((word) => word.includes('\0'))) return 'The command must not contain NUL bytes.';
  const bytes = command.reduce((sum, word) => sum + Buffer.byteLength(word) + 1, 0);
  return bytes > maxBytes ? `The command has ${bytes} bytes; at most ${maxBytes} are allowed.` : null;
}

function refuseDeadline(deadlineMs: number, maximumMs: number): string | null {
  if (isWithin(deadlineMs, maximumMs)) return null;
  return `The deadline must be a number of milliseconds from 1 to ${maximumMs}.`;
}

function isWithin(value: number, maximum: number): boolean {
  return Number.isSafeInteger(value) && value >= 1 && value <= maximum;
}

export const NOT_RUNNING = 'The pod is not running.';
