import { chmodSync, rmSync } from 'node:fs';
import { createServer, type RequestListener, type Server } from 'node:http';
import { answerClientError, API_SERVER_OPTIONS } from '../control/http/client-error.ts';
import { EXPOSITION_TYPE } from '../control/metrics/exposition.ts';
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

/** The API's HTTP server. Who listens on what is the composition root's business, so it stands here. */
export function createControlServer(options: {
  readonly handler: RequestListener;
  /** Prometheus' text, asked at every scrape. */
  readonly metrics: () => Promise<string>;
  readonly version: string;
  readonly log: Logger;
}): ControlServer {
  const { handler, metrics, version, log } = options;
  const withMetrics: RequestListener = (request, response) => {
    if (request.url !== '/metrics' || request.method !== 'GET') {
      handler(request, response);
      return;
    }
    void metrics().then((text) => response.writeHead(200, { 'content-type': EXPOSITION_TYPE }).end(text));
  };
  const servers: Server[] = [];
  return {
    listen(target) {
      const server = createServer(API_SERVER_OPTIONS, typeof target === 'string' ? handler : withMetrics);
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
