import type { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import type { SessionEnd } from '../connection/ends.ts';
import { type Goodbyes, sayGoodbye } from '../goodbye/goodbye.ts';
import type { MessageFollower } from '../goodbye/message-follower.ts';
import { type BatchedWrites, createBatchedWrites } from '../bytes/batched-writes.ts';
import { afterLinger, whenFlushed, whenQuiet } from '../bytes/linger.ts';
import type { CutReason } from '../policy/standing.ts';
import { lends, readOn, tap } from '../bytes/tap.ts';
import { FULL_RECORD_BYTES, readIntoSharedBuffer } from '../bytes/user-buffer.ts';
import { endsByReset, surviveFailedWrites } from '../bytes/write-failures.ts';

/**
 * After one side has said its last, and nothing moves any more: long enough for a client that waits for its answer, and
 * the most that a pod which ignores the end of its clients can keep their places.
 */
export const DEFAULT_HALF_CLOSED_MS = 120_000;

/** So many full TLS records in a row are a bulk transfer. */
const BULK_RECORDS = 8;

/** Gets the bytes of one side before the other does, and keeps none of them. Returns false once it needs no more. */
export type Observer = (bytes: Buffer) => boolean;

export interface SpliceOptions {
  /** See DEFAULT_HALF_CLOSED_MS. */
  readonly halfClosedMs?: number;
  readonly observer?: Observer | null;
  /** The same of the client's bytes, before the backend gets them. */
  readonly clientObserver?: Observer | null;
  /** What is said to both sides when the session is cut. Default: nothing. */
  readonly goodbyes?: Goodbyes | null;
}

/**
 * Passes bytes both ways until both ends are done. The end of one direction is passed on and leaves the other open; a
 * slow reader slows its writer; what one side aborts is aborted on the other, so that a broken transfer never looks
 * whole. Owns both sockets from here on, `done` is called once, when the client's socket is closed. Returns how to cut it:
 * with the goodbyes of its protocol, or so that both sides see that it did not come to its end.
 */
export function splice(
  client: Socket,
  backend: Socket,
  done: (end: SessionEnd) => void,
  {
    halfClosedMs = DEFAULT_HALF_CLOSED_MS,
    observer = null,
    clientObserver = null,
    goodbyes = null,
  }: SpliceOptions = {},
): (reason: CutReason) => void {
  let end: SessionEnd = 'finished';
  let isCut = false;
  const fail = (reason: SessionEnd): void => {
    if (end === 'finished') end = reason;
  };

  client.on('error', () => fail('client-failed'));
  backend.on('error', () => fail('backend-failed'));
  client.once('close', () => {
    toBackend.flush();
    if (!isDone(client)) {
      fail('client-failed');
      whenFlushed(backend, () => backend.resetAndDestroy());
    } else if (isCut) backend.destroy();
    // A client that came to its proper end leaves a backend that has all of it, or is still reading the last of it.
    else if (!backend.destroyed) backend.setTimeout(halfClosedMs, () => backend.destroy());
    done(end);
  });
  backend.once('close', () => {
    if (isCut || isDone(backend)) return;
    fail('backend-failed');
    readOn(client);
    // Without the close_notify that would call the transfer complete.
    whenFlushed(client, () => whenQuiet(client, () => client.destroy()));
  });
  const giveUp = (): void => {
    fail('idle-half-closed');
    client.destroy();
  };
  whenEnded(backend, () => client.setTimeout(halfClosedMs, giveUp));
  whenEnded(client, () => backend.setTimeout(halfClosedMs, giveUp));
  const watchWrites = (side: Socket, other: Socket, reason: SessionEnd): void => {
    surviveFailedWrites(side, {
      failed: () => fail(reason),
      gone: (isReset) => {
        if (isReset) side.destroy();
        else {
          side.end();
          whenFlushed(other, () => afterLinger(other, () => other.destroy()), halfClosedMs);
        }
      },
    });
  };
  watchWrites(client, backend, 'client-failed');
  watchWrites(backend, client, 'backend-failed');

  const toBackend = pass(client, backend, clientObserver, goodbyes?.backend?.follower);
  pass(backend, client, observer, goodbyes?.client.follower);
  return (reason) => {
    fail(reason);
    toBackend.flush();
    if (goodbyes === null || client.destroyed || client.writableEnded) {
      client.destroy();
      return;
    }
    isCut = true;
    sayGoodbye(client, backend, goodbyes.client, reason, () => {
      const { backend: goodbye } = goodbyes;
      if (goodbye?.follower.isBetweenMessages === true && !backend.writableEnded) {
        sayGoodbye(backend, client, goodbye, reason, () => undefined);
      } else backend.resetAndDestroy();
    });
  };
}

/**
 * All that `source` says, and its end, in the order in which it comes, as fast as `sink` takes it. `flush` is due before
 * anything else is written to the sink: a TLS client that sends much has its records written several at a time.
 */
function pass(source: Socket, sink: Socket, observer: Observer | null, follower?: MessageFollower): { flush(): void } {
  let look = observer;
  const isLent = lends(source);
  // A TLSSocket has encrypted or copied what it is given when `write` returns, if nothing waits in front of it (TLSWrap::
  // DoWrite in Node's src/crypto); a plain socket may still read from it later.
  const usesAtOnce = sink instanceof TLSSocket;
  let write = (bytes: Buffer): boolean =>
    sink.write(isLent && !(usesAtOnce && sink.writableLength === 0) ? Buffer.from(bytes) : bytes);
  const give = (bytes: Buffer): boolean => {
    if (sink.destroyed || sink.writableEnded) return true;
    if (look !== null && !look(bytes)) look = null;
    if (follower !== undefined) follower.follow(bytes);
    return write(bytes);
  };
  for (let kept = source.read() as Buffer | null; kept !== null; kept = source.read() as Buffer | null) give(kept);
  let batch: BatchedWrites | null = null;
  const flush = (): void => batch?.flush();
  const passInBatches = (): void => {
    // Asked for again when a short record came in between, all in one turn.
    if (source.destroyed || batch !== null) return;
    if (readIntoSharedBuffer(source, give)) {
      batch = createBatchedWrites(sink);
      write = batch.add;
    } else tap(source, give);
  };
  let fullRecords = 0;
  const giveUntilBulk = (bytes: Buffer): boolean => {
    if (bytes.length < FULL_RECORD_BYTES) fullRecords = 0;
    // Not in the middle of a read.
    else if (++fullRecords === BULK_RECORDS) setImmediate(passInBatches);
    return give(bytes);
  };
  tap(source, source instanceof TLSSocket && !usesAtOnce ? giveUntilBulk : give);
  // Its previous reader may have stopped reading.
  readOn(source);
  sink.on('drain', () => readOn(source));
  const passEnd = (): void => {
    flush();
    if (!endsByReset(source)) sink.end();
  };
  whenEnded(source, passEnd);
  // Without a reader a stream tells no end.
  source.resume();
  return { flush };
}

function whenEnded(source: Socket, then: () => void): void {
  if (source.readableEnded) then();
  else source.once('end', then);
}

/** Both directions came to their proper end. */
function isDone(socket: Socket): boolean {
  return socket.readableEnded && socket.writableFinished && !endsByReset(socket);
}
