import type { Duplex } from 'node:stream';

/** What a side that failed still managed to send gets this long to reach the other. */
const FLUSH_MS = 5_000;
const FLUSH_LOOK_MS = 20;
/** A side that is still sending is read from, and what it sends is dropped, for this long. */
const LINGER_MS = 5_000;
/** A side that has sent nothing for this long is not sending. */
const QUIET_MS = 100;

/** Calls back when nothing is left to write, or too late. There is no event for that. Never once it is destroyed. */
export function whenFlushed(stream: Duplex, callback: () => void, limitMs = FLUSH_MS): void {
  let looks = limitMs / FLUSH_LOOK_MS;
  const look = (): void => {
    if (stream.destroyed) return;
    if (stream.writableLength === 0 || looks-- <= 0) callback();
    else setTimeout(look, FLUSH_LOOK_MS).unref();
  };
  look();
}

/**
 * Calls back once nothing more is received, or after LINGER_MS: closing with unread bytes sends a reset, on which many
 * clients throw away what they have not read yet.
 */
export function whenQuiet(stream: Duplex & { readonly bytesRead: number }, callback: () => void): void {
  let looks = LINGER_MS / QUIET_MS;
  let received = -1;
  const look = (): void => {
    if (stream.destroyed) return;
    if (stream.readableEnded || stream.bytesRead === received || looks-- <= 0) {
      callback();
      return;
    }
    received = stream.bytesRead;
    setTimeout(look, QUIET_MS).unref();
  };
  look();
}

/** Calls back after LINGER_MS, unless it has closed by then. */
export function afterLinger(stream: Duplex, callback: () => void): void {
  const timer = setTimeout(callback, LINGER_MS).unref();
  stream.once('close', () => clearTimeout(timer));
}
