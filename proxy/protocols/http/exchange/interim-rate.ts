/** Interim responses that may come at once, one for each KiB of their fields. */
const BURST = 500;
const PER_SECOND = 50;

/**
 * Limits how fast a pod sends interim responses (102, 103, 104): to a client that does not read they pile up, in HTTP/2
 * beyond its flow control. Their number is not limited: a long upload may be told of its progress all the time.
 */
export class InterimRate {
  #left = BURST;
  #countedMs = 0;

  /** False = too fast. */
  take(bytes: number, nowMs: number): boolean {
    this.#left = Math.min(BURST, this.#left + ((nowMs - this.#countedMs) * PER_SECOND) / 1_000);
    this.#countedMs = nowMs;
    this.#left -= 1 + Math.floor(bytes / 1_024);
    return this.#left >= 0;
  }
}

export const INTERIM_FAULT = 'It sends more than 50 interim responses (1xx) per second.';
