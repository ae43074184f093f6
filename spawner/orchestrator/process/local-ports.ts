import { createServer, type Server, type Socket } from 'node:net';
import { errorText } from '../../../core/errors.ts';
import type { Logger } from '../../../core/logger.ts';

/** Each; they are for somebody who looks into a pod, not for its clients. */
const CONNECTIONS_MAX = 64;

/**
 * Leads from ports of this machine's loopback interface into the network of a pod, for the operator's own tools: psql, a
 * debugger, curl. No pod reaches them, and the gateway does not use them. They hold the ports, too: nobody else on this
 * machine can pretend to be the pod.
 */
export class LocalPorts {
  readonly #log: Logger;
  #servers: Server[] = [];
  readonly #sockets = new Set<Socket>();

  constructor(log: Logger) {
    this.#log = log;
  }

  /** In place of those before. `connect` opens a connection inside. */
  open(ports: readonly number[], connect: (port: number) => Socket): void {
    this.close();
    this.#servers = ports.map((port) => {
      const server = createServer({ allowHalfOpen: true }, (outside) => this.#join(outside, connect(port)));
      server.maxConnections = CONNECTIONS_MAX;
      server.on('error', (error) => this.#log.debug({ port, error: errorText(error) }, 'failed to open a local port'));
      return server.listen(port, '127.0.0.1').unref();
    });
  }

  close(): void {
    for (const server of this.#servers) server.close();
    this.#servers = [];
    for (const socket of this.#sockets) socket.destroy();
  }

  #join(outside: Socket, inside: Socket): void {
    for (const [socket, other] of [
      [outside, inside],
      [inside, outside],
    ] as const) {
      this.#sockets.add(socket);
      socket.on('error', () => other.destroy());
      socket.on('close', () => {
        this.#sockets.delete(socket);
        // One that ended in order has ended the other by its last byte.
        if (!socket.readableEnded) other.destroy();
      });
      socket.pipe(other);
    }
  }
}
