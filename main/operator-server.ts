import { chmodSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { createOperatorHandler, type OperatorCalls } from '../control/operator/operator-handler.ts';
import type { Logger } from '../core/logger.ts';

export interface OperatorServer {
  /** On a Unix socket of the run directory, which only our own user may enter. */
  listen(path: string): Promise<void>;
  close(): Promise<void>;
}

/** Where the commands of `npx podgate` reach the running program. */
export function createOperatorServer(options: { readonly calls: OperatorCalls; readonly log: Logger }): OperatorServer {
  const server = createServer(createOperatorHandler(options.calls, options.log));
  return {
    listen(path) {
      rmSync(path, { force: true });
      return new Promise((resolve, reject) => {
        server.once('error', reject);
        server.listen(path, () => {
          server.off('error', reject);
          server.on('error', (error) => options.log.warn({ error: error.message }, 'accept failed'));
          chmodSync(path, 0o600);
          resolve();
        });
      });
    },
    close() {
      return new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      });
    },
  };
}
