import type { Duplex } from 'node:stream';
import type { Parsed } from './parsed.ts';

export type Peeked<T, R = string> = Exclude<Parsed<T, R>, { readonly kind: 'need-more' }> | { readonly kind: 'ended' };

/**
 * Reads from `socket` until `parse` knows what it has, puts all bytes back and tells `done`, once, never before it
 * returns. 'ended' = the client ended, failed or was destroyed first. The caller bounds the size (`parse` rejects) and
 * the time (it destroys).
 *
 * It listens to 'readable', not to 'data': a socket that was paused by hand stays paused for the next reader, which a
 * 'readable' listener that is taken away does not do to it.
 */
export function peekBytes<T, R = string>(
  socket: Duplex,
  parse: (bytes: Buffer) => Parsed<T, R>,
  done: (outcome: Peeked<T, R>) => void,
): void {
  let finished = false;
  let chunks: Buffer[] = [];
  let length = 0;
  let atLeast = 1;
  const finish = (outcome: Peeked<T, R>): void => {
    finished = true;
    socket.off('readable', onReadable).off('end', onEnd).off('close', onEnd);
    done(outcome);
  };
  const onEnd = (): void => finish({ kind: 'ended' });
  const onReadable = (): void => {
    if (finished) return;
    for (let chunk = read(socket); chunk !== null; chunk = read(socket)) {
      chunks.push(chunk);
      length += chunk.length;
    }
    if (length < atLeast) return;
    const bytes = chunks.length === 1 && chunks[0] !== undefined ? chunks[0] : Buffer.concat(chunks, length);
    const parsed = parse(bytes);
    if (parsed.kind === 'need-more') {
      atLeast = Math.max(parsed.atLeast, length + 1);
      chunks = [bytes];
      return;
    }
    socket.unshift(bytes);
    finish(parsed);
  };
  socket.on('readable', onReadable).on('end', onEnd).on('close', onEnd);
  // What an earlier reader put back is not announced again.
  if (socket.readableLength > 0) process.nextTick(onReadable);
}

function read(socket: Duplex): Buffer | null {
  const chunk: unknown = socket.read();
  return Buffer.isBuffer(chunk) ? chunk : null;
}
