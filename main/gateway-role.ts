import {
  createGateway,
  DEFAULT_GATEWAY_LIMITS,
  type Gateway,
  type ListenKind,
  type Listening,
} from '../proxy/gateway.ts';
import { DEFAULT_HTTP_LIMITS } from '../proxy/protocols/http/http-protocol.ts';
import { errorText } from '../core/errors.ts';
import type { Logger } from '../core/logger.ts';
import { join } from 'node:path';
import { openAccessLogSink } from './access-log-sink.ts';
import { watchProcessNumbers } from './process-numbers.ts';
import type { SupervisorLink } from './supervisor-link.ts';
import { systemClock } from './system-clock.ts';

/** Scrapes are seldom more often. */
const TELL_COUNTS_MS = 2_000;

/** Runs a gateway on the sockets the supervisor gives, until the signal aborts. */
export async function runGateway(link: SupervisorLink, log: Logger, signal: AbortSignal): Promise<void> {
  const { settings, worker } = link.start;
  const { config, runDir } = settings;
  const sink =
    config.accessLog.to === 'off' ? null : openAccessLogSink({ config: config.accessLog, rotates: worker === 0, log });
  const gateway = createGateway({
    worker,
    feedSocketPath: join(runDir, 'feed.sock'),
    apiSocketPath: join(runDir, 'api.sock'),
    apiUrl: `https://${config.tenants[0].baseHost}:${config.publicHttpsPort}`,
    publicHttpsPort: config.publicHttpsPort,
    limits: limitsOf(config.gateway, Math.max(1, config.workers)),
    drainMs: config.drain.sessionsMs,
    sessions: config.sessions,
    ...(config.gateway.staleAfterMs === undefined ? {} : { staleAfterMs: config.gateway.staleAfterMs }),
    proxyProtocol: config.proxyProtocol,
    trustedProxies: config.trustedProxies,
    ...(sink === null ? {} : { accessLog: sink }),
    clock: systemClock,
    log,
  });
  void gateway.synchronized.then(() => link.send({ kind: 'synchronized' }));
  const accepted = new Map<number, Listening[]>();
  link.onListen(['https', 'http'], ({ socket, slot, isLast, handle }) => {
    if (socket === 'control') return;
    void listen(gateway, socket, handle, log).then((listening) => {
      if (listening === null) return;
      accepted.set(slot, [...(accepted.get(slot) ?? []), listening]);
      if (isLast) link.send({ kind: 'listening', slot });
    });
  });
  link.onRelease((slot) => {
    for (const listening of accepted.get(slot) ?? []) listening.close();
    accepted.delete(slot);
  });
  const numbers = watchProcessNumbers();
  const telling = setInterval(() => gateway.tellCounts(numbers()), TELL_COUNTS_MS);
  link.onEnding((why) => {
    // The counts are its successor's from now on.
    if (why === 'replaced') clearInterval(telling);
    gateway.drainFor(why === 'replaced' ? config.drain.replacedMs : config.drain.sessionsMs);
  });
  await gateway.run(signal);
  clearInterval(telling);
  await sink?.close();
}

async function listen(gateway: Gateway, kind: ListenKind, handle: object, log: Logger): Promise<Listening | null> {
  try {
    return await gateway.listen(kind, handle);
  } catch (error) {
    log.error({ kind, error: errorText(error) }, 'cannot accept on a socket of the supervisor');
    return null;
  }
}

/** Connection limits are this whole installation's: each worker holds an equal share of them. */
function limitsOf(given: SupervisorLink['start']['settings']['config']['gateway'], workers: number) {
  const share = (limit: number): number => Math.ceil(limit / workers);
  const defaults = DEFAULT_GATEWAY_LIMITS;
  return {
    handshakeTimeoutMs: given.handshakeTimeoutMs ?? defaults.handshakeTimeoutMs,
    maxConnections: share(given.connections ?? defaults.maxConnections),
    maxConnectionsPerAddress: share(given.connectionsPerAddress ?? defaults.maxConnectionsPerAddress),
    maxConnectionsPerPod: share(given.connectionsPerPod ?? defaults.maxConnectionsPerPod),
    sessionIdleMs: given.sessionIdleMs ?? defaults.sessionIdleMs,
    http: DEFAULT_HTTP_LIMITS,
  };
}
