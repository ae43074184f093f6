import type { Socket } from 'node:net';
import type { StanzaConnections } from '../../core/pod-connections.ts';
import type { Route } from '../../core/route.ts';
import type { SessionEnd } from './ends.ts';

/** Changed in place, by everything in progress at the stanza. */
export type StanzaCounts = { -readonly [Name in keyof StanzaConnections]: StanzaConnections[Name] };

/** What is recorded of a session of TCP or Postgres, from its dial on. Times are of the gateway's monotonic clock. */
export interface SessionTelemetry {
  readonly route: Route;
  readonly counts: StanzaCounts;
  readonly beganMs: number;
  /** Null until the pod has taken the connection. */
  backend: Socket | null;
  connectedMs: number | null;
  firstByteMs: number | null;
  /** Null while it goes on. */
  end: SessionEnd | null;
  /** How long its client waited for a pod that slept; null = it did not. */
  heldMs: number | null;
}
