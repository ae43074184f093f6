import type { Socket } from 'node:net';

/**
 * Calls back once the other side has ended, although what it has sent before is still unread: 'end' waits for that. Undone by
 * calling what is returned. Node hands the end to `push`, which is a method for implementations of streams.
 */
export function noteEnd(socket: Socket, onEnd: () => void): () => void {
  const push = socket.push.bind(socket);
  const noting = (chunk: unknown, encoding?: BufferEncoding): boolean => {
    if (chunk === null) onEnd();
    return push(chunk, encoding);
  };
  socket.push = noting;
  return () => {
    // Not over a tap that was set since.
    if (socket.push === noting) socket.push = push;
  };
}
