import { randomBytes } from 'node:crypto';
import type { Socket } from 'node:net';
import type { RefusalCode } from '../../core/errors.ts';
import type { Route } from '../../core/route.ts';
import type { ConnectionInfo } from './connection-info.ts';
import type { ClosedReason } from './ends.ts';
import type { Admission } from '../limits/connection-counts.ts';
import { StallWatch } from '../limits/stall-watch.ts';
import { VanishedWatch } from '../limits/vanished-watch.ts';
import type { EgressTelemetry } from './egress-telemetry.ts';
import type { SessionTelemetry } from './session-telemetry.ts';

/** A client's connection from accept to close, whatever is spoken on it. */
export class Connection {
  readonly raw: Socket;
  readonly admission: Exclude<Admission, 'none'>;
  readonly acceptedMs: number;
  /** What its place is counted for: its address, or the pod that it comes from. */
  readonly countedFor: string;
  info: ConnectionInfo;
  /** 'served' from the moment the handshake, or a refusal in plaintext, makes it more than an attempt. */
  phase: 'sniffing' | 'handshake' | 'served' = 'sniffing';
  /** Why we closed it; null when it was not us. */
  closedFor: ClosedReason | null = null;
  /** Why it was refused, in words. */
  refusedFor: RefusalCode | null = null;
  /** The pod's that it was refused for, where that is known. */
  refusedRoute: Route | null = null;
  /** What became of it, where it is a session of TCP or Postgres. */
  session: SessionTelemetry | null = null;
  /** Of a pod's connection to the door out of its network. */
  egress: EgressTelemetry | null = null;
  /** What its client's bytes are read from, once it is known: the TLS socket, or the raw one. */
  client: Socket | null = null;
  /** Of the raw socket: when its counts of bytes last changed, and what they were. */
  moved = { bytes: 0, atMs: 0 };
  /** A probe has not been written yet. */
  isProbed = false;
  /** Its requests are logged one by one, not the connection. */
  isHttp = false;
  /** Its place was given back. */
  isReleased = false;
  /** Of its session. */
  readonly idle = new StallWatch();
  readonly vanished = new VanishedWatch();
  /** A load balancer made it for itself, most likely to see whether we are there. */
  readonly isProbe: boolean;
  /** The authorities (PEM) whose certificates the handshake asks for; null = it asks for none. */
  clientCa: string | null = null;
  /** What it is to be told once there is a handshake: the pod that ends TLS itself cannot be reached. */
  verdict: RefusalCode | null = null;
  /** Why its handshake is bound to fail, where that is known beforehand. */
  handshakeFails: ClosedReason | null = null;
  /** It began with an SSLRequest. */
  askedAsPostgres = false;
  #deadline: NodeJS.Timeout | undefined;

  constructor(options: {
    readonly raw: Socket;
    readonly address: string;
    readonly port: number;
    readonly isProbe: boolean;
    readonly countedFor: string;
    readonly admission: Exclude<Admission, 'none'>;
    readonly acceptedMs: number;
  }) {
    const { raw, address, port } = options;
    this.raw = raw;
    this.countedFor = options.countedFor;
    this.admission = options.admission;
    this.acceptedMs = options.acceptedMs;
    this.isProbe = options.isProbe;
    const id = randomBytes(9).toString('base64url');
    this.info = { id, remoteAddress: address, remotePort: port, serverName: null, tls: null, proof: null };
  }

  /** Replaces the deadline before: a connection always has one until it is established. */
  setDeadline(ms: number, onExpired: () => void): void {
    clearTimeout(this.#deadline);
    this.#deadline = setTimeout(onExpired, ms);
  }

  clearDeadline(): void {
    clearTimeout(this.#deadline);
    this.#deadline = undefined;
  }
}
