/** The minimum progress expected of a peer. */
export interface Pace {
  /** 0 = no minimum. */
  readonly limitMs: number;
  /** By how much `progress` must grow within `limitMs`. */
  readonly least: number;
}

/** Detects a peer that makes too little progress while it is waited for. One for each peer, checked at intervals. */
export class StallWatch {
  #progress = NaN;
  #sinceMs = 0;

  /**
   * `progress`: a number that grows with each step. True if the peer was waited for at every check of the last `limitMs`
   * and `progress` has grown by less than `least` since.
   */
  isStalled(nowMs: number, isWaitedFor: boolean, progress: number, { limitMs, least }: Pace): boolean {
    if (!isWaitedFor || !(progress - this.#progress < least)) {
      this.#progress = isWaitedFor ? progress : NaN;
      this.#sinceMs = nowMs;
      return false;
    }
    return limitMs > 0 && nowMs - this.#sinceMs >= limitMs;
  }
}
