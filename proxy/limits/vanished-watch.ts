import type { TcpState } from '../socket/tcp-state.ts';

/** A peer that is alive has responded to one of so many, however bad its network. */
const UNANSWERED_MIN = 3;

/**
 * Notices a client that has vanished while something was on its way to it. Keep-alive does not apply then (the kernel
 * retransmits instead, for about 15 minutes), and TCP_USER_TIMEOUT would close clients that are alive but have no room
 * in their window (a paused download). Asked now and then; one for each connection.
 */
export class VanishedWatch {
  /** What had been written when the client was last seen to have acknowledged everything. */
  #acknowledgedBytes = 0;
  #waitingSinceMs: number | null = null;

  /**
   * True when for `limitMs` something was unacknowledged and the client has acknowledged nothing. `read` is called only
   * where something was written since all was acknowledged, so a quiet connection costs nothing.
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
