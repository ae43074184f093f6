import type { RefusalCode } from '../core/errors.ts';

/** Why a connection was closed without an answer that says so. */
export type ClosedReason =
  | 'too-many-connections'
  | 'unrecognized'
  | 'malformed-hello'
  | 'early-bytes'
  | 'cancel-request'
  | 'malformed-startup'
  | 'ended-early'
  | 'deadline'
  | 'no-certificate'
  | 'tls-failed'
  | 'accept-failed'
  /** An ACME server has seen what it asked for. */
  | 'acme-validation'
  /** A load balancer looked whether we are there. */
  | 'probe'
  /** Of one who is trusted to send a PROXY header, and sent none where one is required, or a bad one. */
  | 'proxy-header'
  /** Somebody else sent one. */
  | 'untrusted-proxy-header';

/** How a session that was passed on came to its end. */
export type SessionEnd = 'finished' | 'client-failed' | 'backend-failed' | 'idle-half-closed';

/**
 * What came of cancel requests: 'unknown' = the other workers were asked, 'slowed' = too many unknown keys, 'forbidden' =
 * the pod does not let this address in. 'unregistered' are no requests, but sessions beyond their pod's bound.
 */
export type CancelOutcome = 'delivered' | 'failed' | 'forbidden' | 'unknown' | 'slowed' | 'unregistered';

/** Plain numbers, counted in place: the names are closed sets, so that metrics made of them stay bounded. */
export interface Counters {
  accepted: number;
  sessions: number;
  readonly closed: Record<ClosedReason, number>;
  readonly refused: Record<RefusalCode, number>;
  readonly ended: Record<SessionEnd, number>;
  readonly cancels: Record<CancelOutcome, number>;
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
      'accept-failed': 0,
      'acme-validation': 0,
      probe: 0,
      'proxy-header': 0,
      'untrusted-proxy-header': 0,
    },
    refused: {
      'route.unknown': 0,
      'route.stopped': 0,
      'route.starting': 0,
      'route.unreachable': 0,
      'route.forbidden': 0,
      'route.certificate': 0,
      'route.full': 0,
      'route.misdirected': 0,
      'tls.required': 0,
    },
    ended: { finished: 0, 'client-failed': 0, 'backend-failed': 0, 'idle-half-closed': 0 },
    cancels: { delivered: 0, failed: 0, forbidden: 0, unknown: 0, slowed: 0, unregistered: 0 },
  };
}
