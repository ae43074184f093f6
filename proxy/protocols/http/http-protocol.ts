import http, { type IncomingMessage, type ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import type { TLSSocket } from 'node:tls';
import type { RefusalCode } from '../../../core/errors.ts';
import type { Logger } from '../../../core/logger.ts';
import { type Backend, type Route, refusalOfStatus } from '../../../core/route.ts';
import type { ConnectionInfo } from '../../connection-info.ts';
import type { Counters } from '../../counters.ts';
import { describeRefusal } from '../../refusal.ts';
import type { RouteTable } from '../../routes/route-table.ts';
import { endWith } from '../farewell.ts';
import { type GoodRequest, examineRequest, isMetricsPath, isTunnelProtocol } from './examine.ts';
import { errorCode } from './dial.ts';
import { forward } from './forward.ts';
import { requestHeaders } from './headers.ts';
import type { HttpLimits } from './limits.ts';
import { rawResponse, renderProblem } from './page.ts';
import { type Problem, problemOfApi, problemOfCode, problemOfRefusal } from './problem.ts';
import { forwardExpecting, tunnel } from './single.ts';
import { type Upstream, UpstreamPools } from './upstream-pools.ts';

export { DEFAULT_HTTP_LIMITS, type HttpLimits } from './limits.ts';

export interface HttpProtocolOptions {
  readonly table: RouteTable;
  /** Where the API is, instead of a pod. */
  readonly baseHosts: () => ReadonlySet<string>;
  readonly apiSocketPath: string;
  /** Where the API is reached from outside, for hints. */
  readonly apiUrl: string;
  readonly limits: HttpLimits;
  /** Feed and watch have been silent for so long that no backend is trusted any more. */
  readonly isStale: () => boolean;
  readonly isAddressAllowed: (route: Route, address: string) => boolean;
  /** Counts a request or tunnel against the pod's limit; false = full. Released exactly once when true. */
  readonly acquirePod: (uid: string) => boolean;
  readonly releasePod: (uid: string) => void;
  readonly counters: Pick<Counters, 'refused'>;
  readonly log: Logger;
  /** The API's version, for its envelope; null there when not given. */
  readonly version?: string;
}

export interface HttpProtocol {
  /** Serves HTTP/1.1 on a TLS socket whose handshake is complete, until it ends. */
  accept(socket: TLSSocket, info: ConnectionInfo): void;
  /** No further request is taken; those under way end in peace. */
  close(): void;
  /** Requests and tunnels under way. */
  activeRequests(): number;
}

/** Bodies up to this size are read and forgotten when their request is refused; else the connection ends with it. */
const DRAINED_BODY_BYTES = 64 * 1024;
const SWEEP_MS = 10_000;

/** One connection and how many requests it has made. */
interface Connection {
  readonly info: ConnectionInfo;
  requests: number;
  /** An answer that has not ended: nothing of ours may be written into it. */
  active: number;
}

type Verdict =
  | { readonly kind: 'problem'; readonly problem: Problem }
  | { readonly kind: 'api'; readonly request: GoodRequest; readonly requestId: string }
  | {
      readonly kind: 'pod';
      readonly request: GoodRequest;
      readonly requestId: string;
      readonly route: Route;
      readonly backend: Backend;
    };

/**
 * HTTP in front of pods and of the API. Every request is judged by itself, so that a kept connection sees a pod stop,
 * start and move. node:http reads requests (strict parser, never listening), undici keeps the connections to pods.
 */
export function createHttpProtocol(options: HttpProtocolOptions): HttpProtocol {
  return new Protocol(options);
}

class Protocol implements HttpProtocol {
  readonly #options: HttpProtocolOptions;
  readonly #server: http.Server;
  readonly #pools: UpstreamPools;
  readonly #connections = new WeakMap<Duplex, Connection>();
  #sweeper: NodeJS.Timeout | null = null;
  #active = 0;
  #closing = false;

  constructor(options: HttpProtocolOptions) {
    this.#options = options;
    this.#pools = new UpstreamPools(options.limits, options.apiSocketPath);
    this.#server = http.createServer({
      maxHeaderSize: options.limits.headerBytes,
      headersTimeout: options.limits.headersTimeoutMs,
      requestTimeout: options.limits.requestTimeoutMs,
      keepAliveTimeout: options.limits.keepAliveTimeoutMs,
      connectionsCheckingInterval: Math.min(5_000, Math.max(100, options.limits.headersTimeoutMs / 4)),
      insecureHTTPParser: false,
      // Answered by us, with a page.
      requireHostHeader: false,
      optimizeEmptyRequests: true,
      shouldUpgradeCallback: (request) => isTunnelProtocol(request.headers.upgrade ?? ''),
    });
    this.#server.maxRequestsPerSocket = options.limits.maxRequestsPerConnection;
    this.#server.on('request', (request, response) => this.#onRequest(request, response, false));
    this.#server.on('checkContinue', (request, response) => this.#onRequest(request, response, true));
    this.#server.on('upgrade', (request, socket, head) => this.#onUpgrade(request, socket, head));
    this.#server.on('connect', (request, socket) => this.#onConnect(request, socket));
    this.#server.on('clientError', (error, socket) => this.#onClientError(error, socket));
  }

  accept(socket: TLSSocket, info: ConnectionInfo): void {
    // A socket that has closed already would stay in the server's list for ever.
    if (this.#closing || socket.destroyed) {
      socket.destroy();
      return;
    }
    if (this.#sweeper === null) {
      this.#sweeper = setInterval(() => this.#pools.sweep(this.#options.table), SWEEP_MS);
      this.#sweeper.unref();
      // A server that never listens never begins to watch its timeouts: this event is what starts that.
      this.#server.emit('listening');
    }
    this.#connections.set(socket, { info, requests: 0, active: 0 });
    this.#server.emit('connection', socket);
    // Whoever looked at the first bytes may have left the socket paused.
    socket.resume();
  }

  close(): void {
    this.#closing = true;
    // Ends idle connections and the watch over timeouts; nothing listens, so there is nothing else to close.
    this.#server.closeIdleConnections();
    this.#closeWhenIdle();
  }

  activeRequests(): number {
    return this.#active;
  }

  #onRequest(request: IncomingMessage, response: ServerResponse, expectsContinue: boolean): void {
    const connection = this.#begin(request);
    if (connection === null) {
      response.destroy();
      return;
    }
    let release: (() => void) | null = null;
    response.once('close', () => {
      release?.();
      this.#end(connection);
    });
    response.once('finish', () => this.#linger(request));
    if (this.#closing) response.shouldKeepAlive = false;
    const verdict = this.#judge(request, connection);
    if (verdict.kind === 'problem') {
      this.#answer(request, response, verdict.problem);
      return;
    }
    release = this.#acquire(verdict);
    if (release === null) {
      this.#answer(request, response, this.#full(verdict, connection));
      return;
    }
    const upstream = this.#upstreamOf(verdict);
    const headers = requestHeaders(request.rawHeaders, forwardedFor(verdict, connection));
    const onUnreachable = (code: string) => {
      this.#answer(request, response, this.#unreachable(verdict, connection, code));
    };
    const { target, hasBody, bodyBytes } = verdict.request;
    if (expectsContinue && hasBody) {
      const { limits } = this.#options;
      const single = { request, response, upstream, target, headers, limits, isChunked: bodyBytes === null };
      forwardExpecting({ ...single, onUnreachable }).catch((error: unknown) => this.#failed(error, response));
      return;
    }
    const onBroken = (code: string) => {
      this.#options.log.info({ ...this.#fields(verdict, connection), code }, 'an answer broke off');
    };
    forward({ request, response, upstream, target, headers, hasBody, onUnreachable, onBroken });
  }

  /** Who is answered and sends the rest of a body slowly, or never, would hold a place that no other timeout watches. */
  #linger(request: IncomingMessage): void {
    if (request.complete || request.socket.destroyed) return;
    const { socket } = request;
    const late = setTimeout(() => {
      if (!request.complete) socket.destroy();
    }, this.#options.limits.lingerMs);
    socket.once('close', () => clearTimeout(late));
  }

  #onUpgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    const connection = this.#begin(request);
    if (connection === null) {
      socket.destroy();
      return;
    }
    request.socket.setTimeout(0);
    socket.on('error', () => socket.destroy());
    const verdict = this.#judge(request, connection);
    const release = verdict.kind === 'problem' ? null : this.#acquire(verdict);
    const onDone = () => {
      release?.();
      this.#end(connection);
    };
    const refuse = (problem: Problem) => {
      endWith(socket, rawResponse(renderProblem(problem, request.headers.accept ?? '', this.#version)));
    };
    if (verdict.kind === 'problem' || release === null || verdict.request.hasBody) {
      socket.once('close', onDone);
      if (verdict.kind === 'problem') refuse(verdict.problem);
      else if (release === null) refuse(this.#full(verdict, connection));
      else refuse(problemOfCode('request.malformed', verdict.requestId, 'A request that upgrades has no body.'));
      return;
    }
    tunnel({
      request,
      client: socket,
      clientHead: head,
      upstream: this.#upstreamOf(verdict),
      target: verdict.request.target,
      headers: requestHeaders(request.rawHeaders, forwardedFor(verdict, connection)),
      upgrade: request.headers.upgrade ?? '',
      limits: this.#options.limits,
      onUnreachable: (code) => refuse(this.#unreachable(verdict, connection, code)),
      onDone,
    }).catch((error: unknown) => this.#failed(error, socket));
  }

  #onConnect(request: IncomingMessage, socket: Duplex): void {
    const requestId = this.#connections.get(request.socket)?.info.id ?? '';
    const problem = problemOfCode('api.method-not-allowed', requestId, 'This is not a forward proxy.');
    endWith(socket, rawResponse(renderProblem(problem, '', this.#version)));
  }

  /** What Node's parser does not take, and who is too slow. */
  #onClientError(error: Error, socket: Duplex): void {
    const connection = this.#connections.get(socket);
    const code = errorCode(error);
    // Within a request (a broken chunk), or with nobody there to read it, there is nothing to answer.
    if (connection === undefined || connection.active > 0 || !isAnswerable(code)) {
      socket.destroy();
      return;
    }
    const kind =
      code === 'HPE_HEADER_OVERFLOW'
        ? 'request.too-large'
        : code === 'ERR_HTTP_REQUEST_TIMEOUT'
          ? 'request.timeout'
          : 'request.malformed';
    this.#options.log.debug({ id: connection.info.id, code }, 'a request was not understood');
    const problem = problemOfCode(kind, connection.info.id, 'The connection is closed.');
    endWith(socket, rawResponse(renderProblem(problem, '', this.#version)));
  }

  #judge(incoming: IncomingMessage, { info, requests }: Connection): Verdict {
    const { table, baseHosts, isStale, isAddressAllowed } = this.#options;
    const requestId = requests === 1 ? info.id : `${info.id}-${String(requests)}`;
    const problem = (value: Problem): Verdict => ({ kind: 'problem', problem: value });
    const refusal = (code: RefusalCode, host: string | null, route: Route | null): Verdict =>
      problem(problemOfRefusal(this.#refused(code, requestId, host, route)));

    if (info.serverName === null) return refusal('route.unknown', null, null);
    const head = {
      method: incoming.method ?? '',
      url: incoming.url ?? '',
      httpVersion: incoming.httpVersion,
      rawHeaders: incoming.rawHeaders,
    };
    const request = examineRequest(head, info.serverName);
    if (request.kind === 'malformed') return problem(problemOfCode('request.malformed', requestId, request.reason));
    if (request.kind === 'misdirected') return refusal('route.misdirected', info.serverName, null);
    if (request.kind === 'bad-method') {
      return problem(problemOfCode('api.method-not-allowed', requestId, 'CONNECT and TRACE are not served.'));
    }
    if (baseHosts().has(request.host)) {
      if (!isMetricsPath(request.target)) return { kind: 'api', request, requestId };
      const hint = 'Metrics are for the inside of the installation only.';
      return problem({ ...problemOfCode('api.not-found', requestId, hint), style: 'envelope' });
    }
    const route = table.get(request.host);
    if (route === undefined) return refusal('route.unknown', request.host, null);
    // The stanza's protocol was changed while this connection was kept: a new one is read anew.
    if (route.protocol !== 'http') return refusal('route.misdirected', request.host, route);
    if (!isAddressAllowed(route, info.remoteAddress)) return refusal('route.forbidden', request.host, route);
    if (route.backend === null) return refusal(refusalOfStatus(route.status), request.host, route);
    if (isStale()) return refusal('route.unreachable', request.host, route);
    return { kind: 'pod', request, requestId, route, backend: route.backend };
  }

  #refused(code: RefusalCode, requestId: string, host: string | null, route: Route | null) {
    this.#options.counters.refused[code]++;
    return describeRefusal(code, { requestId, host, route, apiUrl: this.#options.apiUrl });
  }

  #upstreamOf(verdict: Exclude<Verdict, { kind: 'problem' }>): Upstream {
    if (verdict.kind === 'api') return this.#pools.api();
    const { request, backend } = verdict;
    return this.#pools.of(request.host, backend, () => this.#options.table.leadsTo(request.host, backend));
  }

  /** Null = the pod is full. */
  #acquire(verdict: Exclude<Verdict, { kind: 'problem' }>): (() => void) | null {
    if (verdict.kind === 'api') return () => undefined;
    const { uid } = verdict.backend;
    return this.#options.acquirePod(uid) ? () => this.#options.releasePod(uid) : null;
  }

  #full(verdict: Exclude<Verdict, { kind: 'problem' }>, connection: Connection): Problem {
    const route = verdict.kind === 'pod' ? verdict.route : null;
    this.#options.log.info(this.#fields(verdict, connection), 'a pod has too many requests under way');
    return problemOfRefusal(this.#refused('route.full', verdict.requestId, verdict.request.host, route));
  }

  #unreachable(verdict: Exclude<Verdict, { kind: 'problem' }>, connection: Connection, code: string): Problem {
    this.#options.log.info({ ...this.#fields(verdict, connection), code }, 'a backend did not answer');
    if (verdict.kind === 'pod') {
      const { requestId, request, route } = verdict;
      return problemOfRefusal(this.#refused('route.unreachable', requestId, request.host, route));
    }
    const isAway = ['ECONNREFUSED', 'ENOENT', 'UND_ERR_HEADERS_TIMEOUT'].includes(code);
    return problemOfApi(isAway ? 503 : 502, verdict.requestId);
  }

  #answer(request: IncomingMessage, response: ServerResponse, problem: Problem): void {
    if (response.headersSent || response.destroyed) return;
    const { status, headers, body } = renderProblem(problem, request.headers.accept ?? '', this.#version);
    const length = request.headers['content-length'];
    const isLong = request.headers['transfer-encoding'] !== undefined || Number(length ?? 0) > DRAINED_BODY_BYTES;
    // Whoever waits for 100 (Continue) may or may not send its body now: only a new connection is clear.
    const isUnclear = request.headers.expect !== undefined || status === 400;
    if (!request.complete && (isLong || isUnclear)) response.shouldKeepAlive = false;
    if (status === 421) response.shouldKeepAlive = false;
    response.writeHead(status, http.STATUS_CODES[status] ?? '', [...headers]);
    response.end(body);
  }

  #failed(error: unknown, stream: { destroy(): unknown }): void {
    this.#options.log.error({ code: errorCode(error) }, 'a request failed in an unforeseen way');
    stream.destroy();
  }

  #begin(request: IncomingMessage): Connection | null {
    const connection = this.#connections.get(request.socket);
    if (connection === undefined) return null;
    connection.requests += 1;
    connection.active += 1;
    this.#active += 1;
    return connection;
  }

  #end(connection: Connection): void {
    connection.active -= 1;
    this.#active -= 1;
    this.#closeWhenIdle();
  }

  #closeWhenIdle(): void {
    if (!this.#closing || this.#active > 0) return;
    if (this.#sweeper !== null) clearInterval(this.#sweeper);
    this.#sweeper = null;
    this.#server.close();
    this.#pools.close();
  }

  #fields(verdict: Exclude<Verdict, { kind: 'problem' }>, { info }: Connection): object {
    const to = verdict.kind === 'pod' ? { pod: verdict.route.podId, tenant: verdict.route.tenant } : { pod: null };
    return { id: verdict.requestId, host: verdict.request.host, remoteAddress: info.remoteAddress, ...to };
  }

  get #version(): string | null {
    return this.#options.version ?? null;
  }
}

function forwardedFor(verdict: Exclude<Verdict, { kind: 'problem' }>, { info }: Connection) {
  const { hostHeader, port } = verdict.request;
  return { remoteAddress: info.remoteAddress, hostHeader, port, requestId: verdict.requestId };
}

function isAnswerable(code: string): boolean {
  return code.startsWith('HPE_') || code === 'ERR_HTTP_REQUEST_TIMEOUT';
}
