import type { Socket } from 'node:net';
import type { ConnectionInfo } from '../../../connection/connection-info.ts';
import { StallWatch } from '../../../limits/stall-watch.ts';
import type { RequestTelemetry } from '../../../telemetry/request-telemetry.ts';
import { whenFlushed } from '../../../bytes/linger.ts';
import type { CutReason } from '../../../policy/standing.ts';
import { readOn, tap } from '../../../bytes/tap.ts';
import { endWith } from '../../../bytes/end-with.ts';
import type { ConnectionParts, HttpConnection } from '../exchange/connection-parts.ts';
import { type CurrentRequest, newRequest, ownResponse } from './current-request.ts';
import { Exchange, type ExchangeClient, type ExchangeFailure } from '../exchange/exchange.ts';
import { forwardedRequest } from '../exchange/forwarded-request.ts';
import type { Persistence } from './http1-response.ts';
import { openTunnel } from './http1-tunnel.ts';
import { speaksH2c } from '../exchange/judge.ts';
import { clientPace } from '../exchange/limits.ts';
import { rawResponse, renderProblem } from '../responses/page.ts';
import { type HttpErrorCode, noteProblem, type Problem, problemOfCode } from '../responses/problem.ts';
import { acceptOf, expectsContinue, persists, upgradeOf } from '../wire/connection-header.ts';
import { RequestDeadline } from './request-deadline.ts';
import type { BodyReader, Framing } from '../wire/body-reader.ts';
import { HeadReader } from '../wire/head-reader.ts';
import { parseRequestHead, type RequestHead, type ResponseHead } from '../wire/head.ts';
import { requestFraming } from '../wire/request-framing.ts';

const CR = 0x0d;
const LF = 0x0a;
const NOTHING = Buffer.alloc(0);
const NO_BODY: Framing = { kind: 'none' };

type Phase =
  /** Waits for a request, or reads its head. */
  | 'head'
  /** A request is under way. */
  | 'exchange'
  /** Answered before its body was through: the rest is read and forgotten. */
  | 'draining'
  /** Says its last, or is a tunnel: nothing is read here any more. */
  | 'over';

/**
 * HTTP/1.1 with one client (RFC 9112): one strict reader for the whole life of the connection, one request at a time. What
 * it does not know it refuses, and a connection on which anything was unclear ends.
 */
export class ClientConnection implements HttpConnection, ExchangeClient, Persistence {
  readonly #socket: Socket;
  readonly #info: ConnectionInfo;
  readonly #parts: ConnectionParts;
  readonly #head: HeadReader;
  #phase: Phase = 'head';
  #current: CurrentRequest | null = null;
  /** What is left of a request that is answered. */
  #unread: BodyReader | null = null;
  #requests = 0;
  #keepsAlive = true;
  /** Bytes behind what was read so far; nothing more is read while there are any. */
  #rest: Buffer = NOTHING;
  #isReading = false;
  /** Nothing more is read from the socket for now. */
  #isHeld = false;
  #blankBytes = 0;
  readonly #deadline: RequestDeadline;
  readonly #stall = new StallWatch();
  /** Of the tunnel that this connection has become. */
  #cutTunnel: ((reason: CutReason) => void) | null = null;
  /** The client of this request has been told to send its body. */
  #hasContinued = false;

  constructor(socket: Socket, info: ConnectionInfo, parts: ConnectionParts) {
    this.#socket = socket;
    this.#info = info;
    this.#parts = parts;
    this.#head = new HeadReader(parts.limits.headerBytes);
    this.#deadline = new RequestDeadline(parts.limits.headersTimeoutMs);
    socket.on('end', this.#onEnd).on('drain', this.#onDrain);
    socket.on('error', ignore).on('close', this.#onClose);
    // What whoever looked at the first bytes has put back comes before anything that is still to be read.
    for (let kept = socket.read() as Buffer | null; kept !== null; kept = socket.read() as Buffer | null) {
      process.nextTick(this.#onData, kept);
    }
    tap(socket, this.#onData);
    // Without a reader a stream tells no end.
    socket.resume();
  }

  readonly takesLentBytes = true;

  get keepsAlive(): boolean {
    return this.#keepsAlive;
  }

  get isIdle(): boolean {
    return this.#phase === 'head' && !this.#head.hasBegun;
  }

  endsAfterThis(): void {
    this.#keepsAlive = false;
  }

  close(): void {
    if (this.isIdle) this.#end(NOTHING);
    else this.#keepsAlive = false;
  }

  checkDeadlines(nowMs: number): void {
    if (!this.#deadline.isPast(nowMs)) {
      if (this.#isClientStalled(nowMs)) this.#giveUpRequest();
      else this.#checkApiResponse(nowMs);
      return;
    }
    switch (this.#deadline.wait) {
      case 'first':
      case 'idle':
        this.#end(NOTHING);
        return;
      case 'head':
        this.#refuse('request.timeout');
        return;
      case 'request':
        this.#giveUpRequest();
        return;
      case 'linger':
        this.#socket.destroy();
        return;
      case 'none':
        return;
    }
  }

  wantsBody(): void {
    this.#readRest();
  }

  get hasAnswered(): boolean {
    return this.#current?.answer.hasBegun ?? false;
  }

  onInterim(head: ResponseHead): void {
    if (head.status === 100) this.#hasContinued = true;
    this.#current?.answer.interim(head);
  }

  onHead(head: ResponseHead, framing: Framing): void {
    const current = this.#current;
    if (current === null) return;
    current.telemetry.status = head.status;
    current.telemetry.firstByteMs = current.exchange?.lastActivityMs ?? null;
    current.answer.head(head, framing);
  }

  onData(piece: Buffer): boolean {
    const current = this.#current;
    if (current === null) return true;
    current.telemetry.bytesOut += piece.length;
    return current.answer.data(piece);
  }

  onFlush(): void {
    this.#current?.answer.flush();
  }

  onEnd(trailers: readonly string[]): void {
    this.#current?.answer.end(trailers);
    this.#answered();
  }

  #answered(): void {
    const current = this.#current;
    if (current === null) return;
    if (current.telemetry.end === 'client') current.telemetry.end = 'answered';
    this.#done(current);
    if (!this.#keepsAlive) this.#end(NOTHING);
    else if (current.isBodyDone) this.#next();
    else {
      this.#phase = 'draining';
      this.#unread = current.body;
      this.#deadline.set('linger', this.#parts.limits.lingerMs);
      this.#readRest();
    }
  }

  onUnreachable(failure: ExchangeFailure): void {
    const current = this.#current;
    const accepted = current?.accepted ?? null;
    if (current === null || accepted === null) return;
    current.telemetry.brokenRule = failure.rule;
    this.#parts.log(accepted, this.#info, failure, 'a backend did not answer');
    this.#answer(current, this.#parts.judge.failed(accepted, failure));
  }

  onBroken(failure: ExchangeFailure): void {
    const { accepted = null, telemetry = null } = this.#current ?? {};
    if (telemetry !== null) {
      telemetry.end = 'backend';
      telemetry.brokenRule = failure.rule;
    }
    if (accepted !== null) {
      this.#parts.log(accepted, this.#info, failure, 'an answer broke off');
      if (failure.rule !== null) this.#parts.judge.noteBroken(accepted, failure.rule);
    }
    // What came of it is delivered, with neither a proper end nor a close_notify: a broken answer never looks whole.
    this.#current?.answer.flush();
    this.#becomesOver();
    whenFlushed(this.#socket, () => this.#socket.destroy());
  }

  onUpgraded(head: ResponseHead, backend: Socket, rest: Buffer): void {
    const socket = this.#socket;
    this.#becomesOver();
    socket.off('end', this.#onEnd).off('drain', this.#onDrain);
    socket.off('close', this.#onClose);
    const fromClient = this.#rest;
    this.#rest = NOTHING;
    const { halfClosedMs } = this.#parts.limits;
    const switched = { client: socket, backend, head, fromBackend: rest, fromClient, halfClosedMs };
    this.#cutTunnel = openTunnel(this.#current, switched, this.#onClose);
  }

  readonly #onData = (chunk: Buffer): boolean => {
    // What is said behind our last word is read, so that the connection ends in peace, and forgotten.
    if (this.#phase === 'over') return true;
    if (this.#rest.length > 0) this.#keepRest(Buffer.concat([this.#rest, chunk]));
    else this.#read(chunk);
    return !this.#isHeld;
  };

  readonly #onEnd = (): void => {
    if (this.#phase === 'head') this.#end(NOTHING);
    // Nothing tells a client that waits for its answer from one that is gone. Nearly all are gone, and a pod must not go
    // on working for nobody (nginx and node:http take it so, too).
    else if (this.#phase !== 'over') this.#socket.destroy();
  };

  /** The pod is gone, or lets this client in no more: says so where nothing was answered yet. */
  readonly #cut = (reason: CutReason): void => {
    const current = this.#current;
    if (current !== null && this.#cutTunnel !== null) {
      current.telemetry.end = 'cut';
      this.#cutTunnel(reason);
      return;
    }
    if (current === null || current.answer.hasBegun) {
      if (current !== null) current.telemetry.end = 'cut';
      this.#socket.destroy();
      return;
    }
    const mayHaveHappened = current.exchange?.mayHaveHappened ?? false;
    current.exchange?.abandon();
    const { judge } = this.#parts;
    const verdict = judge.judge(current.head, this.#info, this.#requests);
    this.#answer(current, judge.cut(verdict, reason, mayHaveHappened));
  };

  readonly #onDrain = (): void => {
    this.#current?.exchange?.resumeAnswer();
  };

  readonly #onClose = (): void => {
    this.#phase = 'over';
    this.#current?.exchange?.abandon();
    if (this.#current !== null) this.#done(this.#current);
    this.#parts.gone(this, this.#info);
  };

  #readRest(): void {
    if (this.#isReading || this.#phase === 'over') return;
    const rest = this.#rest;
    this.#rest = NOTHING;
    this.#readOn();
    if (rest.length > 0) this.#read(rest);
  }

  #readOn(): void {
    if (!this.#isHeld) return;
    this.#isHeld = false;
    readOn(this.#socket);
  }

  #keepRest(rest: Buffer): void {
    this.#rest = rest;
    if (rest.length > 0) this.#isHeld = true;
  }

  /** Reads on, through as many requests as are answered at once. */
  #read(chunk: Buffer): void {
    let at = 0;
    this.#isReading = true;
    while (at < chunk.length && this.#phase !== 'over') {
      const before = at;
      at = this.#phase === 'head' ? this.#readHead(chunk, at) : this.#readBody(chunk, at);
      if (at === before) break;
    }
    this.#isReading = false;
    // A function, since the compiler takes what it has seen of the phase for its state for ever.
    if (!this.#isOver()) this.#keepRest(at < chunk.length ? chunk.subarray(at) : NOTHING);
  }

  #isOver(): boolean {
    return this.#phase === 'over';
  }

  /** Answers where the head ended, or the chunk. */
  #readHead(chunk: Buffer, at: number): number {
    let from = at;
    // Older clients send an empty line behind a body (RFC 9112 2.2).
    while (!this.#head.hasBegun && this.#blankBytes < 2 && (chunk[from] === CR || chunk[from] === LF)) {
      this.#blankBytes++;
      from++;
    }
    if (from === chunk.length) return from;
    const read = this.#head.read(chunk, from);
    switch (read.kind) {
      case 'need-more':
        this.#deadline.headBegins(this.#parts.limits.headersTimeoutMs);
        return chunk.length;
      case 'reject':
        this.#refuse(read.reason === 'too-large' ? 'request.too-large' : 'request.malformed');
        return chunk.length;
      case 'head': {
        this.#blankBytes = 0;
        const head = parseRequestHead(read.text);
        if (head.kind === 'reject') this.#refuse('request.malformed');
        else this.#begin(head.value);
        return read.rest;
      }
    }
  }

  /** Passes on what is here of a body. Answers how far it came: no further while nobody takes it. */
  #readBody(chunk: Buffer, at: number): number {
    if (this.#unread !== null) return this.#readUnread(this.#unread, chunk, at);
    const current = this.#current;
    const exchange = current?.exchange ?? null;
    if (current === null || exchange === null || current.isBodyDone || !exchange.takesBody) return at;
    const slow = { isPod: false };
    const end = current.body.read(chunk, at, (piece) => {
      current.telemetry.bytesIn += piece.length;
      if (!exchange.writeBody(piece)) slow.isPod = true;
    });
    if (end < 0) {
      // The pod must not take what it has got for the whole.
      exchange.abandon();
      this.#refuseBody(current);
      return chunk.length;
    }
    if (current.body.isDone) {
      current.isBodyDone = true;
      this.#deadline.clear();
      exchange.endBody(current.body.trailers);
    } else if (slow.isPod) this.#isHeld = true;
    return end;
  }

  #refuseBody(current: CurrentRequest): void {
    if (current.answer.hasBegun || current.accepted === null) this.#socket.destroy();
    else this.#answer(current, this.#malformed(current.accepted.requestId, current.body.fault));
  }

  /** Reads and forgets. */
  #readUnread(body: BodyReader, chunk: Buffer, at: number): number {
    const end = body.read(chunk, at, ignore);
    // The answer is on its way: what follows the body cannot be told from it any more.
    if (end < 0) this.#end(NOTHING);
    else if (body.isDone) this.#next();
    return end < 0 ? chunk.length : end;
  }

  #begin(head: RequestHead): void {
    const { limits, judge } = this.#parts;
    this.#requests++;
    this.#phase = 'exchange';
    this.#hasContinued = false;
    const telemetry = this.#parts.began(this.#info, 'http/1.1');
    this.#keepsAlive = persists(head) && this.#requests < limits.maxRequestsPerConnection && !this.#parts.isClosing();
    const verdict = judge.judge(head, this.#info, this.#requests);
    this.#parts.judged(telemetry, head, verdict);
    if (verdict.kind === 'problem') {
      const framing = requestFraming(head);
      this.#answer(this.#currentOf(head, typeof framing === 'string' ? NO_BODY : framing, telemetry), verdict.problem);
      return;
    }
    const { framing } = verdict.request;
    // Whoever cannot change the protocol goes on in the one that is spoken (RFC 9110 7.8).
    const upgrade = speaksH2c(verdict) ? null : upgradeOf(head);
    // What a client sends behind a request to upgrade may be in the other protocol already.
    if (upgrade !== null) this.#keepsAlive = false;
    if (upgrade !== null && framing.kind !== 'none') {
      const problem = this.#malformed(verdict.requestId, 'A request that upgrades has no body.');
      this.#answer(this.#currentOf(head, framing, telemetry), problem);
      return;
    }
    const isTimed = limits.requestTimeoutMs > 0 && framing.kind !== 'none';
    this.#deadline.set(isTimed ? 'request' : 'none', limits.requestTimeoutMs);
    const waiting = { ...this.#currentOf(head, framing, telemetry), accepted: verdict, upgrade };
    this.#current = waiting;
    this.#parts.acquire(verdict, this.#info, 'connection', this.#cut, (outcome) => {
      // The place may have been asked for elsewhere.
      if (this.#isOver()) {
        if (typeof outcome === 'function') outcome();
      } else if (typeof outcome === 'string') {
        this.#answer(waiting, judge.full(verdict, outcome));
      } else {
        const request = forwardedRequest(head, verdict, this.#info, upgrade);
        const client = { info: this.#info, socket: this.#socket };
        const exchange = new Exchange({ request, poolNow: () => this.#parts.poolNow(verdict, client) }, this);
        this.#current = { ...waiting, exchange, release: outcome };
        exchange.start();
      }
    });
  }

  #currentOf(head: RequestHead, framing: Framing, telemetry: RequestTelemetry): CurrentRequest {
    return newRequest(head, framing, telemetry, this.#socket, this);
  }

  #malformed(requestId: string, reason: string): Problem {
    return problemOfCode('request.malformed', requestId, reason);
  }

  /** A whole answer of ours to a request whose head is read. */
  #answer(current: CurrentRequest, problem: Problem): void {
    this.#current = current;
    const whole = ownResponse(current, problem, this.#parts.version, this);
    if (this.#keepsAlive) {
      this.#socket.write(whole);
      this.#answered();
    } else {
      this.#done(current);
      this.#end(whole);
    }
  }

  /** No request could be read: says so and ends. */
  #refuse(code: HttpErrorCode): void {
    const current = this.#current;
    const requestId = current?.accepted?.requestId ?? this.#info.id;
    const problem = problemOfCode(code, requestId, 'The connection is closed.');
    const telemetry = current?.telemetry ?? this.#parts.began(this.#info, 'http/1.1');
    noteProblem(telemetry, problem);
    if (current !== null) this.#done(current);
    else this.#parts.ended(telemetry);
    const accept = current === null ? '' : acceptOf(current.head);
    this.#end(rawResponse(renderProblem(problem, accept, this.#parts.version)));
  }

  #done(current: CurrentRequest): void {
    this.#current = null;
    current.release();
    current.telemetry.connectedMs = current.exchange?.connectedMs ?? null;
    this.#parts.ended(current.telemetry);
  }

  #next(): void {
    this.#phase = 'head';
    this.#unread = null;
    if (this.#parts.isClosing()) {
      this.#end(NOTHING);
      return;
    }
    this.#deadline.set('idle', this.#parts.limits.keepAliveTimeoutMs);
    this.#readRest();
  }

  #end(bytes: Buffer): void {
    const socket = this.#socket;
    this.#becomesOver();
    this.#rest = NOTHING;
    this.#readOn();
    socket.off('end', this.#onEnd).off('drain', this.#onDrain);
    endWith(socket, bytes);
  }

  #becomesOver(): void {
    this.#phase = 'over';
    this.#deadline.clear();
  }

  /** Who sends too little of a body that its pod waits for, or takes too little of an answer, holds a place for nothing. */
  #isClientStalled(nowMs: number): boolean {
    const current = this.#current;
    if (current?.exchange?.takesBody !== true) return false;
    const { head, telemetry, isBodyDone, answer } = current;
    // Who expects 100 (Continue) waits for it, and only then is waited for.
    const maySend = !expectsContinue(head) || this.#hasContinued;
    const isBodyWaitedFor = !isBodyDone && !this.#isHeld && !answer.hasBegun && maySend;
    const isWaitedFor = this.#phase === 'exchange' && (this.#socket.writableLength > 0 || isBodyWaitedFor);
    const progress = telemetry.bytesIn + telemetry.bytesOut - this.#socket.writableLength;
    return this.#stall.isStalled(nowMs, isWaitedFor, progress, clientPace(this.#parts.limits));
  }

  #giveUpRequest(): void {
    this.#current?.exchange?.abandon();
    if (!this.hasAnswered) {
      this.#refuse('request.timeout');
      return;
    }
    if (this.#current !== null) this.#current.telemetry.end = 'deadline';
    this.#socket.destroy();
  }

  /** The API answers in time, or its caller hears that it does not. Pods may be silent for hours. */
  #checkApiResponse(nowMs: number): void {
    const { exchange = null, accepted = null } = this.#current ?? {};
    if (exchange === null || accepted?.kind !== 'api') return;
    if (nowMs - exchange.lastActivityMs > this.#parts.limits.apiAnswerMs) exchange.giveUp('SILENT');
  }
}

function ignore(): void {
  // Nothing to do: a 'close' follows, or there is nothing to give back.
}
