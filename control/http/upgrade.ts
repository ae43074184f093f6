import { type IncomingHttpHeaders, type IncomingMessage, ServerResponse } from 'node:http';
import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';

import { WebSocketServer } from 'ws';

import { PodgateError } from '../../core/errors.ts';
import type { Listener } from './client-address.ts';
import { MessageConnection } from './message-connection.ts';
import type { OperationLimits, UpgradeReply } from './operation.ts';
import { requireSameOrigin } from './same-origin.ts';

/** RFC 6455 7.4.1. */
const GOING_AWAY = 1001;
/** Of one message. Clients hardly ever split one; each part costs as much of the event loop as a whole message, and is kept. */
const FRAGMENTS_MAX = 64;
const KEY = /^[+/0-9A-Za-z]{22}==$/;

export interface UpgradeOptions {
  readonly limits: Pick<OperationLimits, 'messageBytes' | 'idleMs' | 'lifetimeMs'>;
  /** Gets what went wrong, and returns a sentence for the client. */
  readonly failed: (error: unknown) => string;
}

type Handle = (request: IncomingMessage, response: ServerResponse) => unknown;

interface Pending {
  readonly socket: Socket;
  /** What the client has sent behind its request already. */
  readonly head: Buffer;
}

/**
 * A request that a WebSocket can come of (RFC 6455 4.1), and that has no body. All others are requests like any other, as
 * servers may ignore Upgrade (RFC 9110 7.8).
 */
export function isWebSocketRequest({ method, headers }: IncomingMessage): boolean {
  return (
    method === 'GET' &&
    headers.upgrade?.toLowerCase() === 'websocket' &&
    headers['sec-websocket-version'] === '13' &&
    KEY.test(headers['sec-websocket-key'] ?? '') &&
    headers['transfer-encoding'] === undefined &&
    Number(headers['content-length'] ?? 0) === 0
  );
}

/** The subprotocols that a client offers for a WebSocket, in its order. */
export function offeredProtocols(headers: IncomingHttpHeaders): readonly string[] {
  return (headers['sec-websocket-protocol'] ?? '')
    .split(',')
    .map((protocol) => protocol.trim())
    .filter((protocol) => protocol !== '');
}

/**
 * Turns requests into WebSockets. Until an operation replies with an upgrade, such a request is served like any other: the
 * same limits, checks, log line and errors.
 */
export class Upgrades {
  readonly #pending = new WeakMap<ServerResponse, Pending>();
  readonly #open = new Set<MessageConnection>();
  #isClosing = false;

  /** Connections that have been upgraded and are open. */
  get count(): number {
    return this.#open.size;
  }

  /** For the server's event 'upgrade'. */
  listener(handle: Handle): (request: IncomingMessage, socket: Duplex, head: Buffer) => void {
    return (request, socket, head) => {
      if (!(socket instanceof Socket)) {
        socket.destroy();
        return;
      }
      socket.on('error', () => socket.destroy());
      const response = new ServerResponse(request);
      // The server reads no further request from this connection.
      response.shouldKeepAlive = false;
      response.assignSocket(socket);
      response.once('finish', () => {
        response.detachSocket(socket);
        socket.destroySoon();
      });
      this.#pending.set(response, { socket, head });
      handle(request, response);
    };
  }

  /**
   * Throws 'api.upgrade-required' for a request that does not ask for a WebSocket, 'api.invalid' when it does not offer the
   * subprotocol, and 'api.forbidden' when it comes from a page of another origin: browsers let any page open a WebSocket to
   * any host, whatever CORS says.
   */
  require(request: IncomingMessage, response: ServerResponse, protocol: string, listener: Listener): void {
    if (!this.#pending.has(response)) throw new PodgateError('api.upgrade-required');
    requireSameOrigin(request.headers, listener);
    if (offeredProtocols(request.headers).includes(protocol)) return;
    throw new PodgateError('api.invalid', { publicMessages: [`Sec-WebSocket-Protocol: must offer ${protocol}`] });
  }

  /** Turns the connection of a request that passed `require` into a WebSocket, and has the reply serve it. */
  accept(
    request: IncomingMessage,
    response: ServerResponse,
    reply: UpgradeReply,
    { limits, failed }: UpgradeOptions,
  ): void {
    const pending = this.#pending.get(response);
    if (pending === undefined || this.#isClosing || !pending.socket.writable) {
      reply.release();
      throw new PodgateError('api.unavailable');
    }
    const { socket, head } = pending;
    const server = new WebSocketServer({
      noServer: true,
      clientTracking: false,
      perMessageDeflate: false,
      maxPayload: limits.messageBytes,
      maxFragments: FRAGMENTS_MAX,
      handleProtocols: () => reply.protocol,
    });
    const headers = [`X-Request-Id: ${String(response.getHeader('X-Request-Id'))}`, 'Cache-Control: no-store'];
    server.on('headers', (lines) => lines.push(...headers));
    response.detachSocket(socket);
    // What watches the response learns by this that the client is gone.
    socket.once('close', () => response.emit('close'));
    let isServed = false;
    socket.once('close', () => {
      if (!isServed) reply.release();
    });
    server.handleUpgrade(request, socket, head, (webSocket) => {
      isServed = true;
      const connection = new MessageConnection(webSocket, limits);
      this.#open.add(connection);
      void connection.serve(reply.serve, failed).finally(() => this.#open.delete(connection));
    });
  }

  /** The process is about to end: says so on all connections. */
  close(): void {
    this.#isClosing = true;
    for (const connection of this.#open) connection.close(GOING_AWAY, 'Podgate is restarting. Connect again.');
  }
}
