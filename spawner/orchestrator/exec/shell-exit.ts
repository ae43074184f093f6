import { constants } from 'node:os';
import type { ExecExit } from '../../../core/shell.ts';

/** A shell answers 128 + n for a program that signal n ended (POSIX 2.8.2). */
export function exitOfShellCode(code: number): ExecExit {
  const signal = code > 128 ? signalName(code - 128) : null;
  return signal === null ? { kind: 'code', code } : { kind: 'signal', signal };
}

/** Null: this system has no such signal. */
export function signalName(number: number): string | null {
  return Object.entries(constants.signals).find(([, value]) => value === number)?.[0] ?? null;
}
