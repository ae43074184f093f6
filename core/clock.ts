/** Time, given to whatever decides by it. Tests and the simulation pass their own. */
export interface Clock {
  /** Wall-clock time in ms since 1970. May jump: for stamps and displays, never for measuring how long something took. */
  now(): number;
  /** Milliseconds that only ever grow. For ages, deadlines and back-off within one process. */
  monotonicMs(): number;
}
