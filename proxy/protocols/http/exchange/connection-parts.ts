import type { Socket } from 'node:net';
import type { Route } from '../../../../core/route.ts';
import type { ConnectionInfo } from '../../../connection/connection-info.ts';
import type { FullCode } from '../../../limits/pod-places.ts';
import type { CutReason } from '../../../policy/standing.ts';
import type { RequestTelemetry } from '../../../telemetry/request-telemetry.ts';
import type { Accepted, Judge, Verdict } from './judge.ts';
import type { ExchangeFailure } from './exchange.ts';
import type { PodUses } from '../../../use/pod-uses.ts';
import type { HeldRequests } from './held-requests.ts';
import type { HttpLimits } from './limits.ts';
import type { UpstreamPool } from './upstream.ts';
import type { RequestHead } from '../wire/head.ts';

/** The client of a connection. */
export interface HttpClient {
  readonly info: ConnectionInfo;
  /** The TLS socket. */
  readonly socket: Socket;
}

/** A client's connection, whatever version of HTTP it speaks. */
export interface HttpConnection {
  /** Called at intervals: clients that are late are disconnected. */
  checkDeadlines(nowMs: number): void;
  /** Ends an idle connection; another ends with its last response. */
  close(): void;
}

/** What the connections of one gateway share. */
export interface ConnectionParts {
  readonly limits: HttpLimits;
  readonly judge: Judge;
  readonly held: HeldRequests;
  /** Of a pod that may sleep. */
  readonly uses: Pick<PodUses, 'session'>;
  /** See ExchangeClient. */
  poolNow(accepted: Accepted, client: HttpClient): UpstreamPool | null;
  /** The route of its pod, if that has fallen asleep since and can be waited for. */
  wakingNow(accepted: Accepted): Route | null;
  /**
   * Takes a place at the pod. `done` gets what gives it back, or why there is none. A 'stream' beside others of
   * its connection takes one of its client's places, too. `cut` is called when the exchange must not go
   * on, since the pod is gone or lets this client in no more.
   */
  acquire(
    accepted: Accepted,
    info: ConnectionInfo,
    uses: 'connection' | 'stream',
    cut: (reason: CutReason) => void,
    done: (outcome: (() => void) | FullCode) => void,
  ): void;
  /** No further request is taken. */
  isClosing(): boolean;
  /** A request or tunnel has begun; `ended`: it is over. */
  began(info: ConnectionInfo, protocol: RequestTelemetry['protocol']): RequestTelemetry;
  /** Records whose it is. */
  judged(telemetry: RequestTelemetry, head: RequestHead, verdict: Verdict): void;
  ended(telemetry: RequestTelemetry): void;
  gone(connection: HttpConnection, info: ConnectionInfo): void;
  log(accepted: Accepted, info: ConnectionInfo, failure: Pick<ExchangeFailure, 'code' | 'rule'>, message: string): void;
  /** The API's version, for its envelope. */
  readonly version: string | null;
}
