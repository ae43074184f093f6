/** Notices that somebody who is waited for makes no progress. Asked now and then; one for each that is watched. */
export class StallWatch {
  #progress = NaN;
  #sinceMs = 0;

  /**
   * `progress`: any number that is another one once something has moved. True when it was the same, and waited for, at
   * every look of the last `limitMs`; 0 = never.
   */
  isStalled(nowMs: number, isWaitedFor: boolean, progress: number, limitMs: number): boolean {
    if (!isWaitedFor || progress !== this.#progress) {
      this.#progress = isWaitedFor ? progress : NaN;
      this.#sinceMs = nowMs;
      return false;
    }
    return limitMs > 0 && nowMs - this.#sinceMs >= limitMs;
  }
}
