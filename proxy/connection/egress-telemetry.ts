import type { Socket } from 'node:net';
import type { EgressOutcome } from '../../core/egress.ts';
import type { PodNetwork } from '../../core/pod-network.ts';
import type { SessionEnd } from './ends.ts';

/** What is recorded of a pod's connection to the door out of its network. Times are of the gateway's monotonic clock. */
export interface EgressTelemetry {
  readonly pod: PodNetwork;
  readonly beganMs: number;
  /** As the pod wrote it; null until that is known. */
  target: string | null;
  /** That was dialed. */
  address: string | null;
  outcome: EgressOutcome | null;
  backend: Socket | null;
  connectedMs: number | null;
  /** Of the tunnel; null while it goes on, or when there was none. */
  end: SessionEnd | null;
}
