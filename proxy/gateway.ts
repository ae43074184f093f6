import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { untilAborted } from '../core/abort.ts';
import type { EgressRules } from '../core/egress.ts';
import { workerNameOf } from '../core/worker-name.ts';
import { errorText } from '../core/errors.ts';
import { setGuardedInterval } from '../core/guarded-timer.ts';
import type { PodConnections } from '../core/pod-connections.ts';
import { packTraffic } from '../core/pod-traffic.ts';
import type { PodNetwork } from '../core/pod-network.ts';
import { LoginSeals } from '../core/pod-login.ts';
import type { TicketKey } from '../core/ticket-keys.ts';
import type { PodUse } from '../core/pod-use.ts';
import type { ProcessNumbers } from '../core/worker-counts.ts';
import { createCounters } from './telemetry/counters.ts';
import { ConnectionCounts } from './limits/connection-counts.ts';
import { PodListeners } from './listener/pod-listeners.ts';
import { HttpsFront } from './listener/https-front.ts';
import { EgressDoor } from './protocols/egress/egress-door.ts';
import { ConnectionRegistry } from './listener/connection-registry.ts';
import { compileAddressList } from '../core/address-range.ts';
import { Cancellation } from './protocols/postgres/cancel/cancellation.ts';
import { createHttpProtocol, type WaitingPod } from './protocols/http/http-protocol.ts';
import { createRedirectServer } from './protocols/http/redirect.ts';
import { createIntroductions, type ProxyProtocolOptions } from './proxy-protocol/introduction.ts';
import { Holds } from './dial/holds.ts';
import { PodUses } from './use/pod-uses.ts';
import { FeedClient, STALE_AFTER_MS } from './routes/feed-client.ts';
import { TokenLogins } from './policy/token-logins.ts';
import { PodLogins } from './protocols/http/exchange/pod-logins.ts';
import { RouteTable } from './routes/route-table.ts';
import { createTelemetry, type Telemetry } from './telemetry/telemetry.ts';
import { descriptorOf } from './socket/descriptor-of.ts';
import { DEFAULT_SESSION_POLICY, RunningSessions } from './session/running-sessions.ts';
import { TlsTerminator } from './tls/tls-terminator.ts';
import { createWantedCertificates } from './tls/wanted-certificates.ts';
import type { GatewayLimits, GatewayOptions, ListenKind, ListenTarget, Listening, Gateway } from './gateway-options.ts';

const NOBODY_TRUSTED: ProxyProtocolOptions = { from: [], policy: 'require' };
const NO_EGRESS: EgressRules = { allow: [], deny: ['0.0.0.0/0', '::/0'], ports: [] };
const DRAIN_CHECK_MS = 50;
/** How soon a client that is gone is noticed, once the kernel knows. */
const PROBE_MS = 5_000;
/** Of keep-alive: ten, one a second (libuv). */
const KEEP_ALIVE_PROBES_MS = 10_000;
/** What those who are cut at the end have for their goodbyes: the rest of a message, and a close that is returned. */
const GOODBYE_MS = 1_500;
const CLOSED_CHECK_MS = 5;
const CLOSED_CHECKS = 20;
/** A plain HTTP client gets a redirect and is closed. */
const REDIRECT_CONNECTION_MS = 15_000;

/** The data plane of one worker: everything from an accepted socket to a pod. Nothing runs before `run` and `listen`. */
export function createGateway(options: GatewayOptions): Gateway {
  return new GatewayWorker(options);
}

class GatewayWorker implements Gateway {
  readonly table: RouteTable = new RouteTable(() => this.#feed.isFresh());
  readonly counters = createCounters();
  readonly #options: GatewayOptions;
  readonly #registry: ConnectionRegistry;
  readonly #telemetry: Telemetry;
  readonly #sessions: RunningSessions;
  readonly #feed: FeedClient;
  readonly #holds: Holds;
  readonly #http: ReturnType<typeof createHttpProtocol>;
  readonly #accept: Readonly<Record<ListenKind, (raw: Socket, network: PodNetwork | null) => void>>;
  readonly #servers = new Set<Server>();
  readonly #podListeners: PodListeners<ListenKind>;
  #drainEndMs: number | null = null;
  #baseHosts: ReadonlySet<string> = new Set();
  #ticketKeys: readonly TicketKey[] = [];
  /** http-01: token -> key authorization. */
  #challenges: ReadonlyMap<string, string> = new Map();

  constructor(options: GatewayOptions) {
    this.#options = options;
    const { clock, log, limits, apiUrl, apiSocketPath, publicHttpsPort } = options;
    const { table, counters } = this;
    const counts = new ConnectionCounts(limits, (limit) => counters.limited[limit]++, options.places);
    const trusted = options.trustedProxies ?? [];
    const telemetry = createTelemetry({
      worker: options.worker,
      counters,
      clock,
      accessLog: options.accessLog ?? null,
    });
    this.#telemetry = telemetry;
    const uses = new PodUses(table, clock);
    const policy = options.sessions ?? DEFAULT_SESSION_POLICY;
    const sessions = new RunningSessions((host) => table.get(host), policy, uses);
    this.#sessions = sessions;
    const holds = new Holds({
      table,
      uses,
      counts: counters,
      clock,
      askWake: ({ tenant, podId, uid, host }) => this.#feed.send({ kind: 'wake', tenant, podId, uid, host }),
      ...(hasAddressShare(limits) ? {} : { addressShare: 1 }),
    });
    this.#holds = holds;
    const baseHosts = (): ReadonlySet<string> => this.#baseHosts;
    const isStale = (): boolean => this.isStale();

    this.#registry = new ConnectionRegistry({
      counts,
      counters,
      telemetry,
      clock,
      log,
      logConnections: options.logConnections ?? false,
      introductions: createIntroductions(options.proxyProtocol ?? NOBODY_TRUSTED),
      introductionMs: limits.handshakeTimeoutMs,
      maxUnintroduced: limits.maxConnections,
    });
    const tokens = new TokenLogins({
      ask: (id, host, token) => this.#feed.send({ kind: 'login-asked', id, host, token }),
      limited: (limit) => counters.limited[limit]++,
      clock,
    });
    const seals = new LoginSeals(() => this.#ticketKeys);
    this.#http = createHttpProtocol({
      login: new PodLogins({ seals, tokens, publicHttpsPort, clock }).policy,
      table,
      baseHosts,
      apiSocketPath,
      apiUrl,
      limits: { ...limits.http, halfClosedMs: limits.halfClosedMs },
      isStale,
      trustedProxies: trusted.length === 0 ? null : compileAddressList(trusted),
      acquirePod: (places, done) => counts.acquirePod(places, done),
      releasePod: (places) => counts.releasePod(places),
      acquireAddress: (address, done) => counts.acquireAddress(address, done),
      releaseAddress: (address) => counts.releaseAddress(address),
      telemetry,
      sessions,
      holds,
      uses,
      log,
      ...(options.notifyWorkers === undefined ? {} : { notifyWorkers: options.notifyWorkers }),
    });
    const terminator: TlsTerminator = new TlsTerminator({
      onSecure: (client, raw) => front.onSecure(raw, client),
      onFailed: (raw) => front.onHandshakeFailed(raw),
      clock,
      log,
    });
    const cancellation = new Cancellation({
      table,
      counters,
      clock,
      ask: (id, key, address) => this.#feed.send({ kind: 'cancel', id, key: key.toString('base64'), address }),
    });
    const front = new HttpsFront({
      registry: this.#registry,
      telemetry,
      terminator,
      certificateWanted: createWantedCertificates((host) => this.#feed.send({ kind: 'certificate-wanted', host })),
      http: this.#http,
      cancellation,
      table,
      sessions,
      baseHosts,
      isStale,
      counts,
      counters,
      holds,
      uses,
      clock,
      apiUrl,
      publicHttpsPort,
      handshakeTimeoutMs: limits.handshakeTimeoutMs,
      halfClosedMs: limits.halfClosedMs,
    });
    const redirect = createRedirectServer({
      table,
      baseHosts,
      challengeAnswer: (token) => this.#challenges.get(token),
      publicHttpsPort,
      infoOf: (socket) => this.#registry.find(socket)?.info ?? null,
      telemetry,
      log,
    });
    const door = new EgressDoor({
      rules: options.egress ?? NO_EGRESS,
      nameServers: options.egress?.nameServers ?? [],
      counts,
      counters,
      clock,
      close: (connection, reason) => this.#registry.close(connection, reason),
      handshakeTimeoutMs: limits.handshakeTimeoutMs,
      halfClosedMs: limits.halfClosedMs,
    });
    this.#accept = {
      https: (raw, network) => front.accept(raw, network),
      egress: (raw, network) => {
        // It is of use to pods alone: elsewhere it would be an open proxy.
        if (network === null) raw.destroy();
        else this.#registry.receive(raw, network, (connection) => door.accept(connection, network));
      },
      http: (raw, network) => {
        this.#registry.receive(raw, network, (connection) => {
          connection.phase = 'served';
          connection.isHttp = true;
          // A server that never listens does not watch its own timeouts.
          connection.setDeadline(REDIRECT_CONNECTION_MS, () => this.#registry.close(connection, 'deadline'));
          redirect.emit('connection', raw);
          // The reader of the first bytes may have left the socket paused.
          if (raw.readableFlowing === false) raw.resume();
        });
      },
    };
    this.#podListeners = new PodListeners({
      listeners: options.podListeners ?? [],
      listen: (kind, handle, network) => this.#listen(kind, handle, network),
      log,
    });
    this.#feed = new FeedClient({
      socketPath: options.feedSocketPath,
      ...workerNameOf(options),
      clock,
      log,
      staleAfterMs: options.staleAfterMs ?? STALE_AFTER_MS,
      ...(options.greeted === undefined ? {} : { greeted: options.greeted }),
      sink: {
        setBaseHosts: (hosts) => {
          this.#baseHosts = new Set(hosts);
          terminator.setDefaultNames(hosts);
        },
        replaceCertificates: (certificates) => terminator.replaceCertificates(certificates),
        changeCertificates: (set, removed) => terminator.changeCertificates(set, removed),
        setChallenges: ({ http, tls }) => {
          this.#challenges = new Map(Object.entries(http));
          terminator.setChallenges(tls);
        },
        setTicketKeys: (keys) => {
          this.#ticketKeys = keys;
          terminator.setTicketKeys(keys);
        },
        loginAnswered: (id, answer) => tokens.answered(id, answer),
        replaceRoutes: (routes) => {
          table.replace(routes);
          sessions.allRoutesChanged();
        },
        changeRoutes: (set, removed) => {
          table.apply(set, removed);
          sessions.routesChanged([...removed, ...set.map(({ host }) => host)]);
        },
        cancel: (id, key, address) => {
          cancellation.requestElsewhere(key, address, (answer) => {
            this.#feed.send({ kind: 'cancel-answered', id, ...answer });
          });
        },
        cancelAnswered: (id, answer) => cancellation.answered(id, answer),
        setReplicas: (replicas) => {
          // A gateway apart is none of them: its quotas are its own.
          if (options.gateway === undefined) counts.replicasChanged(replicas);
        },
        setPodNetworks: (networks) => this.#podListeners.set(networks),
        reportTraffic: (uids) => packTraffic(uids.map((uid) => telemetry.pods.traffic(uid))),
        reportPod: (uid) => withUse(telemetry.pods.report(uid), uses.report(uid), clock.now()),
      },
    });
  }

  get synchronized(): Promise<undefined> {
    return this.#feed.synchronized;
  }

  isStale(): boolean {
    return this.#feed.isStale();
  }

  listen(kind: ListenKind, target: ListenTarget): Promise<Listening> {
    return this.#listen(kind, target, null);
  }

  /** `network`: of the pod that the socket is in. */
  #listen(kind: ListenKind, target: ListenTarget, network: PodNetwork | null): Promise<Listening> {
    const server = createServer(
      { allowHalfOpen: true, noDelay: true, keepAlive: true, keepAliveInitialDelay: this.#options.limits.keepAliveMs },
      (raw) => this.#take(kind, raw, network),
    );
    this.#servers.add(server);
    const close = (): void => {
      if (this.#servers.delete(server)) server.close();
    };
    return new Promise((resolve, reject) => {
      server.once('error', (error) => {
        this.#servers.delete(server);
        reject(error);
      });
      server.listen(target, () => {
        server.removeAllListeners('error');
        server.on('error', (error) => this.#onAcceptFailed(error));
        resolve({ port: (server.address() as AddressInfo).port, close });
      });
    });
  }

  /** What a connection's first steps throw ends that connection alone. */
  #take(kind: ListenKind, raw: Socket, network: PodNetwork | null): void {
    const { descriptorTaken, log } = this.#options;
    const descriptor = descriptorOf(raw);
    try {
      this.#accept[kind](raw, network);
    } catch (error) {
      raw.destroy();
      log.error({ error: error instanceof Error ? error.stack : String(error) }, 'a new connection failed');
    }
    // Last: it may stop the listening that has brought this connection.
    if (descriptor !== null) descriptorTaken?.(descriptor);
  }

  async run(signal: AbortSignal): Promise<void> {
    const { log, limits } = this.#options;
    const { sessionIdleMs } = limits;
    const checkingIdle =
      sessionIdleMs === 0
        ? undefined
        : setGuardedInterval({
            everyMs: sessionIdleMs / 10,
            work: () => this.#registry.closeIdle(sessionIdleMs),
            name: 'idle sessions',
            log,
          });
    const registry = this.#registry;
    const probe = (): void => {
      registry.probe();
      registry.closeVanished(limits.keepAliveMs + KEEP_ALIVE_PROBES_MS);
    };
    const probing = setGuardedInterval({ everyMs: PROBE_MS, work: probe, name: 'probes', log });
    // Routes go on to matter to sessions that drain, and their cancels come over the feed.
    const following = new AbortController();
    const followed = this.#feed.run(following.signal);
    await untilAborted(signal);
    this.stopAccepting();
    this.#http.close();
    const { clock, drainMs } = this.#options;
    this.#drainEndMs ??= clock.monotonicMs() + drainMs;
    while (this.#registry.size > 0 && clock.monotonicMs() < this.#drainEndMs) await delay(DRAIN_CHECK_MS);
    checkingIdle?.stop();
    probing.stop();
    this.#sessions.cutAll('drained');
    const refused = this.#holds.drain();
    // What HTTP/2 says leaves with the next turn of the event loop.
    await delay(CLOSED_CHECK_MS);
    const saidMs = clock.monotonicMs() + GOODBYE_MS;
    const isLeaving = (): boolean => this.#sessions.leaving > 0 || (refused > 0 && this.#registry.size > 0);
    while (isLeaving() && clock.monotonicMs() < saidMs) await delay(CLOSED_CHECK_MS);
    this.closeAll();
    // Until they are told of.
    for (let checks = 0; this.#registry.size > 0 && checks < CLOSED_CHECKS; checks++) await delay(CLOSED_CHECK_MS);
    following.abort();
    await followed;
  }

  drainFor(ms: number): void {
    this.#drainEndMs = this.#options.clock.monotonicMs() + ms;
  }

  stopAccepting(): void {
    for (const server of this.#servers) server.close();
    this.#servers.clear();
  }

  activeConnections(): number {
    return this.#registry.size;
  }

  makeRoom(waiting: WaitingPod): void {
    this.#http.makeRoom(waiting);
  }

  reportCounts(process: ProcessNumbers): void {
    const { requestsNow, sessionsNow, droppedLines, durations } = this.#telemetry;
    const now = { active: this.#registry.size, requestsNow, sessionsNow, droppedLines };
    this.#feed.send({ kind: 'counts', counts: { ...this.counters, ...now, durations, process } });
  }

  closeAll(): void {
    this.#sessions.cutAll('drained');
    this.#registry.closeAll();
  }

  /** Out of file descriptors, for one: the connection is gone, the next may work. */
  #onAcceptFailed(error: Error): void {
    this.counters.closed['accept-failed']++;
    this.#options.log.warn({ error: errorText(error) }, 'accept failed');
  }
}

/** An address gets a share of a pod only, as nearly everywhere: there may be one address for all clients (decision 0049). */
function hasAddressShare({ maxConnectionsPerPod, maxConnectionsPerAddressAtPod }: GatewayLimits): boolean {
  return maxConnectionsPerAddressAtPod !== null && maxConnectionsPerAddressAtPod < maxConnectionsPerPod;
}

/** What has been seen of a pod. One that may sleep is told of also when there was no connection to it. */
function withUse(seen: PodConnections | null, use: PodUse | undefined, nowMs: number): PodConnections | null {
  if (use === undefined) return seen;
  return { ...(seen ?? { sinceMs: nowMs, stanzas: {}, refusals: [], recent: [] }), use };
}
