import { constants, type ServerHttp2Stream } from 'node:http2';
import { Socket } from 'node:net';
import { afterLinger, whenFlushed } from '../../session/linger.ts';
import { tap } from '../../session/tap.ts';
import { endsByReset, surviveFailedWrites } from '../../session/write-failures.ts';

/**
 * Passes bytes both ways between a stream and a socket until both directions have ended (`splice` does so for two
 * sockets). What one side aborts is aborted on the other. `halfClosedMs`: see splice.
 */
export function tunnel(stream: ServerHttp2Stream, backend: Socket, halfClosedMs: number): void {
  backend.on('error', ignore);
  surviveFailedWrites(backend, {
    gone: (isReset) => {
      if (isReset) {
        backend.destroy();
        return;
      }
      backend.end();
      // A client that is still sending gets to read the pod's last words.
      stream.unpipe(backend).resume();
      afterLinger(stream, () => stream.close(constants.NGHTTP2_NO_ERROR));
    },
  });
  stream.once('close', () => {
    // The library ends what it resets: its code tells.
    if (stream.rstCode !== constants.NGHTTP2_NO_ERROR || !isDone(stream)) backend.resetAndDestroy();
    else {
      backend.setTimeout(halfClosedMs, () => backend.destroy());
      backend.destroySoon();
    }
  });
  backend.once('close', () => {
    if (!isDone(backend)) whenFlushed(stream, () => stream.destroy(new Error('the backend broke off')));
  });
  const giveUp = (): void => void stream.destroy(new Error('half-closed, and nothing moves'));
  stream.once('end', () => backend.setTimeout(halfClosedMs, giveUp));
  backend.once('end', () => stream.setTimeout(halfClosedMs, giveUp));
  // A stream again, of bytes of its own.
  tap(backend, (bytes) => backend.push(Buffer.from(bytes)));
  stream.pipe(backend);
  backend.pipe(stream, { end: false });
  backend.once('end', () => {
    if (!endsByReset(backend)) stream.end();
  });
}

/** Both directions came to their proper end. */
function isDone(side: ServerHttp2Stream | Socket): boolean {
  return side.readableEnded && side.writableFinished && !(side instanceof Socket && endsByReset(side));
}

function ignore(): void {
  // The 'close' that follows tells.
}
