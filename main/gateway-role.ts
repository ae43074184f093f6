import { createGateway } from '../proxy/gateway.ts';
import { DEFAULT_GATEWAY_LIMITS, type Gateway, type ListenKind, type Listening } from '../proxy/gateway-options.ts';
import { LeasedPlaces } from '../proxy/limits/leased-places.ts';
import { DEFAULT_HTTP_LIMITS } from '../proxy/protocols/http/http-protocol.ts';
import { EGRESS_PORT } from '../core/egress.ts';
import { errorText } from '../core/errors.ts';
import type { Config } from '../config/config.ts';
import { setGuardedInterval } from '../core/guarded-timer.ts';
import type { Logger } from '../core/logger.ts';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { createAcceptPause } from './accept-pause.ts';
import { openAccessLogSink } from './access-log-sink.ts';
import { descriptorLimit, lowestFreeDescriptor, openDescriptors } from './descriptor-limit.ts';
import { planDescriptors } from './descriptor-plan.ts';
import { watchProcessNumbers } from './process-numbers.ts';
import type { SupervisorLink } from './supervisor-link.ts';
import { systemClock } from './system-clock.ts';

/** Scrapes are seldom more often. */
const TELL_COUNTS_MS = 2_000;
/** For goodbyes and all else between the end of the drain and that of the process. */
const FAREWELL_MS = 2_500;

/** Runs a gateway on the sockets the supervisor gives, until the signal aborts. */
export async function runGateway(link: SupervisorLink, log: Logger, signal: AbortSignal): Promise<void> {
  const { settings, worker } = link.start;
  const { config, runDir, instance } = settings;
  const sink =
    config.accessLog.to === 'off' ? null : openAccessLogSink({ config: config.accessLog, rotates: worker === 0, log });
  const accepted = new Map<number, Listening[]>();
  const descriptors = planDescriptors(descriptorLimit());
  const pausing = createAcceptPause({
    plan: descriptors,
    lowestFree: lowestFreeDescriptor,
    count: openDescriptors,
    // What waits in the queues of the sockets stays there, or goes to a sibling: the supervisor keeps them open.
    pause() {
      gateway.counters.limited.descriptors++;
      for (const listening of [...accepted.values()].flat()) listening.close();
      accepted.clear();
      link.send({ kind: 'full' });
    },
    resume: () => link.send({ kind: 'room' }),
    log,
  });
  const places = new LeasedPlaces({
    workers: Math.max(1, config.workers),
    send: (message) => link.send({ kind: 'places', message }),
    nowMs: () => systemClock.monotonicMs(),
  });
  link.onPlaces((message) => places.receive(message));
  const gateway = createGateway({
    worker,
    places,
    ...(config.controlPlane === null ? {} : { gateway: `${hostname()}-${instance.slice(0, 6)}` }),
    feedSocketPath: join(runDir, 'feed.sock'),
    apiSocketPath: join(runDir, 'api.sock'),
    apiUrl: `https://${config.tenants[0].baseHost}:${config.publicHttpsPort}`,
    publicHttpsPort: config.publicHttpsPort,
    podListeners: podListenersOf(config),
    ...(config.process.egress === null ? {} : { egress: config.process.egress }),
    limits: limitsOf(config, Math.max(1, config.workers), descriptors.maxConnections),
    notifyWorkers: (waiting) => link.send({ kind: 'waiting', waiting }),
    descriptorTaken: (descriptor) => pausing.taken(descriptor),
    drainMs: config.drain.sessionsMs,
    // A counter has to be there from its 0 on: rate() knows no growth from nothing.
    greeted: () => telling.now(),
    sessions: config.sessions,
    ...(config.gateway.staleAfterMs === undefined ? {} : { staleAfterMs: config.gateway.staleAfterMs }),
    proxyProtocol: config.proxyProtocol,
    trustedProxies: config.trustedProxies,
    ...(sink === null ? {} : { accessLog: sink }),
    clock: systemClock,
    log,
  });
  link.onMakeRoom((waiting) => gateway.makeRoom(waiting));
  void gateway.synchronized.then(() => link.send({ kind: 'synchronized' }));
  link.onListen(['https', 'http'], ({ socket, slot, isLast, handle }) => {
    if (socket === 'control') return;
    // The order crossed our message that we are full: the supervisor assigns the slot again.
    if (pausing.isPaused) {
      (handle as { close(): void }).close();
      return;
    }
    void listen(gateway, socket, handle, log).then((listening) => {
      if (listening === null) return;
      if (pausing.isPaused) {
        listening.close();
        return;
      }
      accepted.set(slot, [...(accepted.get(slot) ?? []), listening]);
      if (isLast) link.send({ kind: 'listening', slot });
    });
  });
  link.onRelease((slot) => {
    for (const listening of accepted.get(slot) ?? []) listening.close();
    accepted.delete(slot);
  });
  const numbers = watchProcessNumbers();
  const telling = setGuardedInterval({
    everyMs: TELL_COUNTS_MS,
    work: () => gateway.reportCounts(numbers()),
    name: 'counts',
    log,
  });
  link.onEnding((why, graceMs) => {
    // The counts are its successor's from now on.
    if (why === 'replaced') telling.stop();
    const { replacedMs, sessionsMs } = config.drain;
    // Sessions that remain at the end get a goodbye, which takes a moment.
    gateway.drainFor(why === 'replaced' ? replacedMs : Math.max(0, Math.min(sessionsMs, graceMs - FAREWELL_MS)));
  });
  await gateway.run(signal);
  telling.stop();
  pausing.close();
  await sink?.close();
}

async function listen(gateway: Gateway, kind: ListenKind, handle: object, log: Logger): Promise<Listening | null> {
  try {
    return await gateway.listen(kind, handle);
  } catch (error) {
    log.error({ kind, error: errorText(error) }, 'cannot accept on a socket from the supervisor');
    return null;
  }
}

/** `connections` is shared out among the workers, as descriptors allow; the workers count the other limits together. */
function limitsOf(
  { gateway: given, quotas }: Pick<SupervisorLink['start']['settings']['config'], 'gateway' | 'quotas'>,
  workers: number,
  descriptorsMost: number,
) {
  const share = (limit: number): number => Math.ceil(limit / workers);
  const defaults = DEFAULT_GATEWAY_LIMITS;
  const perPod = given.connectionsPerPod ?? defaults.maxConnectionsPerPod;
  return {
    handshakeTimeoutMs: given.handshakeTimeoutMs ?? defaults.handshakeTimeoutMs,
    maxConnections: Math.min(share(given.connections ?? defaults.maxConnections), descriptorsMost),
    maxConnectionsPerAddress: given.connectionsPerAddress ?? defaults.maxConnectionsPerAddress,
    maxConnectionsPerPod: perPod,
    maxConnectionsPerAddressAtPod: given.connectionsPerAddressAtPod ?? Math.ceil(perPod / 2),
    maxConnectionsPerOwner: quotas.perUser.connections,
    maxConnectionsPerTenant: quotas.perTenant.connections,
    sessionIdleMs: given.sessionIdleMs ?? defaults.sessionIdleMs,
    halfClosedMs: given.halfClosedMs ?? defaults.halfClosedMs,
    keepAliveMs: defaults.keepAliveMs,
    http: {
      ...DEFAULT_HTTP_LIMITS,
      stalledClientMs: given.stalledClientMs ?? DEFAULT_HTTP_LIMITS.stalledClientMs,
      minClientBytesPerSecond: given.minClientBytesPerSecond ?? DEFAULT_HTTP_LIMITS.minClientBytesPerSecond,
    },
  };
}

/** As on the machine itself; and under the port that clients dial, which may be that of a load balancer. */
function podListenersOf({ process: { egress }, ...config }: Config) {
  const { httpsPort, httpPort, publicHttpsPort, publicHttpPort, listeners } = config;
  const tlsPorts = [httpsPort, publicHttpsPort, ...listeners.map(({ port }) => port)];
  return [
    ...Array.from(new Set(tlsPorts), (port) => ({ kind: 'https', port }) as const),
    ...Array.from(new Set([httpPort, publicHttpPort]), (port) => ({ kind: 'http', port }) as const),
    // Last: a program starts when this one is open, and then finds the others.
    ...(egress === null ? [] : [{ kind: 'egress', port: EGRESS_PORT } as const]),
  ];
}
