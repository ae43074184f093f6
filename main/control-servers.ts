import { chmodSync, rmSync } from 'node:fs';
import { createServer, type RequestListener, type Server } from 'node:http';
import { readMetricsToken } from '../config/api-section.ts';
import type { Config } from '../config/config.ts';
import type { Api } from '../control/http/api.ts';
import { answerClientError, API_SERVER_OPTIONS, CONNECTIONS_MAX } from '../control/http/client-error.ts';
import { controlHostNames } from '../control/http/known-hosts.ts';
import { metricsEndpoint } from '../control/http/metrics-endpoint.ts';
import type { Logger } from '../core/logger.ts';

/** Answers under way get this long once it is told to end. */
const CLOSE_GRACE_MS = 500;

export interface ControlServer {
  /**
   * A path of a Unix socket, through which the gateway's workers bring strangers' calls, or a handle that the supervisor
   * has bound, for the inside only: /metrics is answered there alone.
   */
  listen(target: string | object): Promise<void>;
  close(): Promise<void>;
}

/** Host names of the control port. */
export function controlHostsOf({ api, tenants }: Pick<Config, 'api' | 'tenants'>): ReadonlySet<string> {
  return controlHostNames([...tenants.map(({ baseHost }) => baseHost), ...api.controlHosts]);
}

/** The API's HTTP server. Who listens on what is the composition root's business, so it stands here. */
export function createControlServer(options: {
  readonly config: Pick<Config, 'api' | 'tenants'>;
  readonly listenerFor: Api['listenerFor'];
  /** Prometheus' text, made at every scrape. */
  readonly metrics: () => Promise<string>;
  readonly version: string;
  readonly log: Logger;
}): ControlServer {
  const { config, listenerFor, version, log } = options;
  const { metricsTokenFile } = config.api;
  const viaGateway = listenerFor('gateway');
  const atControlPort = listenerFor('control-port');
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
  return {
    listen(target) {
      const server = createServer(API_SERVER_OPTIONS, typeof target === 'string' ? viaGateway : withMetrics);
      server.maxConnections = CONNECTIONS_MAX;
      server.on('clientError', answerClientError(version));
      servers.push(server);
      if (typeof target === 'string') rmSync(target, { force: true });
      return new Promise((resolve, reject) => {
        server.once('error', reject);
        server.listen(target, () => {
          server.off('error', reject);
          // A connection that could not be accepted (out of memory, say) is gone; the next may be.
          server.on('error', (error) => log.warn({ error: error.message }, 'accept failed'));
          if (typeof target === 'string') chmodSync(target, 0o600);
          resolve();
        });
      });
    },
    async close() {
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
