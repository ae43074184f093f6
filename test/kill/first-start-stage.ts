/** One way to run a database whose first start can be killed. */
export interface FirstStartStage {
  /** A whole first start, to learn how long it takes. */
  measure(): Promise<number>;
  /** Begins a first start and kills it after `delayMs`; resolves when the second has let its user in, and all is removed. */
  kill(delayMs: number): Promise<void>;
  close(): Promise<void>;
}

export const START_TIMEOUT_MS = 180_000;
