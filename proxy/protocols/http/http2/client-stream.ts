import { constants, type ServerHttp2Stream } from 'node:http2';
import type { Socket } from 'node:net';
import { whenFlushed } from '../../../bytes/linger.ts';
import type { SessionUse } from '../../../use/session-use.ts';
import type { CutReason } from '../../../policy/standing.ts';
import type { ConnectionParts, HttpClient } from '../exchange/connection-parts.ts';
import { forwardedRequest } from '../exchange/forwarded-request.ts';
import { type Accepted, speaksH2c } from '../exchange/judge.ts';
import type { CarrierTraits, RequestCarrier } from '../exchange/request-carrier.ts';
import { RequestLifecycle } from '../exchange/request-lifecycle.ts';
import type { OutgoingRequest } from '../exchange/upstream.ts';
import { type OwnResponse, renderResponse } from '../responses/own-response.ts';
import { type Problem, problemOfCode } from '../responses/problem.ts';
import { acceptOf, upgradeOf } from '../wire/connection-header.ts';
import type { RequestHead, ResponseHead } from '../wire/head.ts';
import { grpcRefusal, isGrpc } from './grpc-refusal.ts';
import { Http2Response } from './http2-response.ts';
import { type Translation, translateRequest, translateTrailers } from './request-head.ts';
import { tunnel } from './tunnel.ts';
import { createWebSocketKey, isWebSocketAccept, withWebSocketKey } from './websocket-key.ts';

const { NGHTTP2_NO_ERROR, NGHTTP2_REFUSED_STREAM } = constants;

const TRAITS: CarrierTraits = {
  protocol: 'h2',
  takesLentBytes: false,
  tunnelStatus: 200,
  timeoutHint: 'The request is given up.',
};

/** Stands for a request that could not be read. */
const UNREAD: RequestHead = { method: 'GET', url: '/', httpVersion: '1.1', rawHeaders: [] };

export interface ClientStreamOptions {
  readonly stream: ServerHttp2Stream;
  /** As read: flat name, value list with the pseudo-header fields. */
  readonly fields: readonly string[];
  /** No body follows. */
  readonly endsHere: boolean;
  /** Of this connection's requests, from 1. */
  readonly number: number;
  /** No other is in progress: the place of the connection is enough for it. */
  readonly isAlone: boolean;
  readonly client: HttpClient;
  readonly parts: ConnectionParts;
  /** Every request of the connection is refused with this. */
  readonly refusal: Problem | null;
  readonly onClosed: (stream: ClientStream) => void;
}

/** One request on a connection of HTTP/2, from its head to the end of its response (RFC 9113 8). */
export class ClientStream implements RequestCarrier<Http2Response> {
  readonly client: HttpClient;
  readonly uses: 'connection' | 'stream';
  readonly #stream: ServerHttp2Stream;
  readonly #parts: ConnectionParts;
  readonly #onClosed: (stream: ClientStream) => void;
  readonly #translation: Translation;
  readonly #request: RequestLifecycle<Http2Response>;
  /** Made by the gateway, since an extended CONNECT has none. */
  #webSocketKey: string | null = null;
  #expectedBytes: number | null = null;
  #receivedBytes = 0;
  #trailers: readonly string[] = [];

  constructor(options: ClientStreamOptions) {
    const { stream, fields, endsHere, number, isAlone, client, parts, refusal } = options;
    this.client = client;
    this.uses = isAlone ? 'connection' : 'stream';
    this.#stream = stream;
    this.#parts = parts;
    this.#onClosed = options.onClosed;
    this.#translation = translateRequest(fields, endsHere);
    const head = this.#translation.kind === 'reject' ? UNREAD : this.#translation.head;
    this.#request = new RequestLifecycle(parts, this, head, number);
    if (endsHere) this.#request.hasNoBody();
    stream.on('error', ignore).once('aborted', this.#onAborted).once('close', this.#onClose);
    // Paused also without a body: a stream that was never touched is reset by the library as soon as it is answered, in the
    // middle of what a slow client has not yet taken; and one that is read to its end is destroyed before the callback of its
    // last write, for which the library makes an error with a stack trace that nobody sees.
    stream.pause();
    this.#begin(refusal, sizeOf(fields));
  }

  #begin(refusal: Problem | null, headerBytes: number): void {
    const request = this.#request;
    const { id } = request.telemetry;
    if (this.#translation.kind === 'reject') {
      request.refuse(problemOfCode('request.malformed', id, this.#translation.reason));
      return;
    }
    request.telemetry.head = request.head;
    if (refusal !== null) request.refuse(refusal);
    else if (headerBytes > this.#parts.limits.headerBytes) {
      request.refuse(problemOfCode('request.too-large', id, 'Send fewer or shorter header fields.'));
    } else request.begin();
  }

  /** Called at intervals. */
  checkDeadlines(nowMs: number): void {
    if (this.#isResponseEarly) this.#closeWhenSent();
    this.#request.checkDeadlines(nowMs);
  }

  /** The response is complete, the body of the request is not. */
  get #isResponseEarly(): boolean {
    return this.#request.isResponseComplete && !this.#request.isBodyDone;
  }

  get traits(): CarrierTraits {
    return TRAITS;
  }

  get canRespond(): boolean {
    const stream = this.#stream;
    return !stream.destroyed && !stream.closed && !stream.headersSent;
  }

  get isBodyExpected(): boolean {
    // Calls of gRPC may be silent in both directions for as long as they like.
    return !this.#stream.isPaused() && !isGrpc(this.#request.head);
  }

  get isResponseUnsent(): boolean {
    const { writableEnded, writableLength } = this.#stream;
    // Also the last of a response.
    return writableLength > 0 || (writableEnded && (this.#request.isBodyDone || this.#isResponseEarly));
  }

  get unsentBytes(): number {
    return this.#stream.writableLength;
  }

  accept(accepted: Accepted): string | null {
    const isTunnel = this.#isTunnel;
    if (isTunnel && speaksH2c(accepted)) return 'WebSockets are not supported for pods that speak h2c.';
    const { framing } = accepted.request;
    if (framing.kind === 'length') this.#expectedBytes = framing.bytes;
    if (framing.kind === 'none') this.#expectedBytes = 0;
    return null;
  }

  get #isTunnel(): boolean {
    return this.#translation.kind === 'request' && this.#translation.isTunnel;
  }

  outgoingRequest(accepted: Accepted, requested: RequestHead): OutgoingRequest {
    let head = requested;
    if (this.#isTunnel) {
      this.#webSocketKey = createWebSocketKey();
      head = withWebSocketKey(requested, this.#webSocketKey);
    }
    return forwardedRequest(head, accepted, this.client.info, upgradeOf(head));
  }

  createResponse(accepted: Accepted, head: RequestHead): Http2Response {
    this.#stream.on('drain', this.#onDrain);
    if (!this.#request.isBodyDone && !this.#isTunnel) {
      this.#stream.on('data', this.#onData).on('trailers', this.#onTrailers).once('end', this.#onEndOfBody);
      if (accepted.request.framing.kind === 'none') this.#stream.resume();
    }
    return new Http2Response(this.#stream, head, speaksH2c(accepted));
  }

  faultOf({ status, rawHeaders }: ResponseHead): string | null {
    if (status === 101) {
      return isWebSocketAccept(this.#webSocketKey, rawHeaders) ? null : 'Sec-WebSocket-Accept does not match the key.';
    }
    // Only HTTP/1.1 can say it.
    if (status > 599) return 'The status is above 599.';
    // It would tell a client that asked for a tunnel that there is one.
    return this.#webSocketKey === null || status >= 300
      ? null
      : 'The request asked for a WebSocket, but the response is a success without one.';
  }

  wantsBody(): void {
    this.#stream.resume();
  }

  respond(response: OwnResponse): void {
    const stream = this.#stream;
    const { head, telemetry } = this.#request;
    if (response.kind === 'problem' && isGrpc(head)) {
      const options = { endStream: true, sendDate: false };
      stream.respond(grpcRefusal(response), options);
    } else {
      const { status, headers, body } = renderResponse(response, acceptOf(head), this.#parts.version);
      const fields = headers.map((part, index) => (index % 2 === 0 ? part.toLowerCase() : part));
      const options = { endStream: false, sendDate: false };
      stream.respond([':status', String(status), ...fields], options);
      // The library has ended the response to a HEAD already.
      if (!stream.writableEnded) {
        telemetry.bytesOut = body.length;
        stream.end(body);
      }
    }
    this.#endUnreadBody();
  }

  onResponseEnd(): void {
    this.#endUnreadBody();
  }

  breakOff(): void {
    whenFlushed(this.#stream, () => this.abort('the answer broke off'));
  }

  /** Resets the stream. Its `close` would end it properly first, and then say that something was wrong: whole, for most. */
  abort(why: string): void {
    this.#stream.destroy(new Error(why));
  }

  returnUnprocessed(): boolean {
    // The client may send it again whatever it is, and by itself (RFC 9113 8.7).
    if (!this.#stream.destroyed) this.#stream.close(NGHTTP2_REFUSED_STREAM);
    return true;
  }

  openTunnel(
    response: Http2Response,
    head: ResponseHead,
    backend: Socket,
    fromBackend: Buffer,
    use: SessionUse | null,
  ): (reason: CutReason) => void {
    response.head({ ...head, status: TRAITS.tunnelStatus }, { kind: 'until-close' });
    response.flush();
    this.#stream.off('drain', this.#onDrain);
    return tunnel(this.#stream, backend, fromBackend, this.#parts.limits.halfClosedMs, use);
  }

  readonly #onData = (piece: Buffer): void => {
    this.#receivedBytes += piece.length;
    if (this.#expectedBytes !== null && this.#receivedBytes > this.#expectedBytes) this.#onBadBody();
    else if (!this.#request.writeBody(piece)) this.#stream.pause();
  };

  readonly #onTrailers = (_fields: unknown, _flags: unknown, rawFields: readonly string[]): void => {
    const trailers = translateTrailers(rawFields);
    if (trailers === null) this.#onBadBody();
    else this.#trailers = trailers;
  };

  readonly #onEndOfBody = (): void => {
    // The library ends the body of a stream that was reset, too: the pod must not take that for the whole.
    const isShort = this.#expectedBytes !== null && this.#receivedBytes !== this.#expectedBytes;
    if (this.#stream.closed || isShort) this.#onBadBody();
    else this.#request.endBody(this.#trailers);
  };

  #onBadBody(): void {
    this.#request.abandon();
    this.abort('the body is none');
  }

  readonly #onDrain = (): void => {
    this.#request.resumeResponse();
  };

  readonly #onAborted = (): void => {
    this.#request.abandon();
  };

  readonly #onClose = (): void => {
    this.#request.finish();
    this.#onClosed(this);
  };

  /**
   * A response that is complete ends the exchange, also when not all of the request was read (RFC 9113 8.1); but the library
   * takes for sent what waits for a slow client, and its reset would cut it off.
   */
  #endUnreadBody(): void {
    if (this.#request.isBodyDone || this.#stream.destroyed) return;
    this.#stream.off('data', this.#onData).off('end', this.#onEndOfBody).pause();
    setImmediate(() => this.#closeWhenSent());
  }

  #closeWhenSent(): void {
    const stream = this.#stream;
    if (stream.closed || stream.destroyed || stream.state.localClose !== 1) return;
    // What is left is discarded: unread, it would keep the stream.
    stream.resume();
    stream.close(NGHTTP2_NO_ERROR);
  }
}

/** As many bytes as it would have in HTTP/1.1. */
function sizeOf(fields: readonly string[]): number {
  let bytes = 0;
  for (const part of fields) bytes += part.length + 2;
  return bytes;
}

function ignore(): void {
  // A 'close' follows.
}
