import type { TLSSocket } from 'node:tls';
import { type GuardedInterval, setGuardedInterval } from '../../../core/guarded-timer.ts';
import type { Logger } from '../../../core/logger.ts';
import { isWaking, type Route } from '../../../core/route.ts';
import type { ConnectionInfo } from '../../connection/connection-info.ts';
import type { Holds } from '../../dial/holds.ts';
import { introduceClient } from '../../proxy-protocol/introduce-client.ts';
import { type FullCode, podPlacesOf, type PodPlaces } from '../../limits/pod-places.ts';
import type { Refusal } from '../../connection/refusal.ts';
import type { RequestTelemetry } from '../../telemetry/request-telemetry.ts';
import type { Telemetry } from '../../telemetry/telemetry.ts';
import type { RunningSessions } from '../../session/running-sessions.ts';
import type { CutReason } from '../../policy/standing.ts';
import { ClientSession } from './http2/client-session.ts';
import { ClientConnection } from './http1/client-connection.ts';
import type { ConnectionParts, HttpClient, HttpConnection } from './exchange/connection-parts.ts';
import type { ExchangeFailure } from './exchange/exchange.ts';
import { type Accepted, Judge, type JudgeOptions, type Verdict } from './exchange/judge.ts';
import { HeldRequests } from './exchange/held-requests.ts';
import type { HttpLimits } from './exchange/limits.ts';
import { problemOfRefusal } from './responses/problem.ts';
import type { PodUses } from '../../use/pod-uses.ts';
import { UpstreamPools, type WaitingPod } from './upstream-pools.ts';
import type { UpstreamPool } from './exchange/upstream.ts';
import type { RequestHead } from './wire/head.ts';

export { DEFAULT_HTTP_LIMITS, type HttpLimits } from './exchange/limits.ts';
export type { WaitingPod } from './upstream-pools.ts';

export interface HttpProtocolOptions extends JudgeOptions {
  readonly telemetry: Pick<Telemetry, 'refused' | 'requestBegan' | 'requestRouted' | 'requestEnded'>;
  readonly apiSocketPath: string;
  readonly limits: HttpLimits;
  /** Counts a request or tunnel for its pod, its owner and its tenant; null = counted, to be released exactly once. */
  readonly acquirePod: (places: PodPlaces, done: (refusal: FullCode | null) => void) => void;
  readonly releasePod: (places: PodPlaces) => void;
  /** Counts a request against its client's connections; false = it has as many as it may. Released exactly once when true. */
  readonly acquireAddress: (address: string, done: (isAcquired: boolean) => void) => void;
  readonly releaseAddress: (address: string) => void;
  readonly sessions: Pick<RunningSessions, 'add'>;
  readonly holds: Holds;
  readonly uses: PodUses;
  readonly log: Logger;
  /** A connection to this pod may be waiting for one that another worker keeps. Default: there is no other worker. */
  readonly notifyWorkers?: (waiting: WaitingPod) => void;
  /** The API's version, for its envelope; null there when not given. */
  readonly version?: string;
}

export interface HttpProtocol {
  /** Serves HTTP/2 where the handshake chose it, else HTTP/1.1, on a TLS socket until it ends. */
  accept(socket: TLSSocket, info: ConnectionInfo): void;
  /** Refuses whatever is asked on a connection whose handshake chose HTTP/2. */
  refuse(socket: TLSSocket, info: ConnectionInfo, refusal: Refusal): void;
  /** No further request is taken; those under way end in peace. */
  close(): void;
  /** Another worker has called `notifyWorkers`. */
  makeRoom(waiting: WaitingPod): void;
  /** Requests and tunnels under way. */
  activeRequests(): number;
}

/** How often deadlines are looked at: one timer for all connections, instead of some for each request. */
const CHECK_INTERVAL_MAX_MS = 500;

/**
 * HTTP in front of pods and of the API: a strict HTTP/1.1 reader of our own on both sides (`wire/`), kept connections to
 * each pod, and one verdict for each request.
 */
export function createHttpProtocol(options: HttpProtocolOptions): HttpProtocol {
  return new Protocol(options);
}

class Protocol implements HttpProtocol, ConnectionParts {
  readonly limits: HttpLimits;
  readonly judge: Judge;
  readonly held: HeldRequests;
  readonly uses: PodUses;
  readonly version: string | null;
  readonly #options: HttpProtocolOptions;
  readonly #pools: UpstreamPools;
  readonly #connections = new Set<HttpConnection>();
  #checking: GuardedInterval | null = null;
  #active = 0;
  #closing = false;

  constructor(options: HttpProtocolOptions) {
    this.#options = options;
    this.limits = options.limits;
    this.version = options.version ?? null;
    this.judge = new Judge(options);
    this.held = new HeldRequests(options.holds);
    this.uses = options.uses;
    this.#pools = new UpstreamPools(options.limits, options.apiSocketPath, options.notifyWorkers);
  }

  accept(socket: TLSSocket, info: ConnectionInfo): void {
    if (this.#closing || socket.destroyed) {
      socket.destroy();
      return;
    }
    const isHttp2 = socket.alpnProtocol === 'h2';
    this.#watch(isHttp2 ? new ClientSession(socket, info, this, null) : new ClientConnection(socket, info, this));
  }

  refuse(socket: TLSSocket, info: ConnectionInfo, refusal: Refusal): void {
    if (this.#closing || socket.destroyed) socket.destroy();
    else this.#watch(new ClientSession(socket, info, this, problemOfRefusal(refusal)));
  }

  #watch(connection: HttpConnection): void {
    this.#checking ??= this.#startChecking();
    this.#connections.add(connection);
  }

  close(): void {
    this.#closing = true;
    for (const connection of this.#connections) connection.close();
    this.#closeWhenIdle();
  }

  activeRequests(): number {
    return this.#active;
  }

  isClosing(): boolean {
    return this.#closing;
  }

  began(info: ConnectionInfo, protocol: RequestTelemetry['protocol']): RequestTelemetry {
    this.#active++;
    return this.#options.telemetry.requestBegan(info, protocol);
  }

  judged(telemetry: RequestTelemetry, head: RequestHead, verdict: Verdict): void {
    const { address, passedOn } = verdict.client;
    telemetry.head = head;
    if (passedOn !== null) telemetry.clientAddress = address;
    if (verdict.kind === 'api') telemetry.isForApi = true;
    else if (verdict.route !== null) this.#options.telemetry.requestRouted(telemetry, verdict.route);
  }

  ended(telemetry: RequestTelemetry): void {
    this.#active--;
    this.#options.telemetry.requestEnded(telemetry);
    this.#closeWhenIdle();
  }

  gone(connection: HttpConnection, { id }: ConnectionInfo): void {
    this.#connections.delete(connection);
    this.#pools.ownerGone(id);
  }

  poolNow(accepted: Accepted, { info, socket }: HttpClient): UpstreamPool | null {
    if (accepted.kind === 'api') return this.#pools.api();
    const { host } = accepted.request;
    const route = this.#options.table.get(host);
    const backend = route?.backend ?? null;
    if (route === undefined || backend?.uid !== accepted.backend.uid) return null;
    if (route.sendProxyProtocol === undefined) return this.#pools.of(host, backend, route.backendProtocol);
    const owner = { id: info.id, version: route.sendProxyProtocol };
    return this.#pools.owned(host, backend, route.backendProtocol, owner, () => introduceClient(route, info, socket));
  }

  wakingNow(accepted: Accepted): Route | null {
    // Nobody waits who has not logged in.
    if (accepted.kind === 'api' || accepted.visitor?.user === null) return null;
    const route = this.#options.table.get(accepted.request.host);
    return route !== undefined && route.uid === accepted.route.uid && isWaking(route) ? route : null;
  }

  acquire(
    accepted: Accepted,
    info: ConnectionInfo,
    uses: 'connection' | 'stream',
    cut: (reason: CutReason) => void,
    done: (outcome: (() => void) | FullCode) => void,
  ): void {
    if (uses === 'connection') {
      this.#acquirePod(accepted, info, cut, done);
      return;
    }
    const { acquireAddress, releaseAddress } = this.#options;
    const { remoteAddress } = info;
    acquireAddress(remoteAddress, (isAcquired) => {
      if (!isAcquired) {
        done('route.full');
        return;
      }
      this.#acquirePod(accepted, info, cut, (outcome) => {
        if (typeof outcome === 'string') {
          releaseAddress(remoteAddress);
          done(outcome);
          return;
        }
        done(() => {
          outcome();
          releaseAddress(remoteAddress);
        });
      });
    });
  }

  #acquirePod(
    accepted: Accepted,
    info: ConnectionInfo,
    cut: (reason: CutReason) => void,
    done: (outcome: (() => void) | FullCode) => void,
  ): void {
    if (accepted.kind === 'api') {
      done(nothing);
      return;
    }
    const { uid } = accepted.backend;
    const places = podPlacesOf(accepted.route, accepted.client.address);
    const { acquirePod, releasePod, sessions } = this.#options;
    acquirePod(places, (full) => {
      if (full !== null) {
        done(full);
        return;
      }
      const { visitor, client, request } = accepted;
      const identity = {
        ...{ remoteAddress: client.address, proof: info.proof, user: visitor?.user ?? null },
        ...(visitor?.user === null && { target: request.target }),
      };
      const isObserved = accepted.route.sleep !== undefined;
      const forget = sessions.add({ host: accepted.request.host, uid, identity, tlsEnd: 'gateway', isObserved, cut });
      done(() => {
        forget();
        releasePod(places);
      });
    });
  }

  log(
    accepted: Accepted,
    { remoteAddress }: ConnectionInfo,
    { code, rule }: Pick<ExchangeFailure, 'code' | 'rule'>,
    message: string,
  ): void {
    const to = accepted.kind === 'pod' ? { pod: accepted.route.podId, tenant: accepted.route.tenant } : { pod: null };
    this.#options.log.info(
      { id: accepted.requestId, host: accepted.request.host, remoteAddress, ...to, code, rule },
      message,
    );
  }

  makeRoom(waiting: WaitingPod): void {
    this.#pools.makeRoom(waiting);
  }

  #startChecking(): GuardedInterval {
    const { headersTimeoutMs, keepAliveTimeoutMs, lingerMs, upstreamIdleMs } = this.limits;
    const shortestMs = Math.min(headersTimeoutMs, keepAliveTimeoutMs, lingerMs, upstreamIdleMs);
    const timer = setGuardedInterval({
      everyMs: Math.min(CHECK_INTERVAL_MAX_MS, Math.max(25, shortestMs / 4)),
      work: () => this.#checkDeadlines(),
      name: 'deadlines of HTTP',
      log: this.#options.log,
    });
    timer.unref();
    return timer;
  }

  #checkDeadlines(): void {
    const nowMs = performance.now();
    for (const connection of this.#connections) connection.checkDeadlines(nowMs);
    this.#pools.sweep(this.#options.table);
  }

  #closeWhenIdle(): void {
    if (!this.#closing || this.#active > 0) return;
    this.#checking?.stop();
    this.#checking = null;
    this.#pools.close();
  }
}

function nothing(): void {
  // The API's own limits are in the API.
}
