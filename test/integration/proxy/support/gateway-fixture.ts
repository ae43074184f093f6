import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect as connectTls, type ConnectionOptions, type TLSSocket } from 'node:tls';
import type { Certificate } from '../../../../core/certificates.ts';
import type { Clock } from '../../../../core/clock.ts';
import type { ControlMessage, WorkerMessage } from '../../../../core/feed-protocol.ts';
import type { Logger } from '../../../../core/logger.ts';
import type { Route } from '../../../../core/route.ts';
import type { TicketKey } from '../../../../core/ticket-keys.ts';
import { createGateway } from '../../../../proxy/gateway.ts';
import { DEFAULT_GATEWAY_LIMITS, type Gateway, type GatewayLimits } from '../../../../proxy/gateway-options.ts';
import type { ProxyProtocolOptions } from '../../../../proxy/proxy-protocol/introduction.ts';
import { DEFAULT_HTTP_LIMITS } from '../../../../proxy/protocols/http/http-protocol.ts';
import type { LineSink } from '../../../../proxy/telemetry/telemetry.ts';
import type { SessionPolicy } from '../../../../proxy/session/running-sessions.ts';
import { served } from '../../../support/served-certificate.ts';

export const silentLog: Logger = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
  child: () => silentLog,
};

export const systemClock: Clock = { now: () => Date.now(), monotonicMs: () => performance.now() };

export function route(host: string, changes: Partial<Route> = {}): Route {
  const podId = host.split('.')[0] ?? host;
  return {
    host,
    tenant: 'dev',
    podId,
    uid: `uid-${podId}`,
    stanza: 'default',
    protocol: 'tcp',
    status: 'RUNNING',
    backend: null,
    ipAllowList: [],
    ...changes,
  };
}

export function runningRoute(host: string, port: number, changes: Partial<Route> = {}): Route {
  const base = route(host, changes);
  return { ...base, backend: { uid: base.uid, address: '127.0.0.1', port, service: null } };
}

/** Plays the control child's side of the feed, by hand. */
export class FeedStandIn {
  readonly received: WorkerMessage[] = [];
  readonly path: string;
  #server: Server | null = null;
  #sockets = new Set<Socket>();
  #sequence = 0;
  #starts = 0;
  routes: readonly Route[];
  certificates: readonly Certificate[];
  readonly ticketKeys: readonly TicketKey[];

  constructor(
    path: string,
    routes: readonly Route[],
    certificates: readonly Certificate[],
    ticketKeys: readonly TicketKey[] = [],
  ) {
    this.ticketKeys = ticketKeys;
    this.path = path;
    this.routes = routes;
    this.certificates = certificates;
  }

  async start(greeting: (socket: Socket) => void = (socket) => this.#greet(socket)): Promise<void> {
    this.#starts++;
    const server = createServer((socket) => {
      this.#sockets.add(socket);
      socket.on('error', () => undefined).on('close', () => this.#sockets.delete(socket));
      let rest = '';
      socket.setEncoding('utf8').on('data', (chunk) => {
        const lines = (rest + String(chunk)).split('\n');
        rest = lines.pop() ?? '';
        this.received.push(...lines.map((line) => JSON.parse(line) as WorkerMessage));
      });
      greeting(socket);
    });
    this.#server = server;
    await new Promise<void>((resolve) => server.listen(this.path, resolve));
  }

  /** As if the control child died: connections are cut, the socket file goes. */
  async stop(): Promise<void> {
    const server = this.#server;
    this.#server = null;
    for (const socket of this.#sockets) socket.destroy();
    if (server !== null) await new Promise<void>((resolve) => server.close(() => resolve()));
  }

  send(message: ControlMessage): void {
    for (const socket of this.#sockets) write(socket, message);
  }

  change(set: readonly Route[], removed: readonly string[] = []): void {
    this.#sequence++;
    this.send({ kind: 'change', sequence: this.#sequence, set, removed });
  }

  get epoch(): string {
    return `epoch-${this.#starts}`;
  }

  #greet(socket: Socket): void {
    write(socket, { kind: 'hello', epoch: this.epoch, baseHosts: ['localhost'] });
    write(socket, { kind: 'ticket-keys', keys: this.ticketKeys });
    write(socket, { kind: 'certificates-begin' });
    write(socket, { kind: 'certificates', set: this.certificates.map(served), removed: [] });
    write(socket, { kind: 'certificates-end' });
    write(socket, { kind: 'snapshot-begin' });
    write(socket, { kind: 'routes', routes: this.routes });
    this.#sequence = 7;
    write(socket, { kind: 'snapshot-end', sequence: this.#sequence });
  }
}

function write(socket: Socket, message: ControlMessage): void {
  socket.write(`${JSON.stringify(message)}\n`);
}

export interface GatewayFixture {
  readonly gateway: Gateway;
  readonly feed: FeedStandIn;
  readonly httpsPort: number;
  readonly httpPort: number;
  readonly certificate: Certificate;
  /** A verified TLS connection, ready to use. */
  readonly connect: (servername: string | null, options?: ConnectionOptions) => Promise<TLSSocket>;
  readonly stop: () => Promise<void>;
}

export interface FixtureOptions {
  /** The name of a gateway apart from its control plane. */
  readonly gatewayName?: string;
  readonly routes: readonly Route[];
  readonly certificate: Certificate;
  readonly limits?: Partial<GatewayLimits>;
  readonly clock?: Clock;
  readonly staleAfterMs?: number;
  readonly drainMs?: number;
  readonly sessions?: SessionPolicy;
  readonly log?: Logger;
  readonly logConnections?: boolean;
  readonly ticketKeys?: readonly TicketKey[];
  readonly proxyProtocol?: ProxyProtocolOptions;
  /** Free, and what clients are told to dial, too. Default: any. */
  readonly httpsPort?: number;
  readonly accessLog?: LineSink;
  readonly trustedProxies?: readonly string[];
}

/** A gateway worker with its feed, listening on loopback. */
export async function startGateway(options: FixtureOptions): Promise<GatewayFixture> {
  const { routes, certificate, limits = {}, clock = systemClock, staleAfterMs, drainMs = 0 } = options;
  const dir = await mkdtemp(join(tmpdir(), 'podgate-gateway-'));
  const feed = new FeedStandIn(join(dir, 'feed.sock'), routes, [certificate], options.ticketKeys ?? []);
  await feed.start();
  const gateway = createGateway({
    worker: 1,
    ...(options.gatewayName === undefined ? {} : { gateway: options.gatewayName }),
    feedSocketPath: feed.path,
    apiSocketPath: join(dir, 'api.sock'),
    apiUrl: 'https://localhost:8443',
    publicHttpsPort: options.httpsPort ?? 8443,
    limits: { ...DEFAULT_GATEWAY_LIMITS, http: DEFAULT_HTTP_LIMITS, ...limits },
    drainMs,
    ...(options.sessions === undefined ? {} : { sessions: options.sessions }),
    ...(staleAfterMs === undefined ? {} : { staleAfterMs }),
    ...(options.proxyProtocol === undefined ? {} : { proxyProtocol: options.proxyProtocol }),
    ...(options.accessLog === undefined ? {} : { accessLog: options.accessLog }),
    ...(options.trustedProxies === undefined ? {} : { trustedProxies: options.trustedProxies }),
    clock,
    log: options.log ?? silentLog,
    logConnections: options.logConnections ?? false,
  });
  const stopping = new AbortController();
  const running = gateway.run(stopping.signal);
  await gateway.synchronized;
  const https = await gateway.listen('https', { host: '127.0.0.1', port: options.httpsPort ?? 0 });
  const http = await gateway.listen('http', { host: '127.0.0.1', port: 0 });
  return {
    gateway,
    feed,
    certificate,
    httpsPort: https.port,
    httpPort: http.port,
    connect: (servername, tlsOptions = {}) => connectVerified(https.port, certificate, servername, tlsOptions),
    async stop() {
      stopping.abort();
      await running;
      await feed.stop();
      // A test may have done so before.
      await rm(dir, { recursive: true, force: true });
    },
  };
}

function connectVerified(
  port: number,
  certificate: Certificate,
  servername: string | null,
  options: ConnectionOptions,
): Promise<TLSSocket> {
  const all: ConnectionOptions & { readonly allowHalfOpen: boolean } = {
    host: '127.0.0.1',
    port,
    ca: certificate.certificatePem,
    allowHalfOpen: true,
    // Without a name the chain is still verified.
    ...(servername === null ? { checkServerIdentity: () => undefined } : { servername }),
    ...options,
  };
  return new Promise((resolve, reject) => {
    const client = connectTls(all);
    client.once('error', reject);
    client.once('secureConnect', () => {
      client.off('error', reject);
      client.on('error', () => undefined);
      resolve(client);
    });
  });
}
