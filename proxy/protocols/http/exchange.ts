import type { Socket } from 'node:net';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { errorCode } from './dial.ts';
import { requestHeaders, responseHeaders, trailerFields } from './headers.ts';
import type { Accepted } from './judge.ts';
import type { AnswerSink, UpstreamConnection } from './upstream-connection.ts';
import type { UpstreamPool } from './upstream-pools.ts';
import type { Framing } from './wire/body-reader.ts';
import type { RequestHead, ResponseHead } from './wire/head.ts';
import { headText, lastChunk, statusLine, writeChunk } from './wire/write-head.ts';

/** RFC 9110 9.2.2: what may be sent again after a kept connection turned out to be closed. */
const IDEMPOTENT: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS', 'PUT', 'DELETE']);

/** A pod that moves again while it is dialled a third time does not answer. */
const DIALS_MAX = 3;

/** The client's side of an exchange. */
export interface ExchangeClient {
  readonly socket: Socket;
  readonly remoteAddress: string;
  /** The connection goes on after this exchange; asked when the answer's head is written. */
  readonly keepsAlive: boolean;
  endsAfterThis(): void;
  /** More of the request's body can be taken (again). */
  wantsBody(): void;
  /** The answer has been written whole. */
  onAnswered(): void;
  /** Nothing was answered yet: say so with a page. */
  onUnreachable(code: string): void;
  /** The answer broke off. */
  onBroken(code: string): void;
  onUpgraded(head: string, backend: Socket, rest: Buffer): void;
}

export interface ExchangeOptions {
  readonly head: RequestHead;
  readonly framing: Framing;
  readonly accepted: Accepted;
  /** The protocol to change to, or null. */
  readonly upgrade: string | null;
  readonly expectsContinue: boolean;
  /**
   * Of the address at which the very same pod is to be dialled now; null when the route leads to it no more. Asked before
   * every dial, and after it, before a byte is sent.
   */
  readonly poolNow: () => UpstreamPool | null;
}

/** One request and its answer, between a client's connection and a backend's. */
export class Exchange implements AnswerSink {
  readonly #options: ExchangeOptions;
  readonly #client: ExchangeClient;
  #dialling: AbortController | null = null;
  #upstream: UpstreamConnection | null = null;
  #isOver = false;
  #wasRepeated = false;
  #usesKept = false;
  /** Written together with the first of the body. */
  #pendingHead: string | null = null;
  #hasAnswered = false;
  #isChunked = false;
  #isCorked = false;
  /** performance.now() of the last word of the backend. */
  heardMs = performance.now();

  constructor(options: ExchangeOptions, client: ExchangeClient) {
    this.#options = options;
    this.#client = client;
  }

  /** A byte of the answer is on its way to the client. */
  get hasAnswered(): boolean {
    return this.#hasAnswered;
  }

  /** The body can be passed on. */
  get takesBody(): boolean {
    return this.#upstream !== null;
  }

  start(): void {
    const { poolNow, upgrade } = this.#options;
    // An upgrade keeps its connection, half-close included: it gets one of its own.
    const kept = upgrade === null ? (poolNow()?.take() ?? null) : null;
    if (kept === null) void this.#dial();
    else {
      this.#usesKept = true;
      this.#send(kept);
    }
  }

  /** False = the pod is slow: `wantsBody` tells when it takes more. */
  writeBody(piece: Buffer): boolean {
    return this.#upstream?.writeBody(piece) ?? false;
  }

  endBody(trailers: readonly string[]): void {
    this.#upstream?.endBody(trailerFields(trailers));
  }

  /** The client takes more of the answer. */
  resumeAnswer(): void {
    this.#upstream?.resume();
  }

  /** The client is gone, or waits no longer. */
  abandon(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#dialling?.abort();
    this.#upstream?.abandon();
  }

  /** The backend has been silent for too long. */
  giveUp(code: string): void {
    this.abandon();
    this.#fail(code);
  }

  async #dial(): Promise<void> {
    const { poolNow, upgrade } = this.#options;
    const dialling = new AbortController();
    this.#dialling = dialling;
    this.#usesKept = false;
    try {
      for (let dials = 0; dials < DIALS_MAX; dials++) {
        const pool = poolNow();
        if (pool === null) break;
        const upstream = await pool.open(dialling.signal, upgrade !== null);
        // After whatever of the route feed has come in the same turn of the event loop.
        await nextTurn();
        if (this.#isOver) {
          upstream.close();
          return;
        }
        if (poolNow() === pool) {
          this.#send(upstream);
          return;
        }
        // The address may be another pod's by now; or it is the pod's service that is to be dialled, and was not before.
        upstream.close();
      }
      this.#isOver = true;
      this.#fail('MOVED');
    } catch (error) {
      if (this.#isOver) return;
      this.#isOver = true;
      this.#fail(errorCode(error));
    }
  }

  #send(upstream: UpstreamConnection): void {
    const { head, framing, upgrade } = this.#options;
    this.#upstream = upstream;
    this.heardMs = performance.now();
    const request = {
      head: this.#requestText(),
      method: head.method,
      isChunked: framing.kind === 'chunked',
      hasBody: framing.kind !== 'none',
      isUpgrade: upgrade !== null,
    };
    upstream.send(request, this);
    if (request.hasBody) this.#client.wantsBody();
  }

  #requestText(): string {
    const { head, framing, accepted, upgrade, expectsContinue } = this.#options;
    const { hostHeader, port, target } = accepted.request;
    const { remoteAddress } = this.#client;
    const fields = requestHeaders(head.rawHeaders, { remoteAddress, hostHeader, port, requestId: accepted.requestId });
    if (framing.kind === 'chunked') fields.push('transfer-encoding', 'chunked');
    if (expectsContinue) fields.push('expect', '100-continue');
    if (upgrade !== null) fields.push('connection', 'upgrade', 'upgrade', upgrade);
    return headText(`${head.method} ${target} HTTP/1.1`, fields);
  }

  onInterim({ status, reason, rawHeaders }: ResponseHead): void {
    this.heardMs = performance.now();
    if (this.#options.head.httpVersion === '1.0') return;
    this.#client.socket.write(headText(statusLine(status, reason), responseHeaders(rawHeaders)), 'latin1');
  }

  onHead(head: ResponseHead, framing: Framing): void {
    this.heardMs = performance.now();
    const { head: request } = this.#options;
    // 204 has no body whatever its length says (RFC 9110 8.6).
    const fields = responseHeaders(head.status === 204 ? without(head.rawHeaders, 'content-length') : head.rawHeaders);
    const hasUnknownEnd = framing.kind === 'chunked' || framing.kind === 'until-close';
    this.#isChunked = hasUnknownEnd && request.httpVersion === '1.1';
    if (this.#isChunked) fields.push('Transfer-Encoding', 'chunked');
    else if (hasUnknownEnd) this.#client.endsAfterThis();
    if (!this.#client.keepsAlive) fields.push('Connection', 'close');
    else if (request.httpVersion === '1.0') fields.push('Connection', 'keep-alive');
    this.#pendingHead = headText(statusLine(head.status, head.reason), fields);
  }

  onData(piece: Buffer): boolean {
    this.heardMs = performance.now();
    const { socket } = this.#client;
    this.#begin();
    return this.#isChunked ? writeChunk(socket, piece) : socket.write(piece);
  }

  onFlush(): void {
    // An event stream's head must arrive before its first event.
    if (this.#pendingHead !== null) this.#begin();
    if (!this.#isCorked) return;
    this.#isCorked = false;
    this.#client.socket.uncork();
  }

  onEnd(trailers: readonly string[]): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#begin();
    if (this.#isChunked) this.#client.socket.write(lastChunk(trailerFields(trailers)), 'latin1');
    this.onFlush();
    this.#client.onAnswered();
  }

  onFailed(code: string, isFresh: boolean): void {
    if (this.#isOver) return;
    const { head, framing } = this.#options;
    this.#upstream = null;
    if (this.#usesKept && isFresh && !this.#wasRepeated && framing.kind === 'none' && IDEMPOTENT.has(head.method)) {
      // Most likely a kept connection that the pod closed at this very moment.
      this.#wasRepeated = true;
      void this.#dial();
      return;
    }
    this.#isOver = true;
    this.#fail(code);
  }

  onUpgraded({ rawHeaders, reason }: ResponseHead, backend: Socket, rest: Buffer): void {
    if (this.#isOver) {
      backend.destroy();
      return;
    }
    this.#isOver = true;
    const fields = [...responseHeaders(rawHeaders), 'Connection', 'Upgrade'];
    fields.push('Upgrade', fieldOf(rawHeaders, 'upgrade') ?? this.#options.upgrade ?? '');
    this.#client.onUpgraded(headText(statusLine(101, reason), fields), backend, rest);
  }

  onDrain(): void {
    this.#client.wantsBody();
  }

  /** Everything written from here to `onFlush` leaves in one piece. */
  #begin(): void {
    const { socket } = this.#client;
    if (!this.#isCorked) {
      this.#isCorked = true;
      socket.cork();
    }
    if (this.#pendingHead === null) return;
    this.#hasAnswered = true;
    socket.write(this.#pendingHead, 'latin1');
    this.#pendingHead = null;
  }

  #fail(code: string): void {
    if (this.#hasAnswered) this.#client.onBroken(code);
    else this.#client.onUnreachable(code);
  }
}

function without(fields: readonly string[], name: string): readonly string[] {
  return fields.filter((_, index) => (fields[index - (index % 2)] ?? '').toLowerCase() !== name);
}

function fieldOf(fields: readonly string[], name: string): string | null {
  for (let index = 0; index + 1 < fields.length; index += 2) {
    if ((fields[index] ?? '').toLowerCase() === name) return fields[index + 1] ?? '';
  }
  return null;
}
