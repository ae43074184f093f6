import type { Socket } from 'node:net';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { errorCode } from './dial.ts';
import { trailerFields } from './headers.ts';
import type { AnswerSink, Failure, OutgoingRequest, Upstream, UpstreamPool } from './upstream.ts';
import type { Framing } from './wire/body-reader.ts';
import type { ResponseHead } from './wire/head.ts';

/** RFC 9110 9.2.2: what may be sent again after a kept connection turned out to be closed. */
const IDEMPOTENT: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS', 'PUT', 'DELETE']);

/** A pod that moves again while it is dialled a third time does not answer. */
const DIALS_MAX = 3;

/**
 * The client's side of an exchange, whatever protocol it speaks. The last call is one of `onEnd`, `onUnreachable`,
 * `onBroken` and `onUpgraded`.
 */
export interface ExchangeClient extends Pick<
  AnswerSink,
  'onInterim' | 'onHead' | 'takesLentBytes' | 'onData' | 'onFlush' | 'onEnd'
> {
  /** A byte of the answer is on its way to the client. */
  readonly hasAnswered: boolean;
  /** More of the request's body can be taken (again). */
  wantsBody(): void;
  /** Nothing was answered yet: say so with a page. */
  onUnreachable(code: string): void;
  /** The answer broke off. */
  onBroken(code: string): void;
  onUpgraded(head: ResponseHead, backend: Socket, rest: Buffer): void;
}

export interface ExchangeOptions {
  readonly request: OutgoingRequest;
  /**
   * Of the address at which the very same pod is to be dialled now; null when the route leads to it no more. Asked before
   * every dial, and after it, before a byte is sent.
   */
  readonly poolNow: () => UpstreamPool | null;
}

/** One request and its answer, between a client and a backend. */
export class Exchange implements AnswerSink {
  readonly #options: ExchangeOptions;
  readonly #client: ExchangeClient;
  #dialling: AbortController | null = null;
  #upstream: Upstream | null = null;
  #isOver = false;
  #wasRepeated = false;
  #usesKept = false;
  #hasSentBody = false;
  /** performance.now() of the last word of the backend. */
  heardMs = performance.now();
  /** performance.now() when a connection made for it was there; null while there is none, and when a kept one is used. */
  connectedMs: number | null = null;

  constructor(options: ExchangeOptions, client: ExchangeClient) {
    this.#options = options;
    this.#client = client;
  }

  /** The body can be passed on. */
  get takesBody(): boolean {
    return this.#upstream !== null;
  }

  start(): void {
    const { poolNow, request } = this.#options;
    // An upgrade keeps its connection, half-close included: it gets one of its own.
    const kept = request.upgrade === null ? (poolNow()?.take() ?? null) : null;
    if (kept === null) void this.#dial();
    else {
      this.#usesKept = true;
      this.#send(kept);
    }
  }

  /** False = the pod is slow: `wantsBody` tells when it takes more. */
  writeBody(piece: Buffer): boolean {
    this.#hasSentBody = true;
    return this.#upstream?.writeBody(piece) ?? false;
  }

  endBody(trailers: readonly string[]): void {
    this.#hasSentBody = true;
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
    const { poolNow, request } = this.#options;
    const dialling = new AbortController();
    this.#dialling = dialling;
    this.#usesKept = false;
    try {
      for (let dials = 0; dials < DIALS_MAX; dials++) {
        const pool = poolNow();
        if (pool === null) break;
        const upstream = await pool.open(dialling.signal, request.upgrade !== null);
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

  #send(upstream: Upstream): void {
    const { request } = this.#options;
    this.#upstream = upstream;
    this.heardMs = performance.now();
    if (!this.#usesKept) this.connectedMs = this.heardMs;
    upstream.send(request, this);
    if (request.framing.kind !== 'none') this.#client.wantsBody();
  }

  onInterim(head: ResponseHead): void {
    this.heardMs = performance.now();
    this.#client.onInterim(head);
  }

  onHead(head: ResponseHead, framing: Framing): void {
    this.heardMs = performance.now();
    this.#client.onHead(head, framing);
  }

  get takesLentBytes(): boolean {
    return this.#client.takesLentBytes ?? false;
  }

  onData(piece: Buffer): boolean {
    this.heardMs = performance.now();
    return this.#client.onData(piece);
  }

  onFlush(): void {
    // Also behind the last of an answer.
    if (!this.#isOver) this.#client.onFlush();
  }

  onEnd(trailers: readonly string[]): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#client.onEnd(trailers);
  }

  onFailed({ code, isFresh, isUnprocessed }: Failure): void {
    if (this.#isOver) return;
    this.#upstream = null;
    if (!this.#wasRepeated && !this.#hasSentBody && (isUnprocessed || (isFresh && this.#maySendAgain()))) {
      this.#wasRepeated = true;
      void this.#dial();
      return;
    }
    this.#isOver = true;
    this.#fail(code);
  }

  onUpgraded(head: ResponseHead, backend: Socket, rest: Buffer): void {
    if (this.#isOver) {
      backend.destroy();
      return;
    }
    this.#isOver = true;
    this.#client.onUpgraded(head, backend, rest);
  }

  onDrain(): void {
    this.#client.wantsBody();
  }

  /** Most likely a kept connection was closed by the pod at this very moment. */
  #maySendAgain(): boolean {
    const { framing, method } = this.#options.request;
    return this.#usesKept && framing.kind === 'none' && IDEMPOTENT.has(method);
  }

  #fail(code: string): void {
    if (this.#client.hasAnswered) this.#client.onBroken(code);
    else this.#client.onUnreachable(code);
  }
}
