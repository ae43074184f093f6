import type { Duplex } from 'node:stream';

/** How long a refused client may be silent before it closes: it gets to read its answer. */
const QUIET_MS = 2_000;
/** How long one that is still sending is read from, and what it sends is dropped. */
const LINGER_MS = 10_000;

type Counted = Duplex & { readonly bytesRead?: number };

/**
 * Sends last bytes, then reads and drops what still arrives: closing with unread bytes in the kernel sends a reset, which
 * makes the client lose the answer. A client that neither sends nor closes is cut after two seconds, one that goes on sending
 * after ten.
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
  const watch = setInterval(() => {
    turns--;
    if (socket.bytesRead === received || turns <= 0) socket.destroy();
    received = socket.bytesRead;
  }, QUIET_MS);
  watch.unref();
  socket.once('close', () => clearInterval(watch));
}
