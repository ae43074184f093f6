import type { ServerResponse } from 'node:http';

const CHECK_EVERY_MS = 1_000;

export interface SlowReaderLimits {
  /** A client that takes nothing for so long is disconnected. The minimum rate counts after the same time. */
  readonly graceMs: number;
  /** On average over the time in which there was something to take. */
  readonly minimumBytesPerSecond: number;
}

export const DEFAULT_SLOW_READER_LIMITS: SlowReaderLimits = { graceMs: 30_000, minimumBytesPerSecond: 4_096 };

interface Reading {
  readonly response: ServerResponse;
  /** Of the connection, before this response. */
  readonly before: number;
  taken: number;
  /** Since it last took anything, while there was something to take. */
  stalledMs: number;
  /** With something to take, in all. */
  waitingMs: number;
}

/** Disconnects clients that take their response too slowly, as what they leave untaken is held in memory. */
export class SlowReaders {
  readonly #limits: SlowReaderLimits;
  readonly #readings = new Set<Reading>();
  #timer: NodeJS.Timeout | null = null;
  #checkedMs = 0;
  #disconnected = 0;

  constructor(limits: SlowReaderLimits) {
    this.#limits = limits;
  }

  /** Until the response is closed. */
  watch(response: ServerResponse): void {
    const reading: Reading = { response, before: takenFrom(response), taken: 0, stalledMs: 0, waitingMs: 0 };
    this.#readings.add(reading);
    response.once('close', () => {
      this.#readings.delete(reading);
      if (this.#readings.size > 0 || this.#timer === null) return;
      clearInterval(this.#timer);
      this.#timer = null;
    });
    if (this.#timer !== null) return;
    this.#checkedMs = performance.now();
    this.#timer = setInterval(() => this.#check(), Math.min(CHECK_EVERY_MS, this.#limits.graceMs / 4));
    this.#timer.unref();
  }

  /** Clients disconnected so far. */
  get disconnected(): number {
    return this.#disconnected;
  }

  #check(): void {
    const nowMs = performance.now();
    // A loop that was blocked for long is no fault of the clients'.
    const passedMs = Math.min(nowMs - this.#checkedMs, 2 * CHECK_EVERY_MS);
    this.#checkedMs = nowMs;
    for (const reading of this.#readings) this.#examine(reading, passedMs);
  }

  #examine(reading: Reading, passedMs: number): void {
    const { socket } = reading.response;
    if (socket === null || socket.writableLength === 0) return;
    const taken = takenFrom(reading.response) - reading.before;
    reading.waitingMs += passedMs;
    reading.stalledMs = taken > reading.taken ? 0 : reading.stalledMs + passedMs;
    reading.taken = taken;
    const { graceMs, minimumBytesPerSecond } = this.#limits;
    const leastBytes = ((reading.waitingMs - graceMs) / 1_000) * minimumBytesPerSecond;
    if (reading.stalledMs < graceMs && taken >= leastBytes) return;
    this.#disconnected += 1;
    socket.destroy();
  }
}

/** Bytes of its connection that the client's side of it has taken so far. */
function takenFrom({ socket }: ServerResponse): number {
  return socket === null ? 0 : socket.bytesWritten - socket.writableLength;
}
