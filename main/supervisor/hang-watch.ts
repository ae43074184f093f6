/** What the kernel knows of a process that has gone silent. */
export interface SilentProcess {
  /** How long its main thread has waited for a processor since it started; 0 where the system does not say. */
  readonly waitedMs: number;
  /** A debugger holds it. */
  readonly isTraced: boolean;
  /** It waits for a device (state D): it cannot be killed, and a successor would wait as well. */
  readonly isBlocked: boolean;
}

export interface HangLimits {
  /** Its slots go to siblings as well. */
  readonly silentAfterMs: number;
  /** It is taken for hung. */
  readonly hungAfterMs: number;
  /** Before its first sign of life. */
  readonly startMs: number;
}

export type HangVerdict = 'alive' | 'silent' | 'hung';

/** Of the time in which it waits for a processor this share counts: on an overloaded machine one that spins must go as well. */
const COUNTED_LEAST = 0.25;

/**
 * Judges one process by its signs of life. Pure. Only time in which the process could have worked counts: not what the
 * supervisor itself has missed (a suspended machine), and little of what the process spent waiting for a processor.
 */
export class HangWatch {
  readonly #limits: HangLimits;
  #silentMs = 0;
  #waitedMs: number | null = null;
  #hasStarted = false;
  #isDebugged = false;

  constructor(limits: HangLimits) {
    this.#limits = limits;
  }

  /** Time in which it could have given a sign of life and did not. */
  get silentMs(): number {
    return this.#silentMs;
  }

  /** A heartbeat. `isDebugged`: a debugger may pause it at any time, for any length of time. */
  heard(isDebugged: boolean): void {
    this.#silentMs = 0;
    this.#waitedMs = null;
    this.#hasStarted = true;
    this.#isDebugged = isDebugged;
  }

  /** `elapsedMs` since the last call; `look` is called only while there is no sign of life. Null: it cannot be seen. */
  tick(elapsedMs: number, look: () => SilentProcess | null): HangVerdict {
    if (this.#isDebugged) return 'alive';
    const seen = look();
    if (seen !== null && (seen.isTraced || seen.isBlocked)) return this.#verdict();
    const waitedMs = seen === null || this.#waitedMs === null ? 0 : Math.max(0, seen.waitedMs - this.#waitedMs);
    this.#waitedMs = seen?.waitedMs ?? this.#waitedMs;
    this.#silentMs += Math.max(elapsedMs * COUNTED_LEAST, elapsedMs - waitedMs);
    return this.#verdict();
  }

  #verdict(): HangVerdict {
    const { silentAfterMs, hungAfterMs, startMs } = this.#limits;
    if (this.#silentMs >= (this.#hasStarted ? hungAfterMs : Math.max(startMs, hungAfterMs))) return 'hung';
    return this.#hasStarted && this.#silentMs >= silentAfterMs ? 'silent' : 'alive';
  }
}
