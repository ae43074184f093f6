import { constants, type ServerHttp2Stream } from 'node:http2';
import type { Socket } from 'node:net';
import { StallWatch } from '../../../limits/stall-watch.ts';
import type { RequestTelemetry } from '../../../telemetry/request-telemetry.ts';
import type { CutReason } from '../../../policy/standing.ts';
import { whenFlushed } from '../../../bytes/linger.ts';
import { acceptOf, expectsContinue, upgradeOf } from '../wire/connection-header.ts';
import type { ConnectionParts, HttpClient } from '../exchange/connection-parts.ts';
import { Exchange, type ExchangeClient, type ExchangeFailure } from '../exchange/exchange.ts';
import { forwardedRequest } from '../exchange/forwarded-request.ts';
import { type Accepted, speaksH2c } from '../exchange/judge.ts';
import { clientPace } from '../exchange/limits.ts';
import { renderProblem } from '../responses/page.ts';
import { noteProblem, type Problem, problemOfCode } from '../responses/problem.ts';
import type { Framing } from '../wire/body-reader.ts';
import type { RequestHead, ResponseHead } from '../wire/head.ts';
import { grpcRefusal, isGrpc } from './grpc-refusal.ts';
import { Http2Response } from './http2-response.ts';
import { translateRequest, translateTrailers } from './request-head.ts';
import { tunnel } from './tunnel.ts';
import { createWebSocketKey, isWebSocketAccept, withWebSocketKey } from './websocket-key.ts';

const { NGHTTP2_NO_ERROR, NGHTTP2_REFUSED_STREAM } = constants;

/** A request that could not be read: what a page of ours goes by. */
const UNREAD: RequestHead = { method: 'GET', url: '/', httpVersion: '1.1', rawHeaders: [] };

export interface ClientStreamOptions {
  readonly stream: ServerHttp2Stream;
  /** As read: flat name, value list with the pseudo-header fields. */
  readonly fields: readonly string[];
  /** No body follows. */
  readonly endsHere: boolean;
  /** Of this connection's requests, from 1. */
  readonly number: number;
  /** No other is under way: the place of the connection is enough for it. */
  readonly isAlone: boolean;
  readonly client: HttpClient;
  readonly parts: ConnectionParts;
  /** Every request of the connection is refused with this. */
  readonly refusal: Problem | null;
  readonly onClosed: (stream: ClientStream) => void;
}

/** One request on a connection of HTTP/2, from its head to the end of its answer (RFC 9113 8). */
export class ClientStream implements ExchangeClient {
  readonly #options: ClientStreamOptions;
  readonly #stream: ServerHttp2Stream;
  readonly #telemetry: RequestTelemetry;
  #head: RequestHead = UNREAD;
  #accepted: Accepted | null = null;
  #exchange: Exchange | null = null;
  #answer: Http2Response | null = null;
  #release = ignore;
  /** Made by us: an extended CONNECT has none. */
  #webSocketKey: string | null = null;
  #expectedBytes: number | null = null;
  #receivedBytes = 0;
  #trailers: readonly string[] = [];
  #isBodyDone: boolean;
  /** Before its body was through. */
  #isAnswered = false;
  /** It is a WebSocket by now. */
  #isTunnel = false;
  #cutTunnel: ((reason: CutReason) => void) | null = null;
  /** The client has been told to send its body (100). */
  #hasContinued = false;
  #deadlineMs = Infinity;
  readonly #stall = new StallWatch();

  constructor(options: ClientStreamOptions) {
    this.#options = options;
    this.#stream = options.stream;
    this.#isBodyDone = options.endsHere;
    this.#stream.on('error', ignore).once('aborted', this.#onAborted).once('close', this.#onClose);
    // Paused also without a body: a stream that was never touched is reset by the library as soon as it is answered, in the
    // middle of what a slow client has not yet taken; and one that is read to its end is destroyed before the callback of its
    // last write, for which the library makes an error with a stack trace that nobody sees.
    this.#stream.pause();
    this.#telemetry = options.parts.began(options.client.info, 'h2');
    this.#telemetry.id = this.#requestId;
    this.#begin();
  }

  get hasAnswered(): boolean {
    return this.#answer?.hasBegun ?? false;
  }

  /** Called now and then: who is late is let go. */
  checkDeadlines(nowMs: number): void {
    if (this.#isAnswered) this.#closeWhenSent();
    const exchange = this.#exchange;
    const { apiAnswerMs } = this.#options.parts.limits;
    if (exchange !== null && this.#accepted?.kind === 'api' && nowMs - exchange.lastActivityMs > apiAnswerMs) {
      exchange.giveUp('SILENT');
    }
    const isStalled = this.#isClientStalled(nowMs);
    if (!isStalled && (nowMs < this.#deadlineMs || this.#isBodyDone || this.#isAnswered)) return;
    this.#deadlineMs = Infinity;
    exchange?.abandon();
    if (this.#stream.headersSent) {
      this.#telemetry.end = 'deadline';
      this.#break('the request took too long');
    } else this.#refuse(problemOfCode('request.timeout', this.#requestId, 'The request is given up.'));
  }

  /** Like that of ClientConnection: windows of flow control that stay closed, and bodies that come byte by byte. */
  #isClientStalled(nowMs: number): boolean {
    if (this.#isTunnel) return false;
    const stream = this.#stream;
    const { writableEnded, writableLength } = stream;
    // Also for the last of an answer.
    const isAnswerPending = writableLength > 0 || (writableEnded && (this.#isBodyDone || this.#isAnswered));
    const takesBody = this.#exchange?.takesBody === true && !stream.isPaused();
    // A client that expects 100 (Continue) waits for it.
    const maySend = this.#hasContinued || !expectsContinue(this.#head);
    // Calls of gRPC may be silent in both directions for as long as they like.
    const isBodyWaitedFor = !this.#isBodyDone && takesBody && maySend && !this.hasAnswered && !isGrpc(this.#head);
    const progress = this.#telemetry.bytesIn + this.#telemetry.bytesOut - writableLength;
    return this.#stall.isStalled(
      nowMs,
      isAnswerPending || isBodyWaitedFor,
      progress,
      clientPace(this.#options.parts.limits),
    );
  }

  wantsBody(): void {
    if (!this.#isBodyDone) this.#stream.resume();
  }

  onInterim(head: ResponseHead): void {
    if (head.status === 100) this.#hasContinued = true;
    this.#answer?.interim(head);
  }

  onHead(head: ResponseHead, framing: Framing): void {
    // What only HTTP/1.1 can say; and what would tell who asked for a tunnel that there is one.
    const isTaken = head.status <= 599 && (this.#webSocketKey === null || head.status >= 300);
    if (!isTaken) {
      const rule =
        head.status > 599 ? 'The status is above 599.' : 'A WebSocket was asked for, and it succeeds without.';
      this.#exchange?.giveUp('INVALID_ANSWER', rule);
      return;
    }
    this.#telemetry.status = head.status;
    this.#telemetry.firstByteMs = this.#exchange?.lastActivityMs ?? null;
    this.#answer?.head(head, framing);
  }

  onData(piece: Buffer): boolean {
    this.#telemetry.bytesOut += piece.length;
    return this.#answer?.data(piece) ?? true;
  }

  onFlush(): void {
    this.#answer?.flush();
  }

  onEnd(trailers: readonly string[]): void {
    this.#answer?.end(trailers);
    this.#telemetry.end = 'answered';
    this.#endUnreadBody();
  }

  onUnreachable(failure: ExchangeFailure): void {
    if (this.#accepted === null || this.#stream.destroyed) return;
    this.#telemetry.brokenRule = failure.rule;
    this.#log(failure, 'a backend did not answer');
    if (failure.isUnprocessed) {
      // The client may send it again whatever it is, and by itself (RFC 9113 8.7).
      this.#telemetry.end = 'backend';
      this.#stream.close(NGHTTP2_REFUSED_STREAM);
      return;
    }
    this.#refuse(this.#options.parts.judge.failed(this.#accepted, failure));
  }

  onBroken(failure: ExchangeFailure): void {
    this.#telemetry.end = 'backend';
    this.#telemetry.brokenRule = failure.rule;
    this.#log(failure, 'an answer broke off');
    if (this.#accepted !== null && failure.rule !== null) {
      this.#options.parts.judge.noteBroken(this.#accepted, failure.rule);
    }
    this.#answer?.flush();
    whenFlushed(this.#stream, () => this.#break('the answer broke off'));
  }

  onUpgraded(head: ResponseHead, backend: Socket, rest: Buffer): void {
    const stream = this.#stream;
    if (stream.destroyed || stream.closed) {
      backend.destroy();
      return;
    }
    if (!isWebSocketAccept(this.#webSocketKey, head.rawHeaders)) {
      backend.destroy();
      const rule = 'Sec-WebSocket-Accept does not match the key.';
      this.onUnreachable({ code: 'INVALID_ANSWER', rule, mayHaveHappened: false, isUnprocessed: false });
      return;
    }
    this.#telemetry.connectedMs = this.#exchange?.connectedMs ?? null;
    this.#exchange = null;
    this.#isTunnel = true;
    this.#deadlineMs = Infinity;
    this.#telemetry.status = 200;
    this.#telemetry.firstByteMs = performance.now();
    this.#answer?.head({ ...head, status: 200 }, { kind: 'until-close' });
    this.#answer?.flush();
    stream.off('drain', this.#onDrain);
    // Before #onClose, which reports it.
    stream.prependOnceListener('close', () => {
      if (this.#telemetry.end !== 'cut') this.#telemetry.end = 'tunnel';
      this.#telemetry.bytesIn = backend.bytesWritten;
      this.#telemetry.bytesOut = backend.bytesRead;
    });
    this.#cutTunnel = tunnel(stream, backend, rest, this.#options.parts.limits.halfClosedMs);
  }

  get #requestId(): string {
    const { client, number } = this.#options;
    return this.#accepted?.requestId ?? (number === 1 ? client.info.id : `${client.info.id}-${String(number)}`);
  }

  #begin(): void {
    const { fields, endsHere, parts, client, number, refusal, isAlone } = this.#options;
    const translated = translateRequest(fields, endsHere);
    if (translated.kind === 'reject') {
      this.#refuse(problemOfCode('request.malformed', this.#requestId, translated.reason));
      return;
    }
    this.#head = translated.head;
    this.#telemetry.head = translated.head;
    if (refusal !== null || sizeOf(fields) > parts.limits.headerBytes) {
      this.#refuse(
        refusal ?? problemOfCode('request.too-large', this.#requestId, 'Send fewer or shorter header fields.'),
      );
      return;
    }
    const verdict = parts.judge.judge(this.#head, client.info, number);
    parts.judged(this.#telemetry, this.#head, verdict);
    if (verdict.kind === 'problem') {
      this.#refuse(verdict.problem);
      return;
    }
    this.#accepted = verdict;
    const isH2c = speaksH2c(verdict);
    if (isH2c && translated.isTunnel) {
      const reason = 'WebSocket is not carried to a pod that speaks h2c.';
      this.#refuse(problemOfCode('request.malformed', verdict.requestId, reason));
      return;
    }
    parts.acquire(verdict, client.info, isAlone ? 'connection' : 'stream', this.#cut, (outcome) => {
      // The place may have been asked for elsewhere.
      if (this.#stream.destroyed || this.#stream.closed) {
        if (typeof outcome === 'function') outcome();
      } else if (typeof outcome === 'string') this.#refuse(parts.judge.full(verdict, outcome));
      else {
        this.#release = outcome;
        this.#forward(verdict, isH2c, translated.isTunnel);
      }
    });
  }

  #forward(accepted: Accepted, isH2c: boolean, isTunnel: boolean): void {
    const { parts, client } = this.#options;
    const { framing } = accepted.request;
    let head = this.#head;
    if (isTunnel) {
      this.#webSocketKey = createWebSocketKey();
      head = withWebSocketKey(head, this.#webSocketKey);
    }
    if (framing.kind === 'length') this.#expectedBytes = framing.bytes;
    if (framing.kind === 'none') this.#expectedBytes = 0;
    if (parts.limits.requestTimeoutMs > 0) this.#deadlineMs = performance.now() + parts.limits.requestTimeoutMs;
    const request = forwardedRequest(head, accepted, client.info, upgradeOf(head));
    this.#answer = new Http2Response(this.#stream, head, isH2c);
    this.#exchange = new Exchange({ request, poolNow: () => parts.poolNow(accepted, client) }, this);
    this.#stream.on('drain', this.#onDrain);
    if (!this.#isBodyDone && !isTunnel) {
      this.#stream.on('data', this.#onData).on('trailers', this.#onTrailers).once('end', this.#onEndOfBody);
      if (framing.kind === 'none') this.#stream.resume();
    }
    this.#exchange.start();
  }

  readonly #onData = (piece: Buffer): void => {
    const exchange = this.#exchange;
    this.#receivedBytes += piece.length;
    this.#telemetry.bytesIn = this.#receivedBytes;
    if (this.#expectedBytes !== null && this.#receivedBytes > this.#expectedBytes) this.#onBadBody();
    else if (exchange?.takesBody !== true || !exchange.writeBody(piece)) this.#stream.pause();
  };

  readonly #onTrailers = (_fields: unknown, _flags: unknown, rawFields: readonly string[]): void => {
    const trailers = translateTrailers(rawFields);
    if (trailers === null) this.#onBadBody();
    else this.#trailers = trailers;
  };

  readonly #onEndOfBody = (): void => {
    // The library ends the body of a stream that was reset, too: the pod must not take that for the whole.
    if (this.#stream.closed || (this.#expectedBytes !== null && this.#receivedBytes !== this.#expectedBytes)) {
      this.#onBadBody();
      return;
    }
    this.#isBodyDone = true;
    if (this.#accepted?.request.framing.kind !== 'none') this.#exchange?.endBody(this.#trailers);
  };

  #onBadBody(): void {
    this.#exchange?.abandon();
    this.#break('the body is none');
  }

  readonly #onDrain = (): void => {
    this.#exchange?.resumeAnswer();
  };

  /** The pod is gone, or lets this client in no more: says so where nothing was answered yet. */
  readonly #cut = (reason: CutReason): void => {
    if (this.#cutTunnel !== null) {
      this.#telemetry.end = 'cut';
      this.#cutTunnel(reason);
      return;
    }
    const { parts, client, number } = this.#options;
    const mayHaveHappened = this.#exchange?.mayHaveHappened ?? false;
    this.#exchange?.abandon();
    if (this.hasAnswered) {
      this.#telemetry.end = 'cut';
      this.#break('the route has changed');
      return;
    }
    const verdict = parts.judge.judge(this.#head, client.info, number);
    this.#refuse(parts.judge.cut(verdict, reason, mayHaveHappened));
  };

  readonly #onAborted = (): void => {
    this.#exchange?.abandon();
  };

  readonly #onClose = (): void => {
    this.#exchange?.abandon();
    this.#telemetry.connectedMs ??= this.#exchange?.connectedMs ?? null;
    this.#exchange = null;
    this.#release();
    this.#release = ignore;
    this.#options.parts.ended(this.#telemetry);
    this.#options.onClosed(this);
  };

  /** A whole answer of ours. */
  #refuse(problem: Problem): void {
    const stream = this.#stream;
    if (stream.destroyed || stream.closed || stream.headersSent) return;
    noteProblem(this.#telemetry, problem);
    if (isGrpc(this.#head)) {
      const options = { endStream: true, sendDate: false };
      stream.respond(grpcRefusal(problem), options);
    } else {
      const { status, headers, body } = renderProblem(problem, acceptOf(this.#head), this.#options.parts.version);
      const fields = headers.map((part, index) => (index % 2 === 0 ? part.toLowerCase() : part));
      const options = { endStream: false, sendDate: false };
      stream.respond([':status', String(status), ...fields], options);
      // The library has ended the answer to a HEAD already.
      if (!stream.writableEnded) {
        this.#telemetry.bytesOut = body.length;
        stream.end(body);
      }
    }
    this.#endUnreadBody();
  }

  /** Resets the stream. Its `close` would end it properly first, and then say that something was wrong: whole, for most. */
  #break(why: string): void {
    this.#stream.destroy(new Error(why));
  }

  /**
   * An answer that is complete ends the exchange, also when not all of the request was read (RFC 9113 8.1); but the library
   * takes for sent what waits for a slow client, and its reset would cut it off.
   */
  #endUnreadBody(): void {
    if (this.#isBodyDone || this.#stream.destroyed) return;
    this.#stream.off('data', this.#onData).off('end', this.#onEndOfBody).pause();
    this.#isAnswered = true;
    setImmediate(() => this.#closeWhenSent());
  }

  #closeWhenSent(): void {
    const stream = this.#stream;
    if (stream.closed || stream.destroyed || stream.state.localClose !== 1) return;
    // What is left is forgotten: unread, it would keep the stream.
    stream.resume();
    stream.close(NGHTTP2_NO_ERROR);
  }

  #log(failure: ExchangeFailure, message: string): void {
    if (this.#accepted !== null) this.#options.parts.log(this.#accepted, this.#options.client.info, failure, message);
  }
}

/** As many bytes as it would have in HTTP/1.1. */
function sizeOf(fields: readonly string[]): number {
  let bytes = 0;
  for (const part of fields) bytes += part.length + 2;
  return bytes;
}

function ignore(): void {
  // Nothing to do: a 'close' follows, or there is nothing to give back.
}
