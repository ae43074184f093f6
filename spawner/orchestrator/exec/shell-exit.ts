import { constants } from 'node:os';
import type { ExecExit } from '../../../core/shell.ts';

/** A shell answers 128 + n for a program that signal n ended (POSIX 2.8.2). */
export function exitOfShellCode(code: number): ExecExit {
  const signal = Object.entries(constants.signals).find(([, number]) => number === code - 128);
  return code > 128 && signal !== undefined ? { kind: 'signal', signal: signal[0] } : { kind: 'code', code };
}
