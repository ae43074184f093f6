import type { ErrorCode } from '../../core/errors.ts';
import type { Route } from '../../core/route.ts';
import type { ConnectionInfo } from '../connection/connection-info.ts';
import type { StanzaCounts } from '../connection/session-telemetry.ts';

/** How a request came to its end; 'client' = it went away before its answer was complete, 'cut' = its route has changed. */
export type RequestEnd = 'answered' | 'refused' | 'client' | 'backend' | 'deadline' | 'cut' | 'tunnel';

/** What is read of a request's head, and only when a line is written. */
export interface ObservedHead {
  readonly method: string;
  readonly url: string;
  /** Flat name, value list. */
  readonly rawHeaders: readonly string[];
}

/**
 * What is recorded of one request while it is served, by either version of HTTP. `Telemetry` creates it and reports it at
 * its end. Times are of performance.now().
 */
export interface RequestTelemetry {
  readonly info: ConnectionInfo;
  readonly protocol: 'http/1.1' | 'h2';
  readonly beganMs: number;
  id: string;
  /** Null = of the one who holds the connection. */
  clientAddress: string | null;
  /** Null = none could be read. */
  head: ObservedHead | null;
  /** The pod's, once it is known whose it is. */
  route: Route | null;
  counts: StanzaCounts | null;
  isForApi: boolean;
  /** Of the answer; 0 = there was none. */
  status: number;
  /** Why it was refused. */
  code: ErrorCode | null;
  /** The rule of HTTP that the pod's answer breaks. */
  brokenRule: string | null;
  /** When a connection made for it was there; null when a kept one was used, or none. */
  connectedMs: number | null;
  /** When the answer's head came. */
  firstByteMs: number | null;
  /** Of bodies. */
  bytesIn: number;
  bytesOut: number;
  end: RequestEnd;
  /** How long it waited for a pod that slept; null = it did not. */
  heldMs: number | null;
}

export function newRequestTelemetry(info: ConnectionInfo, protocol: RequestTelemetry['protocol']): RequestTelemetry {
  return {
    info,
    protocol,
    beganMs: performance.now(),
    id: info.id,
    clientAddress: null,
    head: null,
    route: null,
    counts: null,
    isForApi: false,
    status: 0,
    code: null,
    brokenRule: null,
    connectedMs: null,
    firstByteMs: null,
    bytesIn: 0,
    bytesOut: 0,
    end: 'client',
    heldMs: null,
  };
}
