import { isIP } from 'node:net';
import type { CancelAnswer } from '../../core/cancel-answer.ts';
import {
  CANCEL_KEY_MAX_LENGTH,
  type ControlMessage,
  type LoginAnswer,
  type WorkerMessage,
} from '../../core/feed-protocol.ts';
import type { ServedCertificate, ServedChallenges } from '../../core/certificates.ts';
import type { PodNetwork } from '../../core/pod-network.ts';
import type { PodConnections } from '../../core/pod-connections.ts';
import type { PackedTraffic } from '../../core/pod-traffic.ts';
import { type PackedRoutes, unpackRoutes } from '../../core/packed-routes.ts';
import type { Route } from '../../core/route.ts';
import type { TicketKey } from '../../core/ticket-keys.ts';

/** Where what is followed goes. */
export interface FeedSink {
  setBaseHosts(hosts: readonly string[]): void;
  replaceCertificates(certificates: readonly ServedCertificate[]): void;
  changeCertificates(set: readonly ServedCertificate[], removed: readonly string[]): void;
  setChallenges(challenges: ServedChallenges): void;
  setTicketKeys(keys: readonly TicketKey[]): void;
  /** Whose a token is that this worker has asked about. */
  loginAnswered(id: number, answer: LoginAnswer): void;
  replaceRoutes(routes: readonly Route[]): void;
  changeRoutes(set: readonly Route[], removed: readonly string[]): void;
  /** Another worker's client asks to cancel the session of this key (process id and secret): to be answered. */
  cancel(id: number, key: Buffer, address: string): void;
  /** What came of one that this worker has asked about. */
  cancelAnswered(id: number, answer: CancelAnswer): void;
  /** How many there are now, this one included. */
  setReplicas(replicas: number): void;
  /** All there are: the gateway is reached from inside them, too. */
  setPodNetworks(networks: readonly PodNetwork[]): void;
  reportPod(uid: string): PodConnections | null;
  reportTraffic(uids: readonly string[]): PackedTraffic;
}

export type Followed =
  | {
      readonly kind: 'followed';
      readonly report: Extract<
        WorkerMessage,
        { readonly kind: 'applied' | 'challenges-applied' | 'pod-told' | 'traffic-told' }
      > | null;
    }
  /** Something is missing or out of order: only a new connection, with its snapshot, helps. */
  | { readonly kind: 'lost'; readonly reason: string };

type Phase =
  | { readonly kind: 'greeting' }
  | { readonly kind: 'before-snapshot'; readonly epoch: string }
  | { readonly kind: 'snapshot'; readonly epoch: string; readonly routes: Route[] }
  | { readonly kind: 'live'; readonly epoch: string; readonly sequence: number };

const FOLLOWED: Followed = { kind: 'followed', report: null };

/** Follows one connection to the feed (see core/feed-protocol.ts). Pure but for its sink. */
export class FeedFollower {
  readonly #sink: FeedSink;
  #phase: Phase = { kind: 'greeting' };
  #isWatchFresh = false;
  /** The pieces of a whole set that has begun. */
  #certificates: ServedCertificate[] | null = null;

  constructor(sink: FeedSink) {
    this.#sink = sink;
  }

  get hasSnapshot(): boolean {
    return this.#phase.kind === 'live';
  }

  /** The watch behind the table was fresh when control last spoke of it. */
  get isWatchFresh(): boolean {
    return this.#isWatchFresh;
  }

  get hasGreeting(): boolean {
    return this.#phase.kind !== 'greeting';
  }

  receive(message: ControlMessage): Followed {
    const phase = this.#phase;
    if (message.kind === 'hello') {
      if (phase.kind !== 'greeting') return lost('a second hello');
      this.#phase = { kind: 'before-snapshot', epoch: message.epoch };
      this.#sink.setBaseHosts(message.baseHosts);
      return FOLLOWED;
    }
    if (phase.kind === 'greeting') return lost(`${message.kind} before hello`);
    switch (message.kind) {
      case 'alive':
        this.#isWatchFresh = message.isWatchFresh;
        if (message.replicas !== undefined) this.#sink.setReplicas(message.replicas);
        return FOLLOWED;
      case 'certificates-begin':
        this.#certificates = [];
        return FOLLOWED;
      case 'certificates':
        if (this.#certificates === null) this.#sink.changeCertificates(message.set, message.removed);
        else for (const certificate of message.set) this.#certificates.push(certificate);
        return FOLLOWED;
      case 'certificates-end':
        if (this.#certificates === null) return lost('the end of no certificates');
        this.#sink.replaceCertificates(this.#certificates);
        this.#certificates = null;
        return FOLLOWED;
      case 'challenges':
        this.#sink.setChallenges(message.challenges);
        return { kind: 'followed', report: { kind: 'challenges-applied', number: message.number } };
      case 'ticket-keys':
        this.#sink.setTicketKeys(message.keys);
        return FOLLOWED;
      case 'snapshot-begin':
        this.#phase = { kind: 'snapshot', epoch: phase.epoch, routes: [] };
        return FOLLOWED;
      case 'routes':
        if (phase.kind !== 'snapshot') return lost('routes outside a snapshot');
        return unpacked(message, (routes) => {
          for (const route of routes) phase.routes.push(route);
          return FOLLOWED;
        });
      case 'snapshot-end':
        if (phase.kind !== 'snapshot') return lost('the end of no snapshot');
        this.#sink.replaceRoutes(phase.routes);
        return this.#applied(phase.epoch, message.sequence);
      case 'change':
        if (phase.kind !== 'live') return lost('a change before the snapshot');
        if (message.sequence !== phase.sequence + 1) return lost('a change out of sequence');
        return unpacked({ ...message, routes: message.set }, (set) => {
          this.#sink.changeRoutes(set, message.removed);
          return this.#applied(phase.epoch, message.sequence);
        });
      case 'pod-networks':
        this.#sink.setPodNetworks(message.networks);
        return FOLLOWED;
      case 'pod-asked': {
        const { id, uid } = message;
        return { kind: 'followed', report: { kind: 'pod-told', id, connections: this.#sink.reportPod(uid) } };
      }
      case 'traffic-asked': {
        const { id, uids } = message;
        return { kind: 'followed', report: { kind: 'traffic-told', id, traffic: this.#sink.reportTraffic(uids) } };
      }
      case 'login-answered':
        this.#sink.loginAnswered(message.id, message.answer);
        return FOLLOWED;
      case 'cancel':
        this.#cancel(message);
        return FOLLOWED;
      case 'cancel-answered': {
        const { id, isFound, passedThrough } = message;
        this.#sink.cancelAnswered(id, { isFound, passedThrough });
        return FOLLOWED;
      }
      // Of a newer control process, in the middle of a restart.
      default:
        return FOLLOWED;
    }
  }

  /** What is malformed is passed over: a cancel is not worth a new snapshot. */
  #cancel({ id, key, address }: { readonly id: number; readonly key: unknown; readonly address: unknown }): void {
    if (typeof key !== 'string' || key.length > CANCEL_KEY_MAX_LENGTH) return;
    if (typeof address !== 'string' || isIP(address) === 0) return;
    this.#sink.cancel(id, Buffer.from(key, 'base64'), address);
  }

  #applied(epoch: string, sequence: number): Followed {
    this.#phase = { kind: 'live', epoch, sequence };
    return { kind: 'followed', report: { kind: 'applied', epoch, sequence } };
  }
}

function unpacked(packed: PackedRoutes, apply: (routes: readonly Route[]) => Followed): Followed {
  const routes = unpackRoutes(packed);
  return routes === null ? lost('a route without its authorities') : apply(routes);
}

function lost(reason: string): Followed {
  return { kind: 'lost', reason };
}
