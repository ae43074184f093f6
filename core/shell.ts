import type { WorkloadRef } from './workload-ref.ts';

/** Program and arguments together, with one byte more for each. */
export const EXEC_COMMAND_MAX_BYTES = 64 * 1024;
/** Of input that is given as a whole. */
export const EXEC_INPUT_MAX_BYTES = 1024 * 1024;
/** Of each of the two outputs in the result. */
export const EXEC_OUTPUT_MAX_BYTES = 4 * 1024 * 1024;
export const EXEC_DEADLINE_MAX_MS = 60 * 60 * 1_000;
/** Commands that run at a time, in one pod and in all pods together, of one control child. */
export const EXEC_PER_POD_MAX = 8;
export const EXEC_TOTAL_MAX = 32;

export const TERMINAL_COMMAND_MAX_BYTES = 16 * 1024;
export const TERMINAL_DEADLINE_MAX_MS = 12 * 60 * 60 * 1_000;
/** Columns, and rows. */
export const TERMINAL_SIZE_MAX = 1_000;
export const TERMINALS_PER_POD_MAX = 8;
export const TERMINALS_TOTAL_MAX = 64;

export interface ExecOptions {
  /** Program and arguments: no shell reads them. A program without a slash is looked up on the pod's PATH. */
  readonly command: readonly string[];
  /**
   * Its standard input; default: empty. Pieces of unknown number are taken as the command reads them; when they throw, the
   * command is ended and `exec` rejects with what they threw.
   */
  readonly input?: Uint8Array | AsyncIterable<Uint8Array>;
  /**
   * Takes standard output piece by piece, in place of the result, in which it is empty then. The command waits until a piece
   * is taken; when it is refused by a rejection, the command is ended and `exec` rejects with that.
   */
  readonly output?: (bytes: Uint8Array) => Promise<void>;
  /** Of each output in the result; at most EXEC_OUTPUT_MAX_BYTES. A command that prints more is ended. */
  readonly outputMaxBytes: number;
  /** A command that takes longer is ended; at most EXEC_DEADLINE_MAX_MS. */
  readonly deadlineMs: number;
}

export interface ExecOutput {
  readonly stdout: Uint8Array;
  readonly stderr: Uint8Array;
}

export type ExecExit =
  /** As a shell reports it: 127 for a program that was not found, 126 for one that cannot be run. */
  { readonly kind: 'code'; readonly code: number } | { readonly kind: 'signal'; readonly signal: string };

export type ExecResult =
  | (ExecOutput & { readonly kind: 'ended'; readonly exit: ExecExit })
  /** It was ended: it took too long, or printed too much. With what it printed until then, up to the bound. */
  | (ExecOutput & { readonly kind: 'stopped'; readonly reason: 'deadline' | 'output' })
  /** Nothing has run. `reason` is a sentence for the user. */
  | { readonly kind: 'refused'; readonly reason: string }
  /** Nothing has run, since too many commands run already: try again. `reason` is a sentence for the user. */
  | { readonly kind: 'busy'; readonly reason: string };

export interface TerminalSize {
  readonly columns: number;
  readonly rows: number;
}

export type TerminalInput =
  { readonly kind: 'bytes'; readonly bytes: Uint8Array } | ({ readonly kind: 'size' } & TerminalSize);

export interface TerminalOptions extends TerminalSize {
  /** As in ExecOptions, of at most TERMINAL_COMMAND_MAX_BYTES. */
  readonly command: readonly string[];
  /** The kind of terminal, for the variable TERM: `xterm-256color`. */
  readonly term: string;
  /** What is typed, and new sizes. It is taken as the command reads it. When it throws, the terminal is closed. */
  readonly input: AsyncIterable<TerminalInput>;
  /** Takes what appears on the terminal. The command waits until a piece is taken; a rejection closes the terminal. */
  readonly output: (bytes: Uint8Array) => Promise<void>;
  /** At most TERMINAL_DEADLINE_MAX_MS. */
  readonly deadlineMs: number;
}

export type TerminalResult =
  | { readonly kind: 'ended'; readonly exit: ExecExit }
  /** `pod`: the pod has stopped, or is about to. */
  | { readonly kind: 'stopped'; readonly reason: 'deadline' | 'pod' }
  | Extract<ExecResult, { readonly kind: 'refused' | 'busy' }>;

/**
 * Runs commands in running pods: as the pod's user, with its environment, files, network and limits, and nothing beyond
 * them. What a command uses counts against the limits of its pod. Who may do so is for the caller to check. The words of a
 * command are no place for secrets: other processes of the pod see them, and a cluster may write them to its audit log.
 *
 * Laws: a command runs in the workload of `ref.uid` or not at all. When it ends, when its deadline passes, when `signal`
 * aborts and when this process dies, it is ended with what it has started; only what has made itself a daemon (a session
 * of its own, and no trace of where it comes from) may live on, at most until the pod stops. `exec` rejects with the
 * signal's reason once it has aborted, else with PodgateError 'orchestrator.unavailable' when the orchestrator cannot be
 * asked, or is lost while the command runs: then its outcome is unknown.
 */
export interface Shell {
  exec(ref: WorkloadRef, options: ExecOptions, signal: AbortSignal): Promise<ExecResult>;
  /** Runs a command on a terminal (pty) of its own, by the same laws. */
  terminal(ref: WorkloadRef, options: TerminalOptions, signal: AbortSignal): Promise<TerminalResult>;
}
