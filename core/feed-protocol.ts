import type { CancelAnswer } from './cancel-answer.ts';
import type { ServedCertificate, ServedChallenges } from './certificates.ts';
import type { PodNetwork } from './pod-network.ts';
import type { PodConnections } from './pod-connections.ts';
import type { PackedTraffic } from './pod-traffic.ts';
import type { PackedRoutes } from './packed-routes.ts';
import type { Route } from './route.ts';
import type { TicketKey } from './ticket-keys.ts';
import type { WorkerCounts } from './worker-counts.ts';
import type { WorkerName } from './worker-name.ts';

/**
 * Messages between the control child and the gateway workers over the feed socket: JSON objects, one per line.
 *
 * A worker connects and says `hello`. Control answers `hello` with its epoch (new at every start of the control child),
 * then a snapshot in pieces (`snapshot-begin`, `routes`..., `snapshot-end`), then changes in order. A worker applies a
 * snapshot as a whole at `snapshot-end`: until then, and while there is no control child, it goes on with the table it
 * has. It reports what it has applied. A worker that cannot follow (a line out of sequence) reconnects; so does one that
 * has heard nothing for FEED_SILENCE_MS: a control child that hangs keeps its connections open.
 */
export type ControlMessage =
  | { readonly kind: 'hello'; readonly epoch: string; readonly baseHosts: readonly string[] }
  /** After `hello` and at every change: the one that seals first. Before any certificate. */
  | { readonly kind: 'ticket-keys'; readonly keys: readonly TicketKey[] }
  /** Between these two, all there are, in pieces; they take the place of the former at the end. */
  | { readonly kind: 'certificates-begin' }
  | { readonly kind: 'certificates-end' }
  /** A piece of them, or a change: by id, `removed` first. */
  | {
      readonly kind: 'certificates';
      readonly set: readonly ServedCertificate[];
      readonly removed: readonly string[];
    }
  /** All there are, each time: they are few, and live for minutes. `number` grows with every change. */
  | { readonly kind: 'challenges'; readonly number: number; readonly challenges: ServedChallenges }
  | { readonly kind: 'snapshot-begin' }
  | ({ readonly kind: 'routes' } & PackedRoutes)
  | { readonly kind: 'snapshot-end'; readonly sequence: number }
  /** All changes of one step, applied together. `sequence` is one more than that of the message before. */
  | {
      readonly kind: 'change';
      readonly sequence: number;
      readonly set: readonly Route[];
      /** As in PackedRoutes, for `set`. */
      readonly authorities?: readonly string[];
      /** Host names that are gone. */
      readonly removed: readonly string[];
    }
  /**
   * After `hello` and every FEED_ALIVE_MS. `isWatchFresh`: the orchestrator's watch is up to date. A worker
   * dials the addresses of pods only if it received that within FEED_FRESH_MS, and those of their services otherwise.
   * `replicas`: how many share the quotas of connections; absent in messages of an earlier release.
   */
  | { readonly kind: 'alive'; readonly isWatchFresh: boolean; readonly replicas?: number }
  /** All network namespaces of pods there are, each time: the gateway is reached from inside them, too. */
  | { readonly kind: 'pod-networks'; readonly networks: readonly PodNetwork[] }
  /** What has been seen of this pod? Answered by `pod-told` with the same id. */
  | { readonly kind: 'pod-asked'; readonly id: number; readonly uid: string }
  /** What has been counted of these pods, at most TRAFFIC_PODS_MAX? Answered by `traffic-told` with the same id. */
  | { readonly kind: typeof TRAFFIC_ASKED; readonly id: number; readonly uids: readonly string[] }
  /** To the question with that id. */
  | { readonly kind: 'login-answered'; readonly id: number; readonly answer: LoginAnswer }
  | CancelMessage
  | CancelAnswerMessage;

export type WorkerMessage =
  /** `answersTo`: see ANSWERED_BY_WORKERS; absent in messages of an earlier release. */
  | ({ readonly kind: 'hello'; readonly pid: number; readonly answersTo?: readonly string[] } & WorkerName)
  /** A client has come for a name of the table that has no certificate but the development CA's. At most now and then. */
  | { readonly kind: 'certificate-wanted'; readonly host: string }
  | { readonly kind: 'applied'; readonly epoch: string; readonly sequence: number }
  /** This worker now serves the challenges of that number. */
  | { readonly kind: 'challenges-applied'; readonly number: number }
  /** Whose is this token, which a client has sent to a pod below that base host? The token is a secret: never logged. */
  | { readonly kind: 'login-asked'; readonly id: number; readonly host: string; readonly token: string }
  /** Now and then. */
  | { readonly kind: 'counts'; readonly counts: WorkerCounts }
  /**
   * A client that has passed every check waits for this pod, which sleeps or starts. Repeated while it waits; may be lost.
   * `uid`: no other pod of its name is meant. `host`: to which it has connected.
   */
  | WakeMessage
  /** Null = this worker has had no connection to it, and it never sleeps. */
  | { readonly kind: 'pod-told'; readonly id: number; readonly connections: PodConnections | null }
  | { readonly kind: 'traffic-told'; readonly id: number; readonly traffic: PackedTraffic }
  | CancelMessage
  | CancelAnswerMessage;

const TRAFFIC_ASKED = 'traffic-asked';

/**
 * Questions that a worker of an earlier release does not know: it would pass them over, and control would wait for its
 * answer in vain. Only a worker that has named a question in its `hello` is asked.
 */
export const ANSWERED_BY_WORKERS = [TRAFFIC_ASKED] as const;

export interface WakeMessage {
  readonly kind: 'wake';
  readonly tenant: string;
  readonly podId: string;
  readonly uid: string;
  readonly host: string;
}

export type LoginAnswer =
  | { readonly kind: 'user'; readonly user: string; readonly expiresAtMs: number }
  /** `reason`: a sentence for the client. */
  | { readonly kind: 'refused'; readonly reason: string }
  | { readonly kind: 'unavailable' };

/** Of a token that is asked about. */
export const LOGIN_TOKEN_MAX_LENGTH = 16_384;

/**
 * A Postgres client asks to cancel a session that its worker does not know: the worker asks control, control all other
 * workers, at any time after their `hello`. Each answers with `cancel-answered` and the id it was asked with, once it has
 * looked and once the pod, if there is one, has taken the cancel: the client's connection is kept open until then.
 */
export interface CancelMessage {
  readonly kind: 'cancel';
  readonly id: number;
  /** Process id and secret of the CancelRequest, in base64. A secret: never logged. */
  readonly key: string;
  /** Who asks: the pod's list of addresses is applied where the session is. */
  readonly address: string;
}

export interface CancelAnswerMessage extends CancelAnswer {
  readonly kind: 'cancel-answered';
  readonly id: number;
}

/** 260 bytes in base64. */
export const CANCEL_KEY_MAX_LENGTH = 348;

export const FEED_ALIVE_MS = 1_000;
/** Two words are missing then. A pod's address may soon be another's. */
export const FEED_FRESH_MS = 3_000;
/** Longer: a new snapshot is expensive, and a control child that is only slow recovers. */
export const FEED_SILENCE_MS = 35_000;

/** Certificates in one piece: some 400 KB. */
export const CERTIFICATES_PIECE = 100;

/** Routes in one snapshot piece: keeps a line under about 100 KB. */
export const SNAPSHOT_PIECE = 250;

/** Which start of which pod a caller waits for: an earlier one, or another pod of its name, does not count. */
export interface RoutableQuestion {
  readonly tenant: string;
  readonly podId: string;
  readonly uid: string;
  readonly run: number;
}

export type RoutableAnswer =
  | { readonly kind: 'routable' }
  | { readonly kind: 'ended' }
  | { readonly kind: 'timeout'; readonly laggards: readonly string[] };

/** Lets a caller wait until every live worker has the routes of a pod as they are now (`?wait=routable`). */
export interface RouteFeed {
  /**
   * Resolves when every connected worker has applied the present routes of the pod and the pod is RUNNING with a
   * backend, in this run or a later one; returns the laggards after `timeoutMs`. `kind: 'ended'` when it has reached
   * ERROR or COMPLETE, its desired state is no longer ON, or it is being deleted. When `signal` aborts (the caller is gone),
   * it resolves as after the timeout.
   */
  waitRoutable(question: RoutableQuestion, timeoutMs: number, signal?: AbortSignal): Promise<RoutableAnswer>;
}
