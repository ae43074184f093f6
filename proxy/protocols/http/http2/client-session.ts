import { constants, performServerHandshake, type ServerHttp2Session, type ServerHttp2Stream } from 'node:http2';
import type { TLSSocket } from 'node:tls';
import type { ConnectionInfo } from '../../../connection/connection-info.ts';
import type { ConnectionParts, HttpClient, HttpConnection } from '../exchange/connection-parts.ts';
import type { Problem } from '../responses/problem.ts';
import { ClientStream } from './client-stream.ts';

const { NGHTTP2_ENHANCE_YOUR_CALM, NGHTTP2_FLAG_END_STREAM } = constants;

/** What a client may send ahead of what its pod takes: of one request, and of a connection's requests together. */
const STREAM_WINDOW_BYTES = 128 * 1024;
const CONNECTION_WINDOW_BYTES = 1024 * 1024;
/** Twice what is served, so that a slightly too large request gets a response that says so. */
const HEADER_LIST_FACTOR = 2;
const HEADER_FIELDS_MAX = 400;
/** Requests that are taken back at once and for a while, and how many a second for ever (CVE-2023-44487). */
const RESETS_BURST = 200;
const RESETS_PER_SECOND = 30;
/** Frames that only cost: empty ones, and those of streams that are no more. */
const INVALID_FRAMES_MAX = 250;
/** PING and SETTINGS in a time of COUNT_MS: each is answered. gRPC measures its line with some PINGs a second. */
const ANSWERED_FRAMES_MAX = 2_000;
const COUNT_MS = 10_000;

/**
 * HTTP/2 with one client (RFC 9113), on a connection whose handshake chose `h2`. Frames, header compression and flow
 * control are those of the runtime's nghttp2; what a request means is ours, and the same as in HTTP/1.1.
 */
export class ClientSession implements HttpConnection {
  readonly #socket: TLSSocket;
  readonly #info: ConnectionInfo;
  readonly #client: HttpClient;
  readonly #parts: ConnectionParts;
  readonly #refusal: Problem | null;
  readonly #session: ServerHttp2Session;
  readonly #streams = new Set<ClientStream>();
  #requests = 0;
  #deadlineMs: number;
  #answeredFrames = 0;
  #countedSinceMs = 0;

  constructor(socket: TLSSocket, info: ConnectionInfo, parts: ConnectionParts, refusal: Problem | null) {
    this.#socket = socket;
    this.#info = info;
    this.#client = { info, socket };
    this.#parts = parts;
    this.#refusal = refusal;
    this.#deadlineMs = performance.now() + parts.limits.headersTimeoutMs;
    // A client that ends its side is gone: there is no half-close in HTTP/2.
    socket.on('error', ignore).once('close', this.#onGone);
    socket.once('end', () => socket.destroy());
    this.#session = performServerHandshake(socket, {
      settings: {
        maxConcurrentStreams: parts.limits.maxStreams,
        initialWindowSize: STREAM_WINDOW_BYTES,
        maxHeaderListSize: parts.limits.headerBytes * HEADER_LIST_FACTOR,
        enableConnectProtocol: true,
      },
      maxHeaderListPairs: HEADER_FIELDS_MAX,
      maxSessionInvalidFrames: INVALID_FRAMES_MAX,
      streamResetBurst: RESETS_BURST,
      streamResetRate: RESETS_PER_SECOND,
      // A pod may say a field twice whatever the library thinks of it.
      strictSingleValueFields: false,
    });
    this.#session.on('error', ignore).on('stream', this.#onStream);
    this.#session.on('ping', this.#onAnsweredFrame).on('remoteSettings', this.#onAnsweredFrame);
    this.#session.once('connect', () => this.#session.setLocalWindowSize(CONNECTION_WINDOW_BYTES));
  }

  checkDeadlines(nowMs: number): void {
    for (const stream of this.#streams) stream.checkDeadlines(nowMs);
    if (this.#streams.size > 0 || nowMs < this.#deadlineMs) return;
    // Told to go, and still here.
    if (this.#session.closed || this.#session.destroyed) this.#socket.destroy();
    else this.close();
  }

  close(): void {
    // GOAWAY: the requests under way are answered, and those that the client sends meanwhile are its to send again.
    if (!this.#session.closed) this.#session.close();
    this.#deadlineMs = performance.now() + this.#parts.limits.lingerMs;
  }

  readonly #onStream = (
    stream: ServerHttp2Stream,
    _headers: unknown,
    flags: number,
    rawHeaders: readonly string[],
  ): void => {
    this.#requests++;
    // It was reset before it could be looked at.
    if (stream.destroyed || stream.closed) return;
    const client = new ClientStream({
      stream,
      fields: rawHeaders,
      endsHere: (flags & NGHTTP2_FLAG_END_STREAM) !== 0,
      number: this.#requests,
      isAlone: this.#streams.size === 0,
      client: this.#client,
      parts: this.#parts,
      refusal: this.#refusal,
      onClosed: this.#onStreamClosed,
    });
    this.#streams.add(client);
    const isLast = this.#requests >= this.#parts.limits.maxRequestsPerConnection || this.#refusal !== null;
    if (isLast || this.#parts.isClosing()) this.close();
  };

  readonly #onStreamClosed = (stream: ClientStream): void => {
    this.#streams.delete(stream);
    if (this.#streams.size > 0) return;
    const { keepAliveTimeoutMs, lingerMs } = this.#parts.limits;
    this.#deadlineMs = performance.now() + (this.#session.closed ? lingerMs : keepAliveTimeoutMs);
  };

  readonly #onAnsweredFrame = (): void => {
    const nowMs = performance.now();
    if (nowMs - this.#countedSinceMs > COUNT_MS) {
      this.#countedSinceMs = nowMs;
      this.#answeredFrames = 0;
    }
    if (++this.#answeredFrames <= ANSWERED_FRAMES_MAX || this.#session.destroyed) return;
    this.#session.goaway(NGHTTP2_ENHANCE_YOUR_CALM);
    this.#session.destroy();
    this.#socket.destroy();
  };

  readonly #onGone = (): void => {
    this.#parts.gone(this, this.#info);
  };
}

function ignore(): void {
  // A 'close' follows.
}
