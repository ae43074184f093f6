import { createServer } from 'node:http';
import { createOperatorHandler, type OperatorCalls } from '../../control/operator/operator-handler.ts';
import { listenOnUnixSocket } from '../../control/sockets/unix-listener.ts';
import type { Logger } from '../../core/logger.ts';

export interface OperatorServer {
  /** On a Unix socket of the run directory, which only our own user may enter. */
  listen(path: string): Promise<void>;
  close(): Promise<void>;
}

/** The server that `npx podgate` commands call. */
export function createOperatorServer(options: { readonly calls: OperatorCalls; readonly log: Logger }): OperatorServer {
  const server = createServer(createOperatorHandler(options.calls, options.log));
  let stopChecking: () => void = () => undefined;
  return {
    async listen(path) {
      stopChecking = await listenOnUnixSocket({ server, path, log: options.log });
    },
    close() {
      stopChecking();
      return new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      });
    },
  };
}
