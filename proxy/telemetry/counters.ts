import type { EgressOutcome } from '../../core/egress.ts';
import type { AnswerCode, ErrorCode, LoginCode, RefusalCode } from '../../core/errors.ts';
import type { ClosedReason, SessionEnd } from '../connection/ends.ts';
import type { HoldCounts } from '../dial/holds.ts';
import type { Limit } from '../limits/connection-counts.ts';
import type { WaitingLimit } from '../limits/waiting-places.ts';
import type { TokenCheckLimit } from '../policy/token-logins.ts';

/**
 * What came of cancel requests: 'unknown' = the other workers were asked, 'slowed' = too many unknown keys, 'forbidden' =
 * the pod does not let this address in. 'unregistered' are no requests, but sessions beyond their pod's bound.
 */
export type CancelOutcome = 'delivered' | 'failed' | 'forbidden' | 'unknown' | 'slowed' | 'unregistered';

/** Counted when the request ends; the other reasons are reported with a sentence before. */
export type RequestCode = Extract<ErrorCode, `request.${string}`> | LoginCode;
export type HandshakeKind = 'TLSv1.3 full' | 'TLSv1.3 resumed' | 'TLSv1.2 full' | 'TLSv1.2 resumed';
/** By the first digit of the status; 'none' = the client went away, or the answer never came. */
export type StatusClass = '1xx' | '2xx' | '3xx' | '4xx' | '5xx' | 'none';
/** Which limit kept a connection, a request or the check of a token from its place. */
export type LimitName = Limit | WaitingLimit | TokenCheckLimit | 'proxy-header' | 'descriptors';
/** From clients to pods, and back: what is inside TLS. Of egress: from pods to the outside, and back. */
export type ByteCount = `${'http' | 'tcp' | 'postgres' | 'egress'} ${'in' | 'out'}`;

/** Plain numbers, counted in place: the names are closed sets, so that metrics made of them stay bounded. */
export interface Counters extends HoldCounts {
  accepted: number;
  sessions: number;
  readonly closed: Record<ClosedReason, number>;
  readonly refused: Record<RefusalCode | RequestCode | AnswerCode, number>;
  readonly handshakes: Record<HandshakeKind, number>;
  readonly requests: Record<StatusClass, number>;
  /** Of `sessions`, by protocol. */
  readonly sessionsOf: Record<'tcp' | 'postgres', number>;
  readonly bytes: Record<ByteCount, number>;
  readonly limited: Record<LimitName, number>;
  readonly ended: Record<SessionEnd, number>;
  readonly cancels: Record<CancelOutcome, number>;
  /** What pods have asked for that want to connect to the outside. */
  readonly egress: Record<EgressOutcome, number>;
  egressNow: number;
}

export function createCounters(): Counters {
  return {
    accepted: 0,
    sessions: 0,
    closed: {
      'too-many-connections': 0,
      unrecognized: 0,
      'malformed-hello': 0,
      'early-bytes': 0,
      'cancel-request': 0,
      'malformed-startup': 0,
      'ended-early': 0,
      deadline: 0,
      'no-certificate': 0,
      'tls-failed': 0,
      'no-common-protocol': 0,
      'accept-failed': 0,
      'acme-validation': 0,
      probe: 0,
      'proxy-header': 0,
      'untrusted-proxy-header': 0,
      'pushed-out': 0,
      idle: 0,
      vanished: 0,
      drained: 0,
    },
    refused: {
      'route.unknown': 0,
      'route.stopped': 0,
      'route.starting': 0,
      'route.asleep': 0,
      'route.unreachable': 0,
      'route.forbidden': 0,
      'route.certificate': 0,
      'route.full': 0,
      'route.held-full': 0,
      'route.no-descriptors': 0,
      'route.owner-full': 0,
      'route.tenant-full': 0,
      'route.misdirected': 0,
      'tls.required': 0,
      'answer.malformed': 0,
      'answer.missing': 0,
      'request.malformed': 0,
      'request.too-large': 0,
      'request.timeout': 0,
      'login.required': 0,
      'login.forbidden': 0,
      'login.cross-site': 0,
      'login.failed': 0,
      'login.unavailable': 0,
    },
    handshakes: { 'TLSv1.3 full': 0, 'TLSv1.3 resumed': 0, 'TLSv1.2 full': 0, 'TLSv1.2 resumed': 0 },
    requests: { '1xx': 0, '2xx': 0, '3xx': 0, '4xx': 0, '5xx': 0, none: 0 },
    sessionsOf: { tcp: 0, postgres: 0 },
    bytes: {
      'http in': 0,
      'http out': 0,
      'tcp in': 0,
      'tcp out': 0,
      'postgres in': 0,
      'postgres out': 0,
      'egress in': 0,
      'egress out': 0,
    },
    limited: {
      connections: 0,
      address: 0,
      'pod-address': 0,
      pod: 0,
      owner: 0,
      tenant: 0,
      held: 0,
      'held-address': 0,
      'proxy-header': 0,
      descriptors: 0,
      'token-checks': 0,
      'token-checks-address': 0,
    },
    ended: {
      finished: 0,
      'client-failed': 0,
      'backend-failed': 0,
      'idle-half-closed': 0,
      'route-gone': 0,
      'client-refused': 0,
      drained: 0,
    },
    cancels: { delivered: 0, failed: 0, forbidden: 0, unknown: 0, slowed: 0, unregistered: 0 },
    egress: {
      connected: 0,
      malformed: 0,
      method: 0,
      port: 0,
      address: 0,
      unresolved: 0,
      unreachable: 0,
      full: 0,
      'no-descriptors': 0,
    },
    egressNow: 0,
    holds: { woken: 0, timeout: 0, ended: 0, left: 0, full: 0, asleep: 0, drained: 0 },
    heldNow: 0,
    wakesAsked: 0,
  };
}

const CLASSES = ['none', '1xx', '2xx', '3xx', '4xx', '5xx'] as const;

export function statusClass(status: number): StatusClass {
  return CLASSES[Math.floor(status / 100)] ?? 'none';
}
