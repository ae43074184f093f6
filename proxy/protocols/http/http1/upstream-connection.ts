import type { Socket } from 'node:net';
import { readOn, tap } from '../../../bytes/tap.ts';
import { endsByReset, surviveFailedWrites, writeFailure } from '../../../bytes/write-failures.ts';
import { errorCode } from '../../../../core/error-code.ts';
import { saysClose } from '../wire/connection-header.ts';
import { INTERIM_FAULT, InterimRate } from '../exchange/interim-rate.ts';
import { type BodyReader, createBodyReader, type Framing } from '../wire/body-reader.ts';
import { parseResponseHead, type ResponseHead } from '../wire/head.ts';
import { HEAD_FAULTS, HeadReader } from '../wire/head-reader.ts';
import { responseFraming } from '../wire/response-framing.ts';
import { headText, lastChunk, writeChunk } from '../wire/write-head.ts';
import type { ResponseSink, OutgoingRequest, Upstream } from '../exchange/upstream.ts';

/** Of an answer's status line and fields. */
const ANSWER_HEAD_BYTES = 64 * 1024;

const UNASKED_101 = 'It switches protocols (101), but the request did not ask for that.';

/** Told what becomes of a connection. */
export interface ConnectionOwner {
  /** The backend has answered on it, for the first time. */
  onFirstByte(): void;
  /** It may be used again. */
  onIdle(connection: UpstreamConnection): void;
  onGone(connection: UpstreamConnection): void;
}

/**
 * One connection to a backend, and one request at a time on it. It reads answers with the same strictness as requests:
 * what is not clear ends the connection.
 */
export class UpstreamConnection implements Upstream {
  readonly reportsUnprocessed = false;
  readonly #socket: Socket;
  readonly #owner: ConnectionOwner;
  readonly #head = new HeadReader(ANSWER_HEAD_BYTES);
  #sink: ResponseSink | null = null;
  #request: OutgoingRequest | null = null;
  #framing: Framing | null = null;
  #body: BodyReader | null = null;
  #keepAlive = true;
  #isRequestSent = true;
  /** Null until an interim answer comes. */
  #interim: InterimRate | null = null;
  /** The client has enough for now. */
  #isHeld = false;
  #hasAnswered = false;
  /** On any request. */
  #hasResponded = false;
  #failure = 'CLOSED';
  #brokenRule: string | null = null;
  /** performance.now() since when it is idle. */
  idleSinceMs = 0;
  /** Of the requests it has carried. */
  requests = 0;

  constructor(socket: Socket, owner: ConnectionOwner) {
    this.#socket = socket;
    this.#owner = owner;
    tap(socket, this.#onData);
    socket.on('end', this.#onEnd).on('drain', this.#onDrain);
    socket.on('error', this.#onError).on('close', this.#onClose);
    // A pod that answers before it has read the whole request, and closes, is still heard.
    surviveFailedWrites(socket, { failed: (code) => (this.#failure = code) });
    // Without a reader a stream tells no end.
    socket.resume();
  }

  get isUsable(): boolean {
    return this.#isOpen && this.#socket.writable && this.#sink === null;
  }

  get #isOpen(): boolean {
    return !this.#socket.destroyed && writeFailure(this.#socket) === null;
  }

  send(request: OutgoingRequest, sink: ResponseSink): void {
    this.#sink = sink;
    this.#request = request;
    this.#isRequestSent = request.framing.kind === 'none';
    this.#interim = null;
    this.#hasAnswered = false;
    this.requests++;
    this.#socket.write(requestText(request), 'latin1');
  }

  writeBody(piece: Buffer): boolean {
    if (this.#request?.framing.kind !== 'chunked') return this.#socket.write(piece);
    this.#socket.cork();
    const takesMore = writeChunk(this.#socket, piece);
    this.#socket.uncork();
    return takesMore;
  }

  endBody(trailers: readonly string[]): void {
    this.#isRequestSent = true;
    if (this.#request?.framing.kind === 'chunked') this.#socket.write(lastChunk(trailers), 'latin1');
    this.#settle();
  }

  resume(): void {
    if (!this.#isHeld) return;
    this.#isHeld = false;
    readOn(this.#socket);
  }

  abandon(): void {
    this.#sink = null;
    this.#socket.destroy();
  }

  close(): void {
    this.#socket.destroy();
  }

  /** The bytes are lent. */
  readonly #onData = (chunk: Buffer): boolean => {
    const sink = this.#sink;
    // What an idle connection says belongs to no request.
    if (sink === null || !this.#read(chunk)) this.#socket.destroy();
    else sink.onFlush();
    return !this.#isHeld;
  };

  /** False when it is no answer. */
  #read(chunk: Buffer): boolean {
    let at = 0;
    while (this.#body === null) {
      const read = this.#head.read(chunk, at);
      if (read.kind === 'need-more') return true;
      if (read.kind === 'reject') return this.#breaks(HEAD_FAULTS[read.reason]);
      at = read.rest;
      const head = parseResponseHead(read.text);
      if (head.kind === 'reject') return this.#breaks(head.reason);
      if (head.value.status < 100) return this.#breaks('The status is below 100.');
      if (!this.#hasResponded) {
        this.#hasResponded = true;
        this.#owner.onFirstByte();
      }
      if (head.value.status === 101) return this.#onSwitching(head.value, Buffer.from(chunk.subarray(at)));
      if (head.value.status < 200) {
        this.#interim ??= new InterimRate();
        if (!this.#interim.take(read.text.length, performance.now())) return this.#breaks(INTERIM_FAULT);
        this.#sink?.onInterim(head.value);
        if (at >= chunk.length) return true;
        continue;
      }
      const fault = this.#begin(head.value);
      if (fault !== null) return this.#breaks(fault);
    }
    const end = this.#body.read(chunk, at, this.#onPiece);
    if (end < 0) return this.#breaks(this.#body.fault, 'INVALID_BODY');
    if (!this.#body.isDone) return true;
    // Bytes behind an answer belong to no request: the connection is not used again.
    if (end < chunk.length) this.#keepAlive = false;
    this.#settle();
    return true;
  }

  readonly #onPiece = (piece: Buffer): void => {
    const sink = this.#sink;
    if (sink === null) return;
    if (!sink.onData(sink.takesLentBytes === true ? piece : Buffer.from(piece))) this.#isHeld = true;
  };

  /** The rule that it breaks, or null. */
  #begin(head: ResponseHead): string | null {
    const framing = responseFraming(head, this.#request?.method ?? '');
    if (typeof framing === 'string') return framing;
    this.#hasAnswered = true;
    this.#keepAlive = framing.kind !== 'until-close' && head.httpVersion === '1.1' && !saysClose(head.rawHeaders);
    this.#framing = framing;
    this.#body = createBodyReader(framing);
    this.#sink?.onHead(head, framing);
    return null;
  }

  #onSwitching(head: ResponseHead, rest: Buffer): boolean {
    const sink = this.#sink;
    if (sink === null || (this.#request?.upgrade ?? null) === null) return this.#breaks(UNASKED_101);
    const socket = this.#socket;
    this.#sink = null;
    this.#owner.onGone(this);
    socket.off('end', this.#onEnd).off('drain', this.#onDrain);
    socket.off('error', this.#onError).off('close', this.#onClose);
    sink.onUpgraded(head, socket, rest);
    return true;
  }

  /** An answer that is complete ends the exchange, also when the pod has not read the whole request. */
  #settle(): void {
    const sink = this.#sink;
    if (sink === null || this.#body?.isDone !== true) return;
    const { trailers } = this.#body;
    const isReusable = this.#keepAlive && this.#isRequestSent && this.#isOpen;
    this.#sink = null;
    this.#body = null;
    this.#framing = null;
    this.#request = null;
    if (isReusable) {
      this.resume();
      this.#owner.onIdle(this);
    } else this.#socket.destroy();
    sink.onEnd(trailers);
  }

  #breaks(rule: string, code = 'INVALID_ANSWER'): false {
    this.#failure = code;
    this.#brokenRule = rule;
    return false;
  }

  readonly #onDrain = (): void => {
    this.#sink?.onDrain();
  };

  readonly #onEnd = (): void => {
    const sink = this.#sink;
    this.#socket.destroy();
    if (sink === null || this.#framing?.kind !== 'until-close' || endsByReset(this.#socket)) return;
    // The proper end of an answer whose end is the connection's.
    this.#sink = null;
    sink.onEnd([]);
  };

  readonly #onError = (error: Error): void => {
    this.#failure = errorCode(error) ?? 'UNKNOWN';
  };

  readonly #onClose = (): void => {
    this.#owner.onGone(this);
    const sink = this.#sink;
    this.#sink = null;
    const isFresh = !this.#hasAnswered && !this.#head.hasBegun && this.#interim === null && this.#brokenRule === null;
    const rule = this.#brokenRule ?? (this.#head.hasBegun ? 'It ends before the end of its headers.' : null);
    sink?.onFailed({ code: this.#failure, rule, isFresh, isUnprocessed: false });
  };
}

function requestText({ method, target, fields, framing, upgrade, expectsContinue }: OutgoingRequest): string {
  const line = `${method} ${target} HTTP/1.1`;
  if (framing.kind !== 'chunked' && !expectsContinue && upgrade === null) return headText(line, fields);
  const ours: string[] = [];
  if (framing.kind === 'chunked') ours.push('transfer-encoding', 'chunked');
  if (expectsContinue) ours.push('expect', '100-continue');
  if (upgrade !== null) ours.push('connection', 'upgrade', 'upgrade', upgrade);
  return headText(line, [...fields, ...ours]);
}
