import type { Socket } from 'node:net';
import { endWith } from '../../../bytes/end-with.ts';
import { whenFlushed } from '../../../bytes/linger.ts';
import type { ConnectionInfo } from '../../../connection/connection-info.ts';
import type { SessionUse } from '../../../use/session-use.ts';
import type { CutReason } from '../../../policy/standing.ts';
import type { ConnectionParts, HttpClient, HttpConnection } from '../exchange/connection-parts.ts';
import { forwardedRequest } from '../exchange/forwarded-request.ts';
import { fieldOf } from '../exchange/headers.ts';
import { type Accepted, speaksH2c } from '../exchange/judge.ts';
import type { CarrierTraits, RequestCarrier } from '../exchange/request-carrier.ts';
import { RequestLifecycle } from '../exchange/request-lifecycle.ts';
import type { OutgoingRequest } from '../exchange/upstream.ts';
import { noteResponse, type OwnResponse, renderResponse } from '../responses/own-response.ts';
import { rawResponse, renderProblem } from '../responses/page.ts';
import { type HttpErrorCode, problemOfCode } from '../responses/problem.ts';
import { createBodyReader, type Framing } from '../wire/body-reader.ts';
import { acceptOf, persists, upgradeOf } from '../wire/connection-header.ts';
import type { RequestHead, ResponseHead } from '../wire/head.ts';
import { requestFraming } from '../wire/request-framing.ts';
import { ConnectionDeadline } from './connection-deadline.ts';
import { Http1Response, type Persistence } from './http1-response.ts';
import { openTunnel } from './http1-tunnel.ts';
import { isFinalResponse, ownResponse } from './own-response.ts';
import { type RequestHandler, RequestReader } from './request-reader.ts';

const NOTHING = Buffer.alloc(0);

const TRAITS: CarrierTraits = {
  protocol: 'http/1.1',
  takesLentBytes: true,
  tunnelStatus: 101,
  timeoutHint: 'The connection is closed.',
};

type Request = RequestLifecycle<Http1Response>;

type State =
  /** Waits for a request, or reads its head. */
  | { readonly phase: 'idle' }
  /** `framing` of its body; `upgrade`: the protocol to change to, or null. */
  | { readonly phase: 'request'; readonly request: Request; readonly framing: Framing; upgrade: string | null }
  /** The response is complete, the body is not: its rest is read and discarded. */
  | { readonly phase: 'draining' }
  /** Sends its last bytes, or is a tunnel: no request is read any more. `request`: the one that is not finished. */
  | { readonly phase: 'over'; readonly request: Request | null };

const IDLE = { phase: 'idle' } as const;
const DRAINING = { phase: 'draining' } as const;

/**
 * HTTP/1.1 with one client (RFC 9112): one strict reader for the whole life of the connection, one request at a time. What
 * it does not know it refuses, and a connection on which anything was unclear is closed.
 */
export class ClientConnection implements HttpConnection, RequestHandler, RequestCarrier<Http1Response>, Persistence {
  readonly client: HttpClient;
  readonly #socket: Socket;
  readonly #info: ConnectionInfo;
  readonly #parts: ConnectionParts;
  readonly #reader: RequestReader;
  readonly #deadline: ConnectionDeadline;
  #state: State = IDLE;
  #requests = 0;
  #keepsAlive = true;

  constructor(socket: Socket, info: ConnectionInfo, parts: ConnectionParts) {
    this.client = { info, socket };
    this.#socket = socket;
    this.#info = info;
    this.#parts = parts;
    this.#deadline = new ConnectionDeadline(parts.limits.headersTimeoutMs);
    socket.on('end', this.#onEnd).on('drain', this.#onDrain);
    socket.on('error', ignore).on('close', this.#onClose);
    this.#reader = new RequestReader(socket, parts.limits.headerBytes, this);
  }

  close(): void {
    if (this.#reader.isIdle) this.#end(NOTHING);
    else this.#keepsAlive = false;
  }

  checkDeadlines(nowMs: number): void {
    if (this.#state.phase === 'request') this.#state.request.checkDeadlines(nowMs);
    else if (this.#deadline.isPast(nowMs)) this.#onDeadline();
  }

  #onDeadline(): void {
    switch (this.#deadline.wait) {
      case 'first':
      case 'idle':
        this.#end(NOTHING);
        return;
      case 'head':
        this.#refuse('request.timeout');
        return;
      case 'linger':
        this.#socket.destroy();
        return;
      case 'none':
        return;
    }
  }

  // Persistence

  get keepsAlive(): boolean {
    return this.#keepsAlive;
  }

  endsAfterThis(): void {
    this.#keepsAlive = false;
  }

  // RequestHandler

  onHeadBegun(): void {
    this.#deadline.headBegins(this.#parts.limits.headersTimeoutMs);
  }

  onHead(head: RequestHead): void {
    const { limits } = this.#parts;
    this.#requests++;
    this.#deadline.clear();
    this.#keepsAlive = persists(head) && this.#requests < limits.maxRequestsPerConnection && !this.#parts.isClosing();
    const request: Request = new RequestLifecycle(this.#parts, this, head, this.#requests);
    const read = requestFraming(head);
    const framing: Framing = typeof read === 'string' ? { kind: 'none' } : read;
    if (framing.kind === 'none') request.hasNoBody();
    else this.#reader.expectBody(createBodyReader(framing));
    this.#state = { phase: 'request', request, framing, upgrade: null };
    request.begin(read);
  }

  onRejected(code: 'request.too-large' | 'request.malformed'): void {
    this.#refuse(code);
  }

  get takesBody(): boolean {
    return this.#state.phase === 'request' && this.#state.request.takesBody;
  }

  onBody(piece: Buffer): boolean {
    return this.#state.phase === 'request' && this.#state.request.writeBody(piece);
  }

  onBodyEnd(trailers: readonly string[]): void {
    if (this.#state.phase === 'request') this.#state.request.endBody(trailers);
  }

  onBadBody(fault: string): void {
    if (this.#state.phase !== 'request') return;
    const { request } = this.#state;
    // The pod must not take what it has got for the whole.
    request.abandon();
    if (request.hasAnswered) this.#socket.destroy();
    else request.refuse(problemOfCode('request.malformed', request.telemetry.id, fault));
  }

  onDrained(): void {
    this.#next();
  }

  onUndrainable(): void {
    this.#end(NOTHING);
  }

  // RequestCarrier

  get traits(): CarrierTraits {
    return TRAITS;
  }

  get uses(): 'connection' {
    return 'connection';
  }

  get canRespond(): boolean {
    return this.#state.phase === 'request';
  }

  get isBodyExpected(): boolean {
    return !this.#reader.isHeld;
  }

  get isResponseUnsent(): boolean {
    return this.#socket.writableLength > 0;
  }

  get unsentBytes(): number {
    return this.#socket.writableLength;
  }

  accept(accepted: Accepted, head: RequestHead): string | null {
    // Where the protocol cannot be changed, the request goes on in the one that is spoken (RFC 9110 7.8).
    const upgrade = speaksH2c(accepted) ? null : upgradeOf(head);
    const state = this.#state;
    if (upgrade === null || state.phase !== 'request') return null;
    // What a client sends after a request to upgrade may be in the other protocol already.
    this.#keepsAlive = false;
    this.#state = { ...state, upgrade };
    return state.framing.kind === 'none' ? null : 'A request with Upgrade must not have a body.';
  }

  outgoingRequest(accepted: Accepted, head: RequestHead): OutgoingRequest {
    const upgrade = this.#state.phase === 'request' ? this.#state.upgrade : null;
    return forwardedRequest(head, accepted, this.#info, upgrade);
  }

  createResponse(_accepted: Accepted, head: RequestHead): Http1Response {
    return new Http1Response(this.#socket, head, this);
  }

  faultOf(): null {
    return null;
  }

  wantsBody(): void {
    this.#reader.resume();
  }

  respond(response: OwnResponse): void {
    const state = this.#state;
    if (state.phase !== 'request') return;
    const { request, framing } = state;
    const { head, telemetry } = request;
    const rendered = renderResponse(response, acceptOf(head), this.#parts.version);
    if (head.method !== 'HEAD') telemetry.bytesOut = rendered.body.length;
    if (isFinalResponse(rendered.status, head, this.#reader.isBodyRead ? null : framing)) this.#keepsAlive = false;
    const bytes = ownResponse(rendered, head, this.#keepsAlive);
    if (this.#keepsAlive) {
      this.#socket.write(bytes);
      this.#finish(request);
    } else {
      request.finish();
      this.#end(bytes);
    }
  }

  onResponseEnd(): void {
    if (this.#state.phase === 'request') this.#finish(this.#state.request);
  }

  breakOff(): void {
    // Neither a proper end nor a close_notify: a broken response never looks complete.
    this.#becomesOver();
    this.#reader.stop();
    whenFlushed(this.#socket, () => this.#socket.destroy());
  }

  abort(): void {
    this.#socket.destroy();
  }

  returnUnprocessed(): boolean {
    return false;
  }

  openTunnel(
    response: Http1Response,
    head: ResponseHead,
    backend: Socket,
    fromBackend: Buffer,
    use: SessionUse | null,
  ): (reason: CutReason) => void {
    const socket = this.#socket;
    const asked = this.#state.phase === 'request' ? this.#state.upgrade : null;
    const protocol = fieldOf(head.rawHeaders, 'upgrade') ?? asked ?? '';
    this.#becomesOver();
    socket.off('end', this.#onEnd).off('drain', this.#onDrain).off('close', this.#onClose);
    response.switching(head, protocol);
    const fromClient = this.#reader.stop();
    const { halfClosedMs } = this.#parts.limits;
    return openTunnel({ client: socket, backend, protocol, fromBackend, fromClient, halfClosedMs, use }, this.#onClose);
  }

  // The connection

  readonly #onEnd = (): void => {
    const { phase } = this.#state;
    if (phase === 'idle') this.#end(NOTHING);
    // A client that waits for its response cannot be told from one that is gone. Nearly all are gone, and a pod must not go
    // on working for nobody (nginx and node:http do the same).
    else if (phase !== 'over') this.#socket.destroy();
  };

  readonly #onDrain = (): void => {
    if (this.#state.phase === 'request') this.#state.request.resumeResponse();
  };

  readonly #onClose = (): void => {
    const state = this.#state;
    this.#becomesOver();
    this.#reader.stop();
    if (state.phase === 'request' || state.phase === 'over') state.request?.finish();
    this.#parts.gone(this, this.#info);
  };

  #finish(request: Request): void {
    request.finish();
    if (!this.#keepsAlive) this.#end(NOTHING);
    else if (this.#reader.isBodyRead) this.#next();
    else {
      this.#state = DRAINING;
      this.#deadline.set('linger', this.#parts.limits.lingerMs);
      this.#reader.drain();
    }
  }

  #next(): void {
    this.#state = IDLE;
    if (this.#parts.isClosing()) {
      this.#end(NOTHING);
      return;
    }
    this.#deadline.set('idle', this.#parts.limits.keepAliveTimeoutMs);
    this.#reader.nextHead();
  }

  /** No request could be read: says so and ends. */
  #refuse(code: HttpErrorCode): void {
    const problem = problemOfCode(code, this.#info.id, 'The connection is closed.');
    const telemetry = this.#parts.began(this.#info, 'http/1.1');
    noteResponse(telemetry, problem);
    this.#parts.ended(telemetry);
    this.#end(rawResponse(renderProblem(problem, '', this.#parts.version)));
  }

  #end(bytes: Buffer): void {
    const socket = this.#socket;
    this.#becomesOver();
    this.#reader.discard();
    socket.off('end', this.#onEnd).off('drain', this.#onDrain);
    endWith(socket, bytes);
  }

  #becomesOver(): void {
    const state = this.#state;
    this.#state = { phase: 'over', request: 'request' in state ? state.request : null };
    this.#deadline.clear();
  }
}

function ignore(): void {
  // A 'close' follows.
}
