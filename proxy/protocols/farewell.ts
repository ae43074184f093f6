import type { Duplex } from 'node:stream';

/** How long a refused client gets to read its answer and close. */
const LINGER_MS = 2_000;

/**
 * Sends last bytes, then reads and forgets what still arrives: closing with unread bytes in the kernel sends a reset,
 * which makes the client lose the answer. A client that neither reads nor closes is cut after two seconds.
 */
export function endWith(socket: Duplex, bytes: Buffer): void {
  socket.on('error', () => socket.destroy());
  if (socket.destroyed || !socket.writable) {
    socket.destroy();
    return;
  }
  const linger = setTimeout(() => socket.destroy(), LINGER_MS);
  linger.unref();
  socket.once('close', () => clearTimeout(linger));
  // The client has closed its side: done once our bytes are out, too.
  socket.once('end', () => {
    if (socket.writableFinished) socket.destroy();
    else socket.once('finish', () => socket.destroy());
  });
  socket.resume();
  socket.end(bytes);
}
