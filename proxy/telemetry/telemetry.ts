import type { TLSSocket } from 'node:tls';
import type { Clock } from '../../core/clock.ts';
import { type Durations, newDurations, observe } from '../../core/durations.ts';
import type { AnswerCode, ErrorCode, RefusalCode } from '../../core/errors.ts';
import type { Route } from '../../core/route.ts';
import type { ConnectionInfo, TlsFacts } from '../connection/connection-info.ts';
import { type Counters, type HandshakeKind, type RequestCode, statusClass } from './counters.ts';
import type { Connection } from '../connection/connection.ts';
import { egressLine, requestLine, sessionLine } from './access-lines.ts';
import { createPodStatistics, type PodStatistics } from './pod-statistics.ts';
import { firstByteOfSession, type RecentConnection } from './recent-connections.ts';
import { newRequestTelemetry, type RequestTelemetry } from './request-telemetry.ts';
import type { SessionTelemetry } from '../connection/session-telemetry.ts';
import { createTimeStamps } from './time-stamps.ts';

/** Where lines of the access log go: takes them at once, never waits, and drops what is too much. */
export interface LineSink {
  write(line: string): void;
  /** Lines that were dropped since the start. */
  readonly dropped: number;
}

export interface TelemetryOptions {
  readonly worker: number;
  readonly counters: Counters;
  readonly clock: Clock;
  /** Null = no access log. */
  readonly accessLog: LineSink | null;
}

export interface RefusalEvent {
  readonly code: RefusalCode | AnswerCode;
  readonly message: string;
  readonly requestId: string;
}

/** Every event is reported here once, and becomes counters, histograms, figures for each pod and lines of the access log. */
export interface Telemetry {
  readonly durations: Durations;
  readonly pods: Pick<PodStatistics, 'report' | 'traffic'>;
  readonly requestsNow: number;
  readonly sessionsNow: number;
  readonly droppedLines: number;
  /** The handshake is done. */
  secured(connection: Connection, secure: TLSSocket): TlsFacts;
  /** With a reason that the client is about to hear. */
  refused(refusal: RefusalEvent, route: Route | null, address: string): void;
  /** The same, of a connection that is no HTTP's. */
  connectionRefused(refusal: RefusalEvent, route: Route | null, connection: Connection): void;
  requestBegan(info: ConnectionInfo, protocol: RequestTelemetry['protocol']): RequestTelemetry;
  /** It is known which pod's it is. */
  requestRouted(request: RequestTelemetry, route: Route): void;
  requestEnded(request: RequestTelemetry): void;
  /** The pod is about to be dialed. */
  sessionBegan(route: Route): SessionTelemetry;
  /** The pod has taken the connection. */
  sessionConnected(
    session: SessionTelemetry,
    backend: NonNullable<SessionTelemetry['backend']>,
    connection: Connection,
  ): void;
  /** A client's connection is gone. */
  connectionEnded(connection: Connection): void;
}

export function createTelemetry({ worker, counters, clock, accessLog }: TelemetryOptions): Telemetry {
  const durations = newDurations();
  const pods = createPodStatistics(clock);
  const timeStamp = createTimeStamps();
  let requestsNow = 0;
  let sessionsNow = 0;

  /** The sessions that go on. One that has been written over since is not there any more. */
  const running = new WeakMap<SessionTelemetry, RecentConnection>();

  function refused({ code, message, requestId }: RefusalEvent, route: Route | null, address: string): void {
    counters.refused[code]++;
    if (route !== null) pods.refused(route, { code, message, requestId, address });
  }

  function noteRequest(request: RequestTelemetry, route: Route, endMs: number): void {
    const { info, id, beganMs, connectedMs, firstByteMs } = request;
    const slot = pods.next(route);
    slot.beganMs = beganMs;
    slot.requestId = id;
    slot.address = request.clientAddress ?? info.remoteAddress;
    slot.port = info.remotePort;
    slot.status = request.status;
    slot.code = request.code;
    slot.end = request.end;
    // Later ones of the same connection have an id of their own.
    slot.tlsMs = id === info.id && info.tls !== null ? info.tls.handshakeMs : NaN;
    slot.routeMs = NaN;
    slot.dialMs = connectedMs === null ? NaN : connectedMs - beganMs;
    slot.firstByteMs = firstByteMs === null ? NaN : firstByteMs - (connectedMs ?? beganMs);
    slot.totalMs = endMs - beganMs;
  }

  /** A connection other than HTTP's. `routedMs`: when the dial began, or the refusal. Later times are still unknown. */
  function noteConnection({ info, acceptedMs }: Connection, route: Route, routedMs: number): RecentConnection {
    const slot = pods.next(route);
    slot.beganMs = acceptedMs;
    slot.requestId = info.id;
    slot.address = info.remoteAddress;
    slot.port = info.remotePort;
    slot.status = 0;
    slot.code = null;
    slot.end = null;
    slot.tlsMs = info.tls?.handshakeMs ?? NaN;
    slot.routeMs = routedMs - acceptedMs - (info.tls?.handshakeMs ?? 0);
    slot.dialMs = NaN;
    slot.firstByteMs = NaN;
    slot.totalMs = NaN;
    return slot;
  }

  function sessionEnded(session: SessionTelemetry): void {
    const { route, counts, backend, beganMs } = session;
    sessionsNow--;
    counts.sessionsNow--;
    pods.sessionEnded(session);
    if (backend === null) return;
    const protocol = route.protocol === 'postgres' ? 'postgres' : 'tcp';
    const { bytesWritten, bytesRead } = backend;
    counts.bytesIn += bytesWritten;
    counts.bytesOut += bytesRead;
    counters.bytes[`${protocol} in`] += bytesWritten;
    counters.bytes[`${protocol} out`] += bytesRead;
    observe(durations, `session ${protocol}`, clock.monotonicMs() - beganMs);
    if (session.firstByteMs !== null) observe(durations, `first-byte ${protocol}`, session.firstByteMs - beganMs);
    const slot = running.get(session);
    if (slot?.session !== session) return;
    slot.firstByteMs = firstByteOfSession(session);
    slot.totalMs = clock.monotonicMs() - slot.beganMs;
    slot.end = session.end ?? 'client-failed';
    slot.session = null;
  }

  return {
    durations,
    pods,
    get requestsNow() {
      return requestsNow;
    },
    get sessionsNow() {
      return sessionsNow;
    },
    get droppedLines() {
      return accessLog?.dropped ?? 0;
    },
    secured(connection, secure) {
      const handshakeMs = clock.monotonicMs() - connection.acceptedMs;
      const isResumed = secure.isSessionReused();
      const { standardName: cipher, version } = secure.getCipher();
      observe(durations, 'handshake', handshakeMs);
      counters.handshakes[handshakeKind(version, isResumed)]++;
      return { version, cipher, alpn: secure.alpnProtocol || null, isResumed, handshakeMs };
    },
    refused,
    connectionRefused(refusal, route, connection) {
      refused(refusal, route, connection.info.remoteAddress);
      if (route === null) return;
      const nowMs = clock.monotonicMs();
      const { session } = connection;
      const slot = noteConnection(connection, route, session?.beganMs ?? nowMs);
      if (session !== null) slot.dialMs = nowMs - session.beganMs;
      slot.totalMs = nowMs - slot.beganMs;
      slot.code = refusal.code;
      slot.end = 'refused';
    },
    requestBegan(info, protocol) {
      requestsNow++;
      return newRequestTelemetry(info, protocol);
    },
    requestRouted(request, route) {
      request.route = route;
      const counts = pods.of(route);
      request.counts = counts;
      counts.requestsNow++;
      counts.requests++;
    },
    requestEnded(request) {
      const endMs = performance.now();
      const { counts, bytesIn, bytesOut, beganMs, connectedMs, firstByteMs } = request;
      requestsNow--;
      counters.requests[statusClass(request.status)]++;
      if (isRequestCode(request.code)) counters.refused[request.code]++;
      counters.bytes['http in'] += bytesIn;
      counters.bytes['http out'] += bytesOut;
      if (counts !== null) {
        counts.requestsNow--;
        counts.bytesIn += bytesIn;
        counts.bytesOut += bytesOut;
      }
      if (connectedMs !== null) observe(durations, 'connect http', connectedMs - beganMs);
      if (firstByteMs !== null) observe(durations, 'first-byte http', firstByteMs - beganMs);
      observe(durations, 'request http', endMs - beganMs);
      if (request.route !== null) noteRequest(request, request.route, endMs);
      if (isGoodProbe(request)) return;
      accessLog?.write(requestLine(request, { worker, time: timeStamp(clock.now()), endMs }));
    },
    sessionBegan(route) {
      const counts = pods.of(route);
      sessionsNow++;
      counts.sessionsNow++;
      const beganMs = clock.monotonicMs();
      return { route, counts, beganMs, backend: null, connectedMs: null, firstByteMs: null, end: null, heldMs: null };
    },
    sessionConnected(session, backend, connection) {
      const protocol = session.route.protocol === 'postgres' ? 'postgres' : 'tcp';
      session.backend = backend;
      session.connectedMs = clock.monotonicMs();
      session.counts.sessions++;
      pods.sessionRuns(session);
      counters.sessions++;
      counters.sessionsOf[protocol]++;
      observe(durations, `connect ${protocol}`, session.connectedMs - session.beganMs);
      const slot = noteConnection(connection, session.route, session.beganMs);
      slot.dialMs = session.connectedMs - session.beganMs;
      slot.session = session;
      running.set(session, slot);
    },
    connectionEnded(connection) {
      const { session, egress } = connection;
      if (session !== null) sessionEnded(session);
      if (connection.isHttp || connection.closedFor === 'probe' || saidNothing(connection)) return;
      const options = { worker, time: timeStamp(clock.now()), endMs: clock.monotonicMs() };
      accessLog?.write(egress === null ? sessionLine(connection, options) : egressLine(connection, egress, options));
    },
  };
}

const PROBE_PATH = /^(?:\/v3)?\/(?:healthz|readyz)(?:\?|$)/;

/** They come every few seconds and all say the same, so only those that fail are worth a line. */
function isGoodProbe({ isForApi, status, head }: RequestTelemetry): boolean {
  return isForApi && status === 200 && head !== null && PROBE_PATH.test(head.url);
}

/** A TCP check of a kubelet or load balancer: it came, was accepted, and left without a byte. */
function saidNothing({ raw, closedFor, session, refusedFor, phase }: Connection): boolean {
  const isEarly = closedFor === 'ended-early' || (closedFor === null && phase === 'sniffing');
  return isEarly && raw.bytesRead === 0 && session === null && refusedFor === null;
}

/** The other reasons are told to `refused`. */
function isRequestCode(code: ErrorCode | null): code is RequestCode {
  return code !== null && /^(?:request|login)\./.test(code);
}

function handshakeKind(version: string, isResumed: boolean): HandshakeKind {
  if (version === 'TLSv1.3') return isResumed ? 'TLSv1.3 resumed' : 'TLSv1.3 full';
  return isResumed ? 'TLSv1.2 resumed' : 'TLSv1.2 full';
}
