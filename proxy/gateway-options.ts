import type { WorkerName } from '../core/worker-name.ts';
import type { EgressRules } from '../core/egress.ts';
import type { Clock } from '../core/clock.ts';
import type { Logger } from '../core/logger.ts';
import type { ProcessNumbers } from '../core/worker-counts.ts';
import type { Counters } from './telemetry/counters.ts';
import type { ConnectionLimits } from './limits/connection-counts.ts';
import type { PodListener } from './listener/pod-listeners.ts';
import type { LeasedPlaces } from './limits/leased-places.ts';
import type { HttpLimits, WaitingPod } from './protocols/http/http-protocol.ts';
import type { ProxyProtocolOptions } from './proxy-protocol/introduction.ts';
import type { RouteTable } from './routes/route-table.ts';
import type { LineSink } from './telemetry/telemetry.ts';
import { KEEP_ALIVE_MS } from './dial/connect.ts';
import type { SessionPolicy } from './session/running-sessions.ts';
import { DEFAULT_HALF_CLOSED_MS } from './session/splice.ts';

export interface GatewayLimits extends ConnectionLimits {
  /** From accept to the end of the handshake and of the first packet of a session. */
  readonly handshakeTimeoutMs: number;
  /** A session of TCP or Postgres in which nothing moves for longer is closed; 0 = none is. */
  readonly sessionIdleMs: number;
  /** A session or tunnel of which one side has ended is closed when nothing moves in it for so long. */
  readonly halfClosedMs: number;
  /** After how long without a byte a client is asked whether it is still there: ten times, once a second. */
  readonly keepAliveMs: number;
  readonly http: HttpLimits;
}

export const DEFAULT_GATEWAY_LIMITS: Omit<GatewayLimits, 'http'> = {
  handshakeTimeoutMs: 10_000,
  maxConnections: 20_000,
  maxConnectionsPerAddress: 5_000,
  maxConnectionsPerPod: 5_000,
  maxConnectionsPerAddressAtPod: 2_500,
  maxConnectionsPerOwner: null,
  maxConnectionsPerTenant: null,
  sessionIdleMs: 0,
  halfClosedMs: DEFAULT_HALF_CLOSED_MS,
  keepAliveMs: KEEP_ALIVE_MS,
};

/** The name is for the feed and the log. */
export interface GatewayOptions extends WorkerName {
  readonly feedSocketPath: string;
  readonly apiSocketPath: string;
  /** Where the API is reached from outside, such as `https://localhost:8443`: for hints. */
  readonly apiUrl: string;
  /** The port clients dial. */
  readonly publicHttpsPort: number;
  /** Where pods with a network of their own reach the gateway. Default: nowhere. */
  readonly podListeners?: readonly PodListener<ListenKind>[];
  /** What pods reach through the door out of their networks; `nameServers` with ports, none = those of the system. Default: nothing. */
  readonly egress?: EgressRules & { readonly nameServers: readonly string[] };
  readonly limits: GatewayLimits;
  /** What becomes of sessions whose route changes. Default: DEFAULT_SESSION_POLICY. */
  readonly sessions?: SessionPolicy;
  /** How long running connections may go on after `run` is told to end. */
  readonly drainMs: number;
  /** With the feed away for longer, new connections get "does not answer". */
  readonly staleAfterMs?: number;
  /** Called each time that control has greeted this worker, at the start and after each restart of control. */
  readonly greeted?: () => void;
  /** Whose PROXY headers are read; default: nobody's. */
  readonly proxyProtocol?: ProxyProtocolOptions;
  /** One line at debug level for each connection; only worth its cost where debug lines are kept. */
  readonly logConnections?: boolean;
  /** Called with the number of each accepted client's descriptor (see main/accept-pause.ts). Default: not counted. */
  readonly descriptorTaken?: (descriptor: number) => void;
  /** Shared with the other workers of the replica. Default: there are none. */
  readonly places?: LeasedPlaces;
  /** To the other workers: a connection to this pod may be waiting for one that they keep. Default: there are none. */
  readonly notifyWorkers?: (waiting: WaitingPod) => void;
  /** Default: none is written. */
  readonly accessLog?: LineSink;
  /** Whose X-Forwarded-For is believed; default: nobody's. */
  readonly trustedProxies?: readonly string[];
  readonly clock: Clock;
  readonly log: Logger;
}

/** 'egress' is the door out of the networks of pods, and only ever within them. */
export type ListenKind = 'https' | 'http' | 'egress';

/**
 * A handle made by another process, as it came over IPC (or anything else that holds one, such as a net.Server), a file
 * descriptor, or an address.
 */
export type ListenTarget = object | { readonly fd: number } | { readonly host: string; readonly port: number };

export interface Listening {
  readonly port: number;
  /** Stops accepting on this one; its connections live on. */
  close(): void;
}

export interface Gateway {
  readonly table: RouteTable;
  readonly counters: Counters;
  /** Starts accepting. May be called before `run`, several times, and for one kind more than once (slots of a dead sibling). */
  listen(kind: ListenKind, target: ListenTarget): Promise<Listening>;
  /** Follows the route feed. When the signal aborts: stops accepting, lets connections end for `drainMs`, closes the rest. */
  run(signal: AbortSignal): Promise<void>;
  /**
   * Resolves when the feed has told all routes, and about certificates (be it that there are none): the moment to start
   * listening. Before, every name would be unknown and every handshake fail.
   */
  readonly synchronized: Promise<undefined>;
  /** The feed has been away for so long that backends are not trusted any more. */
  isStale(): boolean;
  stopAccepting(): void;
  /** Once `run` is told to end, or has been: how long running connections may go on from now, instead of `drainMs`. */
  drainFor(ms: number): void;
  /** Connections of clients, of whatever kind and phase. */
  activeConnections(): number;
  /** Another worker has called `notifyWorkers`. */
  makeRoom(waiting: WaitingPod): void;
  /** Tells control what was counted, with what this process uses. Lost while there is no control. */
  reportCounts(process: ProcessNumbers): void;
  /** Closes every connection now. */
  closeAll(): void;
}
