import type { ExecResult } from '../../../core/shell.ts';

type StopReason = Extract<ExecResult, { kind: 'stopped' }>['reason'] | 'aborted' | 'failed';

/** Why a command is to be ended before it ends by itself: the first reason counts. */
export interface Stop {
  readonly signal: AbortSignal;
  reason(): StopReason | null;
  /** What exec is to reject with, for 'aborted' and 'failed'. */
  error(): unknown;
  tooMuchOutput(): void;
  /** Its input or the taker of its output has failed. */
  failed(error: unknown): void;
  /** Neither the deadline nor the caller's signal are heeded any more. */
  disarm(): void;
}

export function armStop(deadlineMs: number, caller: AbortSignal): Stop {
  const controller = new AbortController();
  let reason: StopReason | null = null;
  let failure: unknown = null;
  const stop = (why: StopReason): void => {
    reason ??= why;
    controller.abort();
  };
  const timer = setTimeout(() => stop('deadline'), deadlineMs);
  const onAbort = (): void => stop('aborted');
  if (caller.aborted) onAbort();
  else caller.addEventListener('abort', onAbort, { once: true });
  return {
    signal: controller.signal,
    reason: () => reason,
    error: () => (reason === 'failed' ? failure : (caller.reason as unknown)),
    tooMuchOutput: () => stop('output'),
    failed: (error) => {
      failure ??= error;
      stop('failed');
    },
    disarm: () => {
      clearTimeout(timer);
      caller.removeEventListener('abort', onAbort);
    },
  };
}
