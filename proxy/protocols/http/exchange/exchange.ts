import type { Socket } from 'node:net';
import { errorCode } from '../../../../core/error-code.ts';
import { dial, type Dialed, type Located } from '../../../dial/dial.ts';
import { trailerFields } from './headers.ts';
import type { HeldBody } from './held-body.ts';
import type { ResponseSink, Failure, OutgoingRequest, Upstream, UpstreamPool } from './upstream.ts';
import type { Framing } from '../wire/body-reader.ts';
import type { ResponseHead } from '../wire/head.ts';

/** RFC 9110 9.2.2: what may be sent again after a kept connection turned out to be closed. */
const IDEMPOTENT: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS', 'PUT', 'DELETE']);

/** RFC 9110 9.2.1: such a request changes nothing. */
const SAFE: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS']);
/** How often a request is sent again that the pod says it did not process. */
const UNPROCESSED_MAX = 3;
/** How much of a body is kept for that; a longer one is not sent again. */
const REPLAYED_BYTES = 64 * 1024;

/** The route does not lead to the pod any more. */
const GONE = { kind: 'refused', code: 'route.unreachable' } as const;

/** Why there is no response, or no complete one. */
export interface ExchangeFailure {
  readonly code: string;
  /** The rule of HTTP that the response breaks, as a sentence; null when it did not come, or broke off. */
  readonly rule: string | null;
  /** The backend may have carried out the request, and the request changes something. */
  readonly mayHaveHappened: boolean;
  /** The backend has said that it did not process the request. */
  readonly isUnprocessed: boolean;
}

/**
 * The client's side of an exchange, whatever protocol it speaks. The last call is one of `onEnd`, `onUnreachable`,
 * `onBroken` and `onUpgraded`.
 */
export interface ExchangeClient extends Pick<
  ResponseSink,
  'onInterim' | 'onHead' | 'takesLentBytes' | 'onData' | 'onFlush' | 'onEnd'
> {
  /** A byte of the response was written to the client. */
  readonly hasAnswered: boolean;
  /** Of the address at which the very same pod is to be dialed now; null when the route no longer leads to it. See Dial. */
  poolNow(): UpstreamPool | null;
  /** What to wait for when that is null, since the pod has fallen asleep; null = nothing. */
  notYet(): Extract<Located<never>, { readonly kind: 'not-yet' }> | null;
  /** More of the request's body can be taken (again). */
  wantsBody(): void;
  /** No response has begun: the client is to get an error page. */
  onUnreachable(failure: ExchangeFailure): void;
  /** The response broke off. */
  onBroken(failure: ExchangeFailure): void;
  onUpgraded(head: ResponseHead, backend: Socket, rest: Buffer): void;
}

/** One request and its response, between a client and a backend. */
export class Exchange implements ResponseSink {
  readonly #request: OutgoingRequest;
  readonly #client: ExchangeClient;
  #dialing: AbortController | null = null;
  #upstream: Upstream | null = null;
  #isOver = false;
  #wasRepeated = false;
  #usesKept = false;
  #hasSentBody = false;
  /** What was sent of the body, to be sent again; null = it is not kept, or was too much. */
  #replay: Buffer[] | null = null;
  #replayBytes = 0;
  /** The trailers, once the body has ended. */
  #bodyEnd: readonly string[] | null = null;
  #unprocessed = 0;
  #isRepeating = false;
  /** performance.now() when the backend last sent something. */
  lastActivityMs = performance.now();
  /** performance.now() when a connection made for it was there; null while there is none, and when a kept one is used. */
  connectedMs: number | null = null;

  constructor(request: OutgoingRequest, client: ExchangeClient) {
    this.#request = request;
    this.#client = client;
  }

  /** The body can be passed on. */
  get takesBody(): boolean {
    return this.#upstream !== null || this.#isRepeating;
  }

  /** Cut now, the request may have been carried out, and it changes something. */
  get mayHaveHappened(): boolean {
    return this.#upstream !== null && !SAFE.has(this.#request.method);
  }

  /** `body`: the beginning of the body, which was kept while the request waited for its pod. */
  start(body: HeldBody | null = null): void {
    if (body !== null && this.#request.framing.kind !== 'none') {
      // As if it had been sent once before: to a pod that did not process it.
      this.#replay = body.take();
      for (const { length } of this.#replay) this.#replayBytes += length;
      this.#isRepeating = true;
      this.#hasSentBody = true;
      if (body.trailers !== null) this.#bodyEnd = trailerFields(body.trailers);
    }
    // An upgrade keeps its connection, half-close included: it gets one of its own.
    const kept = this.#request.upgrade === null ? (this.#client.poolNow()?.take() ?? null) : null;
    if (kept === null) void this.#dial();
    else {
      this.#usesKept = true;
      this.#send(kept);
    }
  }

  /** False = the pod is slow: `wantsBody` is called when it takes more. */
  writeBody(piece: Buffer): boolean {
    this.#hasSentBody = true;
    if (this.#replay !== null) this.#keepForReplay(piece);
    return this.#upstream?.writeBody(piece) ?? false;
  }

  endBody(trailers: readonly string[]): void {
    this.#hasSentBody = true;
    this.#bodyEnd = trailerFields(trailers);
    this.#upstream?.endBody(this.#bodyEnd);
  }

  /** The client takes more of the response. */
  resumeResponse(): void {
    this.#upstream?.resume();
  }

  /** The client is gone, or no longer waits. */
  abandon(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#dialing?.abort();
    this.#upstream?.abandon();
  }

  /** The backend has been silent for too long. */
  giveUp(code: string, rule: string | null = null): void {
    if (this.#isOver) return;
    const { mayHaveHappened } = this;
    this.abandon();
    this.#fail({ code, rule, mayHaveHappened, isUnprocessed: false });
  }

  async #dial(): Promise<void> {
    const dialing = new AbortController();
    this.#dialing = dialing;
    this.#usesKept = false;
    const dialed = await dial<UpstreamPool, Upstream>(
      {
        locate: () => {
          const pool = this.#client.poolNow();
          return pool === null ? (this.#client.notYet() ?? GONE) : { kind: 'place', place: pool };
        },
        isSame: (a, b) => a === b,
        retryUntilMs: (pool) => pool.retryUntilMs,
        open: (pool, signal) => pool.open(signal, this.#request.upgrade !== null),
        close: (upstream) => upstream.close(),
      },
      dialing.signal,
    );
    if (this.#isOver) {
      if (dialed.kind === 'connected') dialed.connection.close();
    } else if (dialed.kind === 'connected') this.#send(dialed.connection);
    else {
      this.#isOver = true;
      this.#fail(notSent(codeOf(dialed)));
    }
  }

  #send(upstream: Upstream): void {
    const request = this.#request;
    this.#upstream = upstream;
    this.lastActivityMs = performance.now();
    if (!this.#usesKept) this.connectedMs = this.lastActivityMs;
    upstream.send(request, this);
    if (request.framing.kind === 'none') this.#isRepeating = false;
    else this.#sendBody(upstream);
  }

  #sendBody(upstream: Upstream): void {
    if (this.#isRepeating) this.#sendBodyAgain(upstream);
    else if (upstream.reportsUnprocessed) this.#replay = [];
    if (this.#bodyEnd === null) this.#client.wantsBody();
  }

  #keepForReplay(piece: Buffer): void {
    this.#replayBytes += piece.length;
    // What comes between two attempts is kept in any case: the client is told to wait.
    if (this.#replayBytes <= REPLAYED_BYTES || this.#upstream === null) this.#replay?.push(piece);
    else this.#replay = null;
  }

  #sendBodyAgain(upstream: Upstream): void {
    this.#isRepeating = false;
    for (const piece of this.#replay ?? []) upstream.writeBody(piece);
    if (this.#bodyEnd !== null) upstream.endBody(this.#bodyEnd);
  }

  onInterim(head: ResponseHead): void {
    this.lastActivityMs = performance.now();
    this.#client.onInterim(head);
  }

  onHead(head: ResponseHead, framing: Framing): void {
    this.lastActivityMs = performance.now();
    this.#replay = null;
    this.#client.onHead(head, framing);
  }

  get takesLentBytes(): boolean {
    return this.#client.takesLentBytes ?? false;
  }

  onData(piece: Buffer): boolean {
    this.lastActivityMs = performance.now();
    return this.#client.onData(piece);
  }

  onFlush(): void {
    // Also called after the last byte of a response.
    if (!this.#isOver) this.#client.onFlush();
  }

  onEnd(trailers: readonly string[]): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#client.onEnd(trailers);
  }

  onFailed({ code, rule, isFresh, isUnprocessed }: Failure): void {
    if (this.#isOver) return;
    const { mayHaveHappened } = this;
    this.#upstream = null;
    if (isFresh && (isUnprocessed ? this.#maySendAgain() : this.#mayTryAgain())) {
      this.#isRepeating = true;
      void this.#dial();
      return;
    }
    this.#isOver = true;
    this.#fail({ code, rule, mayHaveHappened: mayHaveHappened && !isUnprocessed, isUnprocessed });
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

  /** The backend did not process it, and nothing of it is lost. */
  #maySendAgain(): boolean {
    return (!this.#hasSentBody || this.#replay !== null) && ++this.#unprocessed <= UNPROCESSED_MAX;
  }

  /** Most likely a kept connection was closed by the pod at this very moment. */
  #mayTryAgain(): boolean {
    const { framing, method } = this.#request;
    if (this.#wasRepeated || !this.#usesKept || framing.kind !== 'none' || !IDEMPOTENT.has(method)) return false;
    this.#wasRepeated = true;
    return true;
  }

  #fail(failure: ExchangeFailure): void {
    if (this.#client.hasAnswered) this.#client.onBroken(failure);
    else this.#client.onUnreachable(failure);
  }
}

function codeOf(dialed: Exclude<Dialed<Upstream>, { readonly kind: 'connected' }>): string {
  if (dialed.kind === 'failed') return errorCode(dialed.error) ?? 'UNKNOWN';
  return dialed.kind === 'refused' ? dialed.code : 'MOVED';
}

/** There was no connection: nothing was sent. */
function notSent(code: string): ExchangeFailure {
  const rule = code === 'NOT_H2C' ? 'It does not speak HTTP/2 in plaintext (h2c), although its stanza says so.' : null;
  return { code, rule, mayHaveHappened: false, isUnprocessed: false };
}
