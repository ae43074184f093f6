import { createServer, type Server, type Socket } from 'node:net';
import { untilAborted } from '../../core/abort.ts';
import { errorText } from '../../core/errors.ts';
import {
  ANSWERED_BY_WORKERS,
  type ControlMessage,
  FEED_ALIVE_MS,
  LOGIN_TOKEN_MAX_LENGTH,
  SNAPSHOT_PIECE,
  type WakeMessage,
  type WorkerMessage,
} from '../../core/feed-protocol.ts';
import { setGuardedInterval } from '../../core/guarded-timer.ts';
import { JsonLines } from '../../core/json-lines.ts';
import type { Logger } from '../../core/logger.ts';
import type { PodNetworks } from '../../core/pod-network.ts';
import { packRoutes } from '../../core/packed-routes.ts';
import type { Route } from '../../core/route.ts';
import { parsePodConnections } from '../../core/pod-connections.ts';
import { parsePackedTraffic } from '../../core/pod-traffic.ts';
import { parseWorkerCounts } from '../../core/worker-counts.ts';
import { parseWorkerName, type WorkerName, workerNameOf, workerText } from '../../core/worker-name.ts';
import type { ConnectionQuestions, TrafficQuestions } from './worker-questions.ts';
import type { AnswerLogin } from '../auth/login-answers.ts';
import type { WorkerMetrics } from '../metrics/worker-metrics.ts';
import { listenOnUnixSocket } from '../sockets/unix-listener.ts';
import type { TicketKeys } from '../tickets/ticket-keys.ts';
import { parseCancel, parseCancelAnswered } from './cancel-message.ts';
import type { CancelRelay } from './cancel-relay.ts';
import { sendCertificates } from './certificate-sender.ts';
import type { ServedCertificates } from './served-certificates.ts';
import type { ControlRouteFeed, Follower, TableChange } from '../routes/route-feed.ts';
import type { WorkerArrivals } from './worker-arrivals.ts';
import { type CancellingWorker, WorkerCancels } from './worker-cancels.ts';

/** A worker with this much unread data no longer reads: it is disconnected and starts again from a snapshot. */
const BACKLOG_MAX_BYTES = 64 * 1024 * 1024;
const LINE_MAX_LENGTH = 64 * 1024;
/** Of one worker, at a time; it asks no more (proxy/policy/token-logins.ts). */
const LOGINS_MAX = 256;

export interface FeedServerOptions {
  readonly feed: ControlRouteFeed;
  readonly path: string;
  /** New at every start of the control child. */
  readonly epoch: string;
  readonly baseHosts: readonly string[];
  readonly log: Logger;
  readonly certificates: ServedCertificates;
  /** Default: each worker has its own. */
  readonly tickets?: Pick<TicketKeys, 'keys' | 'follow'>;
  /** A client has connected to this name, which has no publicly trusted certificate. Default: ignored. */
  readonly certificateWanted?: (host: string) => void;
  /** A client waits for a pod that sleeps. Default: ignored. */
  readonly wakeWanted?: (message: WakeMessage) => void;
  /** Receives what the workers have counted. */
  readonly counts?: Pick<WorkerMetrics, 'tell' | 'forget'>;
  /** Is told of each worker that connects. Default: nobody is. */
  readonly arrivals?: Pick<WorkerArrivals, 'arrived'>;
  /** Asks the workers about connections of a pod. Default: never. */
  readonly questions?: Pick<ConnectionQuestions, 'join'>;
  /** Asks them what they have counted of pods. Default: never. */
  readonly trafficQuestions?: Pick<TrafficQuestions, 'join'>;
  /** Default: pods have none. */
  readonly podNetworks?: PodNetworks;
  /** To and from the other replicas; default: there are none. */
  readonly cancels?: CancelRelay;
  /** Says whose a token is. Default: it cannot. */
  readonly answerLogin?: AnswerLogin;
  /** Is the orchestrator's watch up to date? Default: always. */
  readonly isWatchFresh?: () => boolean;
  /** How many replicas are live, this one included. Default: it is the only one. */
  readonly replicas?: () => number;
  /** Default: FEED_ALIVE_MS. */
  readonly aliveEveryMs?: number;
}

/** Serves the route table to the gateway workers over a Unix socket, as core/feed-protocol.ts says. */
export async function serveFeed(options: FeedServerOptions, signal: AbortSignal): Promise<void> {
  const sockets = new Set<Socket>();
  const cancels = new WorkerCancels(options.cancels ?? null);
  const stopListening = cancels.listen();
  const server: Server = createServer((socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    const cancelling = cancels.join((message) => send(socket, message));
    socket.on('close', () => cancelling.left());
    serveWorker(options, socket, cancelling);
  });
  // It carries private keys: for this user alone.
  const stopChecking = await listenOnUnixSocket({ server, path: options.path, log: options.log });
  const alive = setGuardedInterval({
    everyMs: options.aliveEveryMs ?? FEED_ALIVE_MS,
    work: () => {
      for (const socket of sockets) send(socket, aliveOf(options));
    },
    name: 'the feed of the workers',
    log: options.log,
  });
  await untilAborted(signal);
  alive.stop();
  stopChecking();
  stopListening();
  for (const socket of sockets) socket.destroy();
  await new Promise<void>((resolve) => server.close(() => resolve()));
}

function serveWorker(options: FeedServerOptions, socket: Socket, cancelling: CancellingWorker): void {
  const { feed, epoch, log } = options;
  let worker = 'a worker';
  let name: WorkerName | null = null;
  let asked: ReturnType<ConnectionQuestions['join']> | null = null;
  let askedTraffic: ReturnType<TrafficQuestions['join']> | null = null;
  let applied = -1;
  let isFollowing = false;
  let logins = 0;

  const answerLogin = async (id: number, host: string, token: string): Promise<void> => {
    if (logins >= LOGINS_MAX) return;
    logins++;
    const answer = (await options.answerLogin?.({ host, token })) ?? { kind: 'unavailable' };
    logins--;
    send(socket, { kind: 'login-answered', id, answer });
  };
  const sendSnapshot = (): void => {
    isFollowing = true;
    send(socket, { kind: 'snapshot-begin' });
    let piece: Route[] = [];
    for (const route of feed.routes()) {
      piece.push(route);
      if (piece.length < SNAPSHOT_PIECE) continue;
      send(socket, { kind: 'routes', ...packRoutes(piece) });
      piece = [];
    }
    if (piece.length > 0) send(socket, { kind: 'routes', ...packRoutes(piece) });
    send(socket, { kind: 'snapshot-end', sequence: feed.sequence });
  };
  const follower: Follower = {
    get name() {
      return worker;
    },
    get appliedSequence() {
      return applied;
    },
    changed({ sequence, set, removed }: TableChange) {
      if (!isFollowing) return;
      const { routes, ...shared } = packRoutes(set);
      send(socket, { kind: 'change', sequence, set: routes, removed, ...shared });
    },
    becameReady: sendSnapshot,
  };

  socket.on('error', (error) => {
    log.debug({ worker, error: errorText(error) }, 'the feed connection of a worker broke');
  });
  socket.on('close', feed.follow(follower));
  socket.on('close', () => {
    if (name !== null) options.counts?.forget(name, socket);
    asked?.leave();
    askedTraffic?.leave();
  });
  readValues(socket, (value) => {
    const message = parseWorkerMessage(value);
    if (message === null) {
      socket.destroy(new Error('not a message of a worker'));
    } else if (message.kind === 'hello') {
      name = workerNameOf(message);
      worker = `${workerText(name)} (pid ${message.pid})`;
      options.arrivals?.arrived(name);
      asked?.leave();
      asked = options.questions?.join(name, (id, uid) => send(socket, { kind: 'pod-asked', id, uid })) ?? null;
      const askTraffic = (id: number, uids: readonly string[]): void =>
        send(socket, { kind: 'traffic-asked', id, uids });
      const answersTraffic = message.answersTo?.includes('traffic-asked') ?? false;
      askedTraffic?.leave();
      askedTraffic = options.trafficQuestions?.join(name, answersTraffic ? askTraffic : null) ?? null;
    } else if (message.kind === 'cancel') {
      cancelling.asked(message);
    } else if (message.kind === 'cancel-answered') {
      cancelling.answered(message);
    } else if (message.kind === 'login-asked') {
      void answerLogin(message.id, message.host, message.token);
    } else if (message.kind === 'certificate-wanted') {
      options.certificateWanted?.(message.host);
    } else if (message.kind === 'challenges-applied') {
      certificates.challengesApplied(message.number);
    } else if (message.kind === 'counts') {
      if (name !== null) options.counts?.tell(name, message.counts, socket);
    } else if (message.kind === 'pod-told') {
      asked?.told(message.id, message.connections);
    } else if (message.kind === 'traffic-told') {
      askedTraffic?.told(message.id, message.traffic);
    } else if (message.kind === 'wake') {
      options.wakeWanted?.(message);
    } else if (message.epoch === epoch) {
      applied = message.sequence;
      feed.applied();
    }
  });
  send(socket, { kind: 'hello', epoch, baseHosts: options.baseHosts });
  send(socket, aliveOf(options));
  if (options.tickets !== undefined) sendTicketKeys(options.tickets, socket);
  if (options.podNetworks !== undefined) sendPodNetworks(options.podNetworks, socket);
  const certificates = sendCertificates(options.certificates, socket, (message) => send(socket, message));
  socket.on('close', certificates.stop);
  if (feed.isReady) sendSnapshot();
}

function sendTicketKeys(tickets: NonNullable<FeedServerOptions['tickets']>, socket: Socket): void {
  const sendKeys = (): void => send(socket, { kind: 'ticket-keys', keys: tickets.keys() });
  socket.on('close', tickets.follow(sendKeys));
  sendKeys();
}

function sendPodNetworks(podNetworks: PodNetworks, socket: Socket): void {
  const sendAll = (): void => send(socket, { kind: 'pod-networks', networks: podNetworks.all() });
  socket.on('close', podNetworks.follow(sendAll));
  sendAll();
}

function aliveOf({ isWatchFresh, replicas }: FeedServerOptions): ControlMessage {
  return { kind: 'alive', isWatchFresh: isWatchFresh?.() ?? true, replicas: replicas?.() ?? 1 };
}

function send(socket: Socket, message: ControlMessage): void {
  if (socket.destroyed) return;
  socket.write(`${JSON.stringify(message)}\n`);
  if (socket.writableLength > BACKLOG_MAX_BYTES) socket.destroy(new Error('the worker does not read'));
}

function readValues(socket: Socket, onValue: (value: unknown) => void): void {
  const lines = new JsonLines(LINE_MAX_LENGTH);
  socket.setEncoding('utf8');
  socket.on('data', (text: string) => {
    const state = lines.read(text, (value) => {
      onValue(value);
      return !socket.destroyed;
    });
    if (state === 'too-long') socket.destroy(new Error('a line is too long'));
  });
}

function parseWake({ tenant, podId, uid, host }: Partial<WakeMessage>): WakeMessage | null {
  const isText = (text: unknown): text is string => typeof text === 'string' && text.length <= 253;
  if (!isText(tenant) || !isText(podId) || !isText(uid) || !isText(host)) return null;
  return { kind: 'wake', tenant, podId, uid, host };
}

function parseWorkerMessage(value: unknown): WorkerMessage | null {
  try {
    const message = value as Partial<WorkerMessage> | null | undefined;
    if (message?.kind === 'hello' && typeof message.pid === 'number') {
      const name = parseWorkerName(message);
      const answersTo = ANSWERED_BY_WORKERS.filter((kind) => message.answersTo?.includes(kind));
      return name === null ? null : { kind: 'hello', ...name, pid: message.pid, answersTo };
    }
    if (message?.kind === 'certificate-wanted' && typeof message.host === 'string' && message.host.length <= 253) {
      return { kind: 'certificate-wanted', host: message.host };
    }
    if (message?.kind === 'wake') return parseWake(message);
    if (message?.kind === 'applied' && typeof message.epoch === 'string' && typeof message.sequence === 'number') {
      return { kind: 'applied', epoch: message.epoch, sequence: message.sequence };
    }
    if (message?.kind === 'challenges-applied' && typeof message.number === 'number') {
      return { kind: 'challenges-applied', number: message.number };
    }
    if (message?.kind === 'counts') {
      const counts = parseWorkerCounts(message.counts);
      return counts === null ? null : { kind: 'counts', counts };
    }
    if (message?.kind === 'pod-told' && typeof message.id === 'number') {
      return { kind: 'pod-told', id: message.id, connections: parsePodConnections(message.connections) };
    }
    if (message?.kind === 'traffic-told' && typeof message.id === 'number') {
      // Of another release, it is no answer to what was asked.
      return { kind: 'traffic-told', id: message.id, traffic: parsePackedTraffic(message.traffic) ?? [] };
    }
    if (message?.kind === 'login-asked' && typeof message.id === 'number') {
      const { id, host, token } = message;
      if (typeof host !== 'string' || host.length > 253) return null;
      if (typeof token !== 'string' || token.length > LOGIN_TOKEN_MAX_LENGTH) return null;
      return { kind: 'login-asked', id, host, token };
    }
    if (message?.kind === 'cancel') return parseCancel(message);
    if (message?.kind === 'cancel-answered') return parseCancelAnswered(message);
  } catch {
    // A part has the wrong shape: not a message.
  }
  return null;
}
