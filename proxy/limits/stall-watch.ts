/** What is expected of somebody who is waited for. */
export interface Pace {
  /** 0 = anything goes. */
  readonly limitMs: number;
  /** How far `progress` has to come within `limitMs`. */
  readonly least: number;
}

/** Notices that somebody who is waited for makes too little progress. Asked now and then; one for each that is watched. */
export class StallWatch {
  #progress = NaN;
  #sinceMs = 0;

  /**
   * `progress`: a number that grows as things move. True when at every look of the last `limitMs` they were waited for, and
   * they have moved by less than `least` since.
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
