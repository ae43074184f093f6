import type { TcpState } from '../socket/tcp-state.ts';

/** A peer that is alive responds to at least one of this many segments, however bad its network. */
const UNANSWERED_MIN = 3;

/**
 * Detects a client that vanished while data was in flight to it. Keep-alive does not apply then (the kernel
 * retransmits instead, for about 15 minutes), and TCP_USER_TIMEOUT would close clients that are alive but have no room
 * in their window (a paused download). One for each connection, checked at intervals.
 */
export class VanishedWatch {
  /** Bytes written when the client had last acknowledged everything. */
  #acknowledgedBytes = 0;
  #waitingSinceMs: number | null = null;

  /**
   * True if data has been unacknowledged for `limitMs` and the client has acknowledged none of it. `read` is called only if
   * something was written since everything was acknowledged, so a quiet connection costs nothing.
   */
  hasVanished(nowMs: number, writtenBytes: number, limitMs: number, read: () => TcpState | null): boolean {
    if (writtenBytes === this.#acknowledgedBytes) return false;
    const state = read();
    if (state === null || !state.isUnacknowledged) {
      this.#acknowledgedBytes = writtenBytes;
      this.#waitingSinceMs = null;
      return false;
    }
    this.#waitingSinceMs ??= nowMs;
    return (
      nowMs - this.#waitingSinceMs >= limitMs &&
      state.sinceAckMs >= limitMs &&
      state.unansweredSegments >= UNANSWERED_MIN
    );
  }
}
