import type { ExecResult } from '../../../core/shell.ts';

type StopReason = Extract<ExecResult, { kind: 'stopped' }>['reason'] | 'aborted';

/** Why a command is to be ended before it ends by itself: the first reason counts. */
export interface Stop {
  readonly signal: AbortSignal;
  reason(): StopReason | null;
  tooMuchOutput(): void;
  /** Neither the deadline nor the caller's signal are heeded any more. */
  disarm(): void;
}

export function armStop(deadlineMs: number, caller: AbortSignal): Stop {
  const controller = new AbortController();
  let reason: StopReason | null = null;
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
    tooMuchOutput: () => stop('output'),
    disarm: () => {
      clearTimeout(timer);
      caller.removeEventListener('abort', onAbort);
    },
  };
}
