import type { Duplex } from 'node:stream';

/** How long a refused client may be silent before it closes: it gets to read its answer. */
const QUIET_MS = 2_000;
/** How long one that is still sending is read from, and what it sends is dropped. */
const LINGER_MS = 10_000;
/** A slow client still takes what was written before: until nothing moves for this long, or it has taken too long for all. */
const UNSENT_QUIET_MS = 120_000;
const UNSENT_MS = 600_000;

type Counted = Duplex & { readonly bytesRead?: number };

/**
 * Sends last bytes, then reads and drops what still arrives: closing with unread bytes in the kernel sends a reset, which
 * makes the client lose the answer. Once all is with the kernel, a client that neither sends nor closes is cut after two
 * seconds, one that goes on sending after ten.
 */
export function endWith(socket: Counted, bytes: Buffer): void {
  socket.on('error', () => socket.destroy());
  if (socket.destroyed || !socket.writable) {
    socket.destroy();
    return;
  }
  lingerOn(socket);
  // The client has closed its side: done once our bytes are out, too.
  socket.once('end', () => {
    if (socket.writableFinished) socket.destroy();
    else socket.once('finish', () => socket.destroy());
  });
  socket.resume();
  socket.end(bytes);
}

function lingerOn(socket: Counted): void {
  let turns = LINGER_MS / QUIET_MS;
  let received = socket.bytesRead;
  let unsent = { bytes: Infinity, turns: UNSENT_QUIET_MS / QUIET_MS, allTurns: UNSENT_MS / QUIET_MS };
  const watch = setInterval(() => {
    // What waits here would be lost with the socket; what is with the kernel is not.
    if (socket.writableLength > 0) {
      const { bytes, turns: quietTurns, allTurns } = unsent;
      const isMoving = socket.writableLength < bytes;
      const left = isMoving ? UNSENT_QUIET_MS / QUIET_MS : quietTurns - 1;
      unsent = { bytes: socket.writableLength, turns: left, allTurns: allTurns - 1 };
      if (left <= 0 || allTurns <= 0) socket.destroy();
      return;
    }
    turns--;
    if (socket.bytesRead === received || turns <= 0) socket.destroy();
    received = socket.bytesRead;
  }, QUIET_MS);
  watch.unref();
  socket.once('close', () => clearInterval(watch));
}
