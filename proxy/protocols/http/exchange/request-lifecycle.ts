import type { Socket } from 'node:net';
import type { RefusalCode } from '../../../../core/errors.ts';
import type { Route, RouteSleep } from '../../../../core/route.ts';
import type { ConnectionInfo } from '../../../connection/connection-info.ts';
import { StallWatch } from '../../../limits/stall-watch.ts';
import { refusalOfSleeper } from '../../../policy/locate.ts';
import type { CutReason } from '../../../policy/standing.ts';
import type { RequestTelemetry } from '../../../telemetry/request-telemetry.ts';
import { noteResponse, type OwnResponse } from '../responses/own-response.ts';
import { problemOfCode } from '../responses/problem.ts';
import type { Framing } from '../wire/body-reader.ts';
import { expectsContinue } from '../wire/connection-header.ts';
import type { RequestHead, ResponseHead } from '../wire/head.ts';
import type { Hold } from '../../../dial/holds.ts';
import type { Located } from '../../../dial/dial.ts';
import type { WholeResponse } from '../responses/own-response.ts';
import type { SessionUse } from '../../../use/session-use.ts';
import { fieldOf } from './headers.ts';
import type { ConnectionParts } from './connection-parts.ts';
import { Exchange, type ExchangeClient, type ExchangeFailure } from './exchange.ts';
import type { HeldBody } from './held-body.ts';
import type { Accepted, Pending, Verdict, Waking } from './judge.ts';
import { clientPace } from './limits.ts';
import { withoutTold } from './login-fields.ts';
import type { RequestCarrier, ResponseWriter } from './request-carrier.ts';
import type { UpstreamPool } from './upstream.ts';
import { whileAsleep } from './while-asleep.ts';

type State<R> =
  /** Not judged yet. */
  | { readonly phase: 'new' }
  /** For its pod, which sleeps or starts. */
  | { readonly phase: 'held'; readonly leaving: AbortController; readonly body: HeldBody }
  /** For a place at its pod. */
  | { readonly phase: 'waiting' }
  /** To the pod, or the API. */
  | { readonly phase: 'forwarded'; readonly accepted: Accepted; readonly exchange: Exchange; readonly response: R }
  /** The connection was upgraded. */
  | { readonly phase: 'tunnel'; readonly backend: Socket; readonly cut: (reason: CutReason) => void }
  /** The pod's response is complete, or broke off; the client may not have taken all of it yet. */
  | { readonly phase: 'answered' }
  /** The response is the gateway's; the client may not have taken all of it yet. */
  | { readonly phase: 'refused' }
  | { readonly phase: 'over' };

const NEW = { phase: 'new' } as const;
const WAITING = { phase: 'waiting' } as const;
const ANSWERED = { phase: 'answered' } as const;
const REFUSED = { phase: 'refused' } as const;
const OVER = { phase: 'over' } as const;

/**
 * One request, from its head to the end of its response or tunnel: judged, given a place at its pod, forwarded, watched for
 * clients and APIs that are too slow, cut when the route changes, reported. The same for both versions of HTTP: what differs
 * is behind `RequestCarrier`.
 */
export class RequestLifecycle<R extends ResponseWriter> implements ExchangeClient {
  readonly head: RequestHead;
  readonly telemetry: RequestTelemetry;
  readonly #parts: ConnectionParts;
  readonly #carrier: RequestCarrier<R>;
  #state: State<R> = NEW;
  /** Of the request; `continued` = the client was told (100) to send it. */
  #body: 'due' | 'continued' | 'done' = 'due';
  /** performance.now() by which the body must be complete. */
  #deadlineMs = Infinity;
  /** It was asked who the client is. */
  #wasProven = false;
  /** Gives the place at the pod back. */
  #release = nothing;
  /** Most requests never wait for a pod. */
  #hold: Hold | null = null;
  /** What was read of the body meanwhile. */
  #heldBody: HeldBody | null = null;
  /** Of a pod that may sleep. */
  #use: SessionUse | null = null;
  /** Most requests are over before the first check. */
  #stall: StallWatch | null = null;

  /** `number` counts the requests of the connection, from 1. */
  constructor(parts: ConnectionParts, carrier: RequestCarrier<R>, head: RequestHead, number: number) {
    this.#parts = parts;
    this.#carrier = carrier;
    this.head = head;
    const { info } = carrier.client;
    this.telemetry = parts.began(info, carrier.traits.protocol);
    this.telemetry.id = requestIdOf(info, number);
  }

  get takesLentBytes(): boolean {
    return this.#carrier.traits.takesLentBytes;
  }

  get hasAnswered(): boolean {
    const state = this.#state;
    switch (state.phase) {
      case 'forwarded':
        return state.response.hasBegun;
      case 'tunnel':
      case 'answered':
      case 'refused':
      case 'over':
        return true;
      case 'new':
      case 'held':
      case 'waiting':
        return false;
    }
  }

  /** A response is complete, the pod's or the gateway's, and the client may not have taken all of it yet. */
  get isResponseComplete(): boolean {
    return this.#state.phase === 'answered' || this.#state.phase === 'refused';
  }

  get isBodyDone(): boolean {
    return this.#body === 'done';
  }

  /** The body can be passed on. */
  get takesBody(): boolean {
    const state = this.#state;
    return state.phase === 'held' ? state.body.takesMore : state.phase === 'forwarded' && state.exchange.takesBody;
  }

  /** No body follows the head. */
  hasNoBody(): void {
    this.#body = 'done';
  }

  /** Judges the request, takes a place at its pod, and forwards it. */
  begin(framing?: Framing | string): void {
    const { info } = this.#carrier.client;
    const verdict = this.#parts.judge.judge(this.head, info, this.telemetry.id, framing);
    this.#parts.judged(this.telemetry, this.head, verdict);
    this.#goOn(verdict);
  }

  #goOn(verdict: Verdict): void {
    const { judge, limits } = this.#parts;
    const { info } = this.#carrier.client;
    if (verdict.kind === 'refused') {
      this.refuse(verdict.response);
      return;
    }
    if (verdict.kind === 'unproven') {
      this.#prove(verdict);
      return;
    }
    this.#wasProven = false;
    if (verdict.kind === 'waking') {
      this.#wake(verdict);
      return;
    }
    const objection = this.#carrier.accept(verdict, this.head);
    if (objection !== null) {
      this.refuse(problemOfCode('request.malformed', this.telemetry.id, objection));
      return;
    }
    if (limits.requestTimeoutMs > 0) this.#deadlineMs = performance.now() + limits.requestTimeoutMs;
    if (verdict.kind === 'pod' && verdict.route.sleep !== undefined) this.#beginUse(verdict, verdict.route.sleep);
    this.#state = WAITING;
    this.#parts.acquire(verdict, info, this.#carrier.uses, this.#cut, (outcome) => {
      // The place may have been requested from another process.
      if (this.#state.phase !== 'waiting') {
        if (typeof outcome === 'function') outcome();
      } else if (typeof outcome === 'string') this.refuse(judge.full(verdict, outcome));
      else {
        this.#release = outcome;
        this.#forward(verdict);
      }
    });
  }

  /** Waits until it is known who the client is, and judges anew: once in a row. */
  #prove({ request, prove }: Pending): void {
    const { judge } = this.#parts;
    if (this.#wasProven) {
      this.refuse(judge.unproven(this.telemetry.id));
      return;
    }
    this.#wasProven = true;
    this.#state = WAITING;
    prove(() => {
      if (this.#state.phase !== 'waiting') return;
      this.#state = NEW;
      this.#goOn(judge.judge(this.head, this.#carrier.client.info, this.telemetry.id, request.framing));
    });
  }

  /** From the very moment of the verdict on. What wakes no pod keeps none awake. */
  #beginUse(
    { request, route, visitor }: Extract<Accepted, { readonly kind: 'pod' }>,
    { probePaths }: RouteSleep,
  ): void {
    if (visitor?.user === null) return;
    const kind = whileAsleep(this.head, request.target, probePaths);
    if (kind === 'probe' || kind === 'refuse') return;
    this.#use = this.#parts.uses.session(route.uid);
    this.#use.set('requests', true);
  }

  /** Its pod sleeps or starts. */
  #wake(waking: Waking): void {
    const { judge, held } = this.#parts;
    const { route, request, requestId, client } = waking;
    const kind = whileAsleep(this.head, request.target, route.sleep?.probePaths ?? []);
    switch (waking.isAnonymous && kind !== 'probe' ? 'refuse' : kind) {
      case 'probe':
        this.refuse(probeResponse(requestId));
        return;
      case 'refuse':
        this.refuse(judge.notWoken(waking, refusalOfSleeper(route)));
        return;
      case 'page':
        this.telemetry.heldMs = 0;
        this.refuse(judge.notWoken(waking, held.wake(route, client.address) ?? 'route.starting'));
        return;
      case 'hold':
        void this.#waitFor(waking);
    }
  }

  async #waitFor(waking: Waking): Promise<void> {
    const { judge, held } = this.#parts;
    const hold = (this.#hold ??= held.of(waking.client.address));
    const body = (this.#heldBody ??= held.body());
    const state = { phase: 'held', leaving: new AbortController(), body } as const;
    this.#state = state;
    try {
      const code = await this.#wait(hold, waking.route, state.leaving.signal);
      // It may have been abandoned in the same turn.
      if (this.#state !== state) return;
      if (code !== null && held.isDrained) this.#drained(waking);
      else if (code !== null) this.refuse(judge.notWoken(waking, code));
      else {
        const { info } = this.#carrier.client;
        this.#goOn(judge.judge(this.head, info, this.telemetry.id, waking.request.framing));
      }
    } catch {
      // Its client is gone.
    }
  }

  /** This gateway ends. Nothing of the request was processed: the next one takes it. */
  #drained(waking: Waking): void {
    if (this.#carrier.returnUnprocessed()) {
      this.telemetry.end = 'cut';
      this.#leave(ANSWERED);
    } else this.refuse(this.#parts.judge.drained(waking));
  }

  async #wait(hold: Hold, route: Route, signal: AbortSignal): Promise<RefusalCode | null> {
    try {
      return await this.#parts.held.wait(hold, route, signal);
    } finally {
      this.telemetry.heldMs = hold.heldMs;
    }
  }

  notYet(): Extract<Located<never>, { readonly kind: 'not-yet' }> | null {
    const state = this.#state;
    const route = state.phase === 'forwarded' ? this.#parts.wakingNow(state.accepted) : null;
    if (state.phase !== 'forwarded' || route === null) return null;
    const hold = (this.#hold ??= this.#parts.held.of(state.accepted.client.address));
    return { kind: 'not-yet', whenChanged: (signal) => this.#wait(hold, route, signal) };
  }

  #forward(accepted: Accepted): void {
    const exchange = new Exchange(this.#carrier.outgoingRequest(accepted, this.head), this);
    const response = this.#carrier.createResponse(accepted, this.head);
    this.#state = { phase: 'forwarded', accepted, exchange, response };
    const held = this.#heldBody;
    if (held !== null && held.trailers !== null) held.trailers = trailersFor(accepted, held.trailers);
    exchange.start(held);
  }

  /** False = the pod is slow: `wantsBody` of the carrier asks for more. */
  writeBody(piece: Buffer): boolean {
    this.telemetry.bytesIn += piece.length;
    const state = this.#state;
    if (state.phase === 'held') return state.body.add(piece);
    return state.phase === 'forwarded' && state.exchange.takesBody && state.exchange.writeBody(piece);
  }

  endBody(trailers: readonly string[]): void {
    this.#body = 'done';
    const state = this.#state;
    if (state.phase === 'held') state.body.trailers = trailers;
    if (state.phase !== 'forwarded' || state.accepted.request.framing.kind === 'none') return;
    state.exchange.endBody(trailersFor(state.accepted, trailers));
  }

  /** The client takes more of the response. */
  resumeResponse(): void {
    if (this.#state.phase === 'forwarded') this.#state.exchange.resumeResponse();
  }

  /** The pod need not go on with it. */
  abandon(): void {
    if (this.#state.phase === 'forwarded') this.#state.exchange.abandon();
    else if (this.#state.phase === 'held') this.#state.leaving.abort();
  }

  /** Responds in the pod's place, if the client can still be sent a response. */
  refuse(response: OwnResponse): void {
    if (!this.#carrier.canRespond) return;
    noteResponse(this.telemetry, response);
    this.#leave(REFUSED);
    this.#carrier.respond(response);
  }

  /** The response has been handed over, or the carrier is gone: gives the place back and reports the request. Once. */
  finish(): void {
    const state = this.#state;
    if (state.phase === 'over') return;
    this.abandon();
    this.#leave(OVER);
    if (state.phase === 'tunnel') {
      if (this.telemetry.end !== 'cut') this.telemetry.end = 'tunnel';
      this.telemetry.bytesIn = state.backend.bytesWritten;
      this.telemetry.bytesOut = state.backend.bytesRead;
    }
    this.#heldBody?.take();
    this.#use?.end();
    const release = this.#release;
    this.#release = nothing;
    release();
    this.#parts.ended(this.telemetry);
  }

  /** Called at intervals. */
  checkDeadlines(nowMs: number): void {
    const state = this.#state;
    if (this.#isLate(nowMs) || this.#isClientStalled(nowMs)) this.#timeOut();
    else if (state.phase === 'forwarded' && state.accepted.kind === 'api') {
      // The API responds in time, or its caller gets an error. Pods may be silent for hours.
      if (nowMs - state.exchange.lastActivityMs > this.#parts.limits.apiAnswerMs) state.exchange.giveUp('SILENT');
    }
  }

  #isLate(nowMs: number): boolean {
    if (nowMs < this.#deadlineMs || this.#body === 'done') return false;
    return this.#state.phase === 'waiting' || this.#state.phase === 'forwarded';
  }

  /** A client that sends too little of a body its pod waits for, or takes too little of a response, wastes a place. */
  #isClientStalled(nowMs: number): boolean {
    const state = this.#state;
    const isForwarded = state.phase === 'forwarded';
    if (isForwarded ? !state.exchange.takesBody : !this.isResponseComplete) return false;
    const { isResponseUnsent, unsentBytes } = this.#carrier;
    const isWaitedFor = isResponseUnsent || (isForwarded && !state.response.hasBegun && this.#isBodyExpected());
    const progress = this.telemetry.bytesIn + this.telemetry.bytesOut - unsentBytes;
    this.#stall ??= new StallWatch();
    return this.#stall.isStalled(nowMs, isWaitedFor, progress, clientPace(this.#parts.limits));
  }

  #isBodyExpected(): boolean {
    if (this.#body === 'done' || !this.#carrier.isBodyExpected) return false;
    // A client that expects 100 (Continue) waits for it.
    return this.#body === 'continued' || !expectsContinue(this.head);
  }

  #timeOut(): void {
    this.#deadlineMs = Infinity;
    this.abandon();
    if (!this.hasAnswered) {
      this.refuse(problemOfCode('request.timeout', this.telemetry.id, this.#carrier.traits.timeoutHint));
      return;
    }
    this.telemetry.end = 'deadline';
    this.#carrier.abort('the request took too long');
  }

  /** The pod is gone, or no longer admits this client: responds so if no response has begun. */
  readonly #cut = (reason: CutReason): void => {
    const state = this.#state;
    if (state.phase === 'tunnel') {
      this.telemetry.end = 'cut';
      state.cut(reason);
      return;
    }
    // The client is being told why already.
    if (state.phase === 'refused' || state.phase === 'over') return;
    const mayHaveHappened = state.phase === 'forwarded' && state.exchange.mayHaveHappened;
    this.abandon();
    if (this.hasAnswered) {
      this.telemetry.end = 'cut';
      this.#carrier.abort('the route has changed');
      return;
    }
    const { judge } = this.#parts;
    const verdict = judge.judge(this.head, this.#carrier.client.info, this.telemetry.id);
    this.refuse(judge.cut(verdict, reason, mayHaveHappened, this.telemetry.id));
  };

  #leave(next: typeof ANSWERED | typeof REFUSED | typeof OVER): void {
    if (this.#state.phase === 'forwarded') this.telemetry.connectedMs = this.#state.exchange.connectedMs;
    this.#state = next;
  }

  poolNow(): UpstreamPool | null {
    const state = this.#state;
    return state.phase === 'forwarded' ? this.#parts.poolNow(state.accepted, this.#carrier.client) : null;
  }

  wantsBody(): void {
    if (this.#body !== 'done') this.#carrier.wantsBody();
  }

  onInterim(head: ResponseHead): void {
    if (head.status === 100 && this.#body === 'due') this.#body = 'continued';
    if (this.#state.phase === 'forwarded') this.#state.response.interim(head);
  }

  onHead(head: ResponseHead, framing: Framing): void {
    const state = this.#state;
    if (state.phase !== 'forwarded') return;
    const fault = this.#carrier.faultOf(head);
    if (fault !== null) {
      state.exchange.giveUp('INVALID_ANSWER', fault);
      return;
    }
    this.telemetry.status = head.status;
    this.telemetry.firstByteMs = state.exchange.lastActivityMs;
    // A stream of events may be open all day: it is use while it says something.
    if (this.#use !== null && isEventStream(head)) this.#use.set('requests', false);
    state.response.head(head, framing);
  }

  onData(piece: Buffer): boolean {
    const state = this.#state;
    if (state.phase !== 'forwarded') return true;
    this.telemetry.bytesOut += piece.length;
    this.#use?.touch();
    return state.response.data(piece);
  }

  onFlush(): void {
    if (this.#state.phase === 'forwarded') this.#state.response.flush();
  }

  onEnd(trailers: readonly string[]): void {
    const state = this.#state;
    if (state.phase !== 'forwarded') return;
    state.response.end(trailers);
    this.telemetry.end = 'answered';
    this.#leave(ANSWERED);
    this.#carrier.onResponseEnd();
  }

  onUnreachable(failure: ExchangeFailure): void {
    const state = this.#state;
    if (state.phase !== 'forwarded') return;
    const { accepted } = state;
    this.telemetry.brokenRule = failure.rule;
    this.#parts.log(accepted, this.#carrier.client.info, failure, 'a backend did not answer');
    if (failure.isUnprocessed && this.#carrier.returnUnprocessed()) {
      this.telemetry.end = 'backend';
      this.#leave(ANSWERED);
    } else this.refuse(this.#parts.judge.failed(accepted, failure));
  }

  onBroken(failure: ExchangeFailure): void {
    const state = this.#state;
    if (state.phase !== 'forwarded') return;
    const { accepted, response } = state;
    this.telemetry.end = 'backend';
    this.telemetry.brokenRule = failure.rule;
    this.#parts.log(accepted, this.#carrier.client.info, failure, 'an answer broke off');
    if (failure.rule !== null) this.#parts.judge.noteBroken(accepted, failure.rule);
    response.flush();
    this.#leave(ANSWERED);
    this.#carrier.breakOff();
  }

  onUpgraded(head: ResponseHead, backend: Socket, fromBackend: Buffer): void {
    const state = this.#state;
    if (state.phase !== 'forwarded' || !this.#carrier.canRespond) {
      backend.destroy();
      return;
    }
    const rule = this.#carrier.faultOf(head);
    if (rule !== null) {
      backend.destroy();
      this.onUnreachable({ code: 'INVALID_ANSWER', rule, mayHaveHappened: false, isUnprocessed: false });
      return;
    }
    this.telemetry.status = this.#carrier.traits.tunnelStatus;
    this.telemetry.firstByteMs = performance.now();
    this.telemetry.connectedMs = state.exchange.connectedMs;
    this.#use?.set('requests', false);
    const cut = this.#carrier.openTunnel(state.response, head, backend, fromBackend, this.#use);
    this.#state = { phase: 'tunnel', backend, cut };
  }
}

function isEventStream({ rawHeaders }: ResponseHead): boolean {
  return /^text\/event-stream\b/i.test(fieldOf(rawHeaders, 'content-type') ?? '');
}

/** To a monitor a pod that sleeps is well: it wakes for its clients. */
function probeResponse(requestId: string): WholeResponse {
  const headers = ['Content-Type', 'text/plain; charset=utf-8', 'Cache-Control', 'no-store'];
  return { kind: 'whole', status: 200, code: null, requestId, headers, body: Buffer.from('asleep\n') };
}

/** Requests of one connection are told apart by their number. */
function requestIdOf({ id }: ConnectionInfo, number: number): string {
  return number === 1 ? id : `${id}-${String(number)}`;
}

function trailersFor(accepted: Accepted, trailers: readonly string[]): readonly string[] {
  const visitor = accepted.kind === 'pod' ? accepted.visitor : null;
  return visitor === null ? trailers : withoutTold(trailers, visitor);
}

function nothing(): void {
  // It holds no place.
}
