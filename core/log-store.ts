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
  /** Replaces the kept output of a run, e.g. when its workload is removed. */
  saveOutput(uid: string, run: number, text: string): Promise<void>;
  /** The newest run's kept output, or ''. */
  output(uid: string): Promise<string>;
  remove(uid: string): Promise<void>;
}
