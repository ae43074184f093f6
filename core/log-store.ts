/**
 * Bounded logs, kept after STOPPED and removed with the pod: `output` is what the pod printed, per run; `action` is what
 * was done to it (action_logs), per pod. Laws: an append never fails for size, the oldest text
 * goes first; `action` keeps the last 500 lines (equal neighbours once), `output` the last 10 MB of a run, of the last
 * three runs. Lines are text without line breaks. On a store that lacks what this process has seen, whatever writes
 * throws PodgateError 'store.suspect' (see Store).
 */
export interface LogStore {
  appendAction(uid: string, line: string): Promise<void>;
  /** Oldest first. */
  actions(uid: string, last?: number): Promise<readonly string[]>;
  /** Replaces the kept output of a run, e.g. when its workload is removed. `mark`: see WorkloadLogs.printedSince. */
  saveOutput(uid: string, run: number, text: string, mark?: string): Promise<void>;
  /** Adds to the kept output of a run, at the cost of what is added. What is kept then goes up to `mark`. */
  appendOutput(uid: string, run: number, text: string, mark: string): Promise<void>;
  /** The kept output of the newest run, of those up to `upToRun` where that is given; or ''. */
  output(uid: string, upToRun?: number): Promise<string>;
  /** Of exactly this run; null when nothing of it is kept. */
  outputOfRun(uid: string, run: number): Promise<KeptOutput | null>;
  remove(uid: string): Promise<void>;
}

export interface KeptOutput {
  readonly text: string;
  /** As it was saved: what the text goes up to. '' when it was saved without. */
  readonly mark: string;
}
