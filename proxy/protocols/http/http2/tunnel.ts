import { constants, type ServerHttp2Stream } from 'node:http2';
import { Socket } from 'node:net';
import { webSocketGoodbyes } from '../../../goodbye/websocket-close.ts';
import type { SessionUse } from '../../../use/session-use.ts';
import type { CutReason } from '../../../policy/standing.ts';
import { endWith } from '../../../bytes/end-with.ts';
import { afterLinger, whenFlushed } from '../../../bytes/linger.ts';
import { tap } from '../../../bytes/tap.ts';
import { endsByReset, surviveFailedWrites } from '../../../bytes/write-failures.ts';

/**
 * Passes bytes both ways between a stream and a socket until both directions have ended (`splice` does so for two
 * sockets), what the backend has said already first. What one side aborts is aborted on the other. `halfClosedMs`: see
 * splice. Returns how to cut it.
 */
export function tunnel(
  stream: ServerHttp2Stream,
  backend: Socket,
  fromBackend: Buffer,
  halfClosedMs: number,
  use: SessionUse | null,
): (reason: CutReason) => void {
  const goodbyes = webSocketGoodbyes(use);
  goodbyes.client.follower.follow(fromBackend);
  if (fromBackend.length > 0) stream.write(fromBackend);
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
    // The library also ends what it resets: only the code shows it.
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
  // A listener of `pipe` passes the same piece on in the same turn.
  backend.on('data', (bytes: Buffer) => goodbyes.client.follower.follow(bytes));
  stream.on('data', (bytes: Buffer) => goodbyes.backend.follower.follow(bytes));
  return (reason) => {
    const { client, backend: toBackend } = goodbyes;
    if (!client.follower.isBetweenMessages || stream.destroyed || stream.writableEnded) {
      stream.destroy(new Error('the route has changed'));
      return;
    }
    backend.unpipe(stream);
    stream.unpipe(backend).resume();
    stream.end(client.words(reason));
    if (toBackend.follower.isBetweenMessages && !backend.writableEnded) endWith(backend, toBackend.words(reason));
    else backend.resetAndDestroy();
    // The client answers with a Close of its own, and ends.
    afterLinger(stream, () => stream.close(constants.NGHTTP2_NO_ERROR));
  };
}

/** Both directions ended properly. */
function isDone(side: ServerHttp2Stream | Socket): boolean {
  return side.readableEnded && side.writableFinished && !(side instanceof Socket && endsByReset(side));
}

function ignore(): void {
  // 'close' follows.
}
