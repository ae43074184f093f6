import { createServer, type RequestListener, type Server } from 'node:http';
import { readMetricsToken } from '../../config/api-section.ts';
import type { Config } from '../../config/config.ts';
import type { Api } from '../../control/api.ts';
import { answerClientError } from '../../control/http/client-error.ts';
import { CONNECTIONS_MAX } from '../../control/http/server-options.ts';
import { controlHostNames } from '../../control/http/known-hosts.ts';
import { metricsEndpoint } from '../../control/metrics/metrics-endpoint.ts';
import { listenOnUnixSocket } from '../../control/sockets/unix-listener.ts';
import type { Logger } from '../../core/logger.ts';
import { expectClientLine } from '../control-port/client-line.ts';
import { descriptorLimit } from '../descriptor-limit.ts';
import { planDescriptors } from '../descriptor-plan.ts';

/** Responses in flight have this long to finish at shutdown. */
const CLOSE_GRACE_MS = 500;

export interface ControlServer {
  /**
   * A Unix socket: `api.sock`, to which the gateway workers forward calls from outside, or the socket behind the control
   * port, which is for this machine only: only it serves /metrics.
   */
  listen(target: string | { readonly controlSocketPath: string }): Promise<void>;
  close(): Promise<void>;
}

/** What is served. Absent `upgrades`: nothing that a WebSocket could come of. */
export type Served = Pick<Api, 'listenerFor' | 'serverOptions'> & Partial<Pick<Api, 'upgrades'>>;

/** Host names of the control port. */
export function controlHostsOf({ api, tenants }: Pick<Config, 'api' | 'tenants'>): ReadonlySet<string> {
  return controlHostNames([...tenants.map(({ baseHost }) => baseHost), ...api.controlHosts]);
}

/** The API's HTTP server. It is here because the composition root decides who listens on what. */
export function createControlServer(options: {
  readonly config: Pick<Config, 'api' | 'tenants'>;
  readonly served: Served;
  /** In Prometheus text format, collected at each scrape. */
  readonly metrics: () => Promise<string>;
  readonly version: string;
  readonly log: Logger;
}): ControlServer {
  const { config, served, version, log } = options;
  const { metricsTokenFile } = config.api;
  const viaGateway = served.listenerFor('gateway');
  const atControlPort = served.listenerFor('control-port');
  const metrics = metricsEndpoint({
    metrics: options.metrics,
    controlHosts: controlHostsOf(config),
    token: () => (metricsTokenFile === null ? null : readMetricsToken(metricsTokenFile)),
    version,
  });
  const withMetrics: RequestListener = (request, response) => {
    const isScrape = request.url === '/metrics' && request.method === 'GET';
    (isScrape ? metrics : atControlPort)(request, response);
  };
  const servers: Server[] = [];
  const stops: (() => void)[] = [];
  return {
    async listen(target) {
      const listener = typeof target === 'string' ? 'gateway' : 'control-port';
      const server = createServer(served.serverOptions, listener === 'gateway' ? viaGateway : withMetrics);
      if (served.upgrades !== undefined) server.on('upgrade', served.upgrades.listenerFor(listener));
      // Both together leave descriptors for the store, the orchestrator and pods' output.
      server.maxConnections = Math.min(CONNECTIONS_MAX, planDescriptors(descriptorLimit()).maxConnections);
      server.on('clientError', answerClientError(version));
      if (typeof target !== 'string') expectClientLine(server);
      const path = typeof target === 'string' ? target : target.controlSocketPath;
      servers.push(server);
      stops.push(await listenOnUnixSocket({ server, path, log }));
    },
    async close() {
      for (const stop of stops) stop();
      served.upgrades?.close();
      const late = setTimeout(() => servers.forEach((server) => server.closeAllConnections()), CLOSE_GRACE_MS);
      await Promise.all(
        servers.map((server) => {
          const closed = new Promise((resolve) => server.close(resolve));
          server.closeIdleConnections();
          return closed;
        }),
      );
      clearTimeout(late);
    },
  };
}
