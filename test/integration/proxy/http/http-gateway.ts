import { createCounters } from '../../../../proxy/telemetry/counters.ts';
import { createTelemetry } from '../../../../proxy/telemetry/telemetry.ts';
import { randomUUID } from 'node:crypto';
import fs from 'node:fs';
import http from 'node:http';
import http2, { type ClientHttp2Session } from 'node:http2';
import type net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import tls from 'node:tls';
import type { Route } from '../../../../core/route.ts';
import type { PodPlaces } from '../../../../proxy/limits/pod-places.ts';
import {
  DEFAULT_HTTP_LIMITS,
  type HttpLimits,
  type HttpProtocol,
  type WaitingPod,
  createHttpProtocol,
} from '../../../../proxy/protocols/http/http-protocol.ts';
import type { RequestPolicy } from '../../../../proxy/protocols/http/exchange/request-policy.ts';
import { DEFAULT_SESSION_POLICY, RunningSessions } from '../../../../proxy/session/running-sessions.ts';
import { RouteTable } from '../../../../proxy/routes/route-table.ts';
import { silentLog } from '../../../support/silent-log.ts';
import { Holds } from '../../../../proxy/dial/holds.ts';
import { PodUses } from '../../../../proxy/use/pod-uses.ts';
import { systemClock } from '../support/gateway-fixture.ts';
import { type TestAuthority, createTestAuthority } from '../../../support/test-authority.ts';

export const POD_HOST = 'hello.pods.localhost';

/** A TLS server with createHttpProtocol behind it, as the gateway will have it. */
export class HttpGateway {
  readonly table = new RouteTable();
  readonly authority: TestAuthority;
  readonly protocol: HttpProtocol;
  readonly apiSocketPath: string;
  stale = false;
  /** What the gateway does before it hands a socket over. */
  onSocket: (socket: tls.TLSSocket, accept: () => void) => void = (_socket, accept) => accept();
  /** To the other workers. */
  notifyWorkers: (waiting: WaitingPod) => void = () => undefined;
  /** Called before a place at a pod is counted, which may be later. */
  onAcquire: (count: () => void) => void = (count) => count();
  /** Of routes with a login. */
  login: RequestPolicy = () => ({ kind: 'visitor', user: 'alice', headers: [], withheld: new Set() });
  /** Pods that are full. */
  readonly full = new Set<string>();
  readonly held = new Map<string, number>();
  readonly counters = createCounters();
  readonly uses = new PodUses(this.table, systemClock);
  /** Hosts of pods that were asked to wake. */
  readonly wakes: string[] = [];
  readonly #running = new RunningSessions((host) => this.table.get(host), DEFAULT_SESSION_POLICY);
  readonly #directory: string;
  readonly #server: tls.Server;
  readonly #sockets = new Set<net.Socket>();
  readonly #accepted = new Set<tls.TLSSocket>();

  private constructor(authority: TestAuthority, limits: HttpLimits, baseHosts: ReadonlySet<string>) {
    this.authority = authority;
    this.#directory = fs.mkdtempSync(path.join(os.tmpdir(), 'podgate-http-'));
    this.apiSocketPath = path.join(this.#directory, 'api.sock');
    fs.writeFileSync(this.caPath, authority.ca);
    this.protocol = createHttpProtocol({
      table: this.table,
      baseHosts: () => baseHosts,
      apiSocketPath: this.apiSocketPath,
      apiUrl: 'https://localhost:8443',
      limits,
      isStale: () => this.stale,
      acquirePod: (places, done) => {
        const uid = uidOf(places);
        this.onAcquire(() => {
          if (this.full.has(uid)) {
            done('route.full');
            return;
          }
          this.held.set(uid, (this.held.get(uid) ?? 0) + 1);
          done(null);
        });
      },
      sessions: this.#running,
      releasePod: (places) => this.held.set(uidOf(places), (this.held.get(uidOf(places)) ?? 0) - 1),
      acquireAddress: (_address, done) => done(true),
      releaseAddress: () => undefined,
      trustedProxies: null,
      login: (request) => this.login(request),
      notifyWorkers: (waiting) => this.notifyWorkers(waiting),
      telemetry: createTelemetry({ worker: 1, counters: this.counters, clock: systemClock, accessLog: null }),
      uses: this.uses,
      holds: new Holds({
        table: this.table,
        uses: this.uses,
        counts: this.counters,
        clock: systemClock,
        askWake: ({ host }) => this.wakes.push(host) > 0,
      }),
      log: silentLog,
    });
    this.#server = tls.createServer(
      { key: authority.key, cert: authority.certificate, allowHalfOpen: true, ALPNProtocols: ['h2', 'http/1.1'] },
      (socket) => {
        this.#accepted.add(socket);
        socket.once('close', () => this.#accepted.delete(socket));
        const serverName = typeof socket.servername === 'string' ? socket.servername.toLowerCase() : null;
        const info = {
          id: randomUUID(),
          remoteAddress: socket.remoteAddress ?? '',
          remotePort: socket.remotePort ?? 0,
          serverName,
          proof: null,
          tls: null,
        };
        this.onSocket(socket, () => this.protocol.accept(socket, info));
      },
    );
    this.#server.on('connection', (socket: net.Socket) => {
      this.#sockets.add(socket);
      socket.once('close', () => this.#sockets.delete(socket));
    });
  }

  static async start(
    limits: Partial<HttpLimits> = {},
    baseHosts: ReadonlySet<string> = new Set(['localhost']),
  ): Promise<HttpGateway> {
    const authority = await createTestAuthority(['localhost', '*.pods.localhost']);
    const gateway = new HttpGateway(authority, { ...DEFAULT_HTTP_LIMITS, ...limits }, baseHosts);
    await listen(gateway.#server);
    return gateway;
  }

  get port(): number {
    return portOf(this.#server);
  }

  get caPath(): string {
    return path.join(this.#directory, 'ca.pem');
  }

  /** Those whose handshake was completed: what the protocol was given. */
  get openConnections(): number {
    return this.#accepted.size;
  }

  /** Sets the route of `hello.pods.localhost` (or what `change` says) to a running pod on this port. */
  route(port: number | null, change: Partial<Route> = {}): void {
    const uid = change.uid ?? 'uid-1';
    this.table.apply(
      [
        {
          host: POD_HOST,
          tenant: 'default',
          podId: 'hello',
          uid,
          stanza: 'default',
          protocol: 'http',
          status: 'RUNNING',
          backend: port === null ? null : { uid, address: '127.0.0.1', port, service: null },
          ipAllowList: [],
          ...change,
        },
      ],
      [],
    );
  }

  /** What runs is judged by the route as it is now. */
  changed(): void {
    this.#running.allRoutesChanged();
  }

  /** A TLS connection with this server name ('' = none). */
  async connect(
    serverName: string = POD_HOST,
    alpn: readonly string[] = [],
    localAddress = '127.0.0.1',
  ): Promise<tls.TLSSocket> {
    const options: tls.ConnectionOptions & { readonly localAddress: string } = {
      localAddress,
      ALPNProtocols: [...alpn],
      host: '127.0.0.1',
      port: this.port,
      ca: this.authority.ca,
      servername: serverName,
      ...(serverName === '' ? { checkServerIdentity: () => undefined } : {}),
    };
    const socket = tls.connect(options);
    await new Promise<void>((resolve, reject) => socket.once('secureConnect', resolve).once('error', reject));
    return socket;
  }

  /** A session of HTTP/2 for this server name. */
  async connectHttp2(
    serverName: string = POD_HOST,
    options: http2.ClientSessionOptions = {},
  ): Promise<ClientHttp2Session> {
    const socket = await this.connect(serverName, ['h2']);
    const session = http2.connect(`https://${serverName}`, { ...options, createConnection: () => socket });
    session.on('error', () => undefined);
    return session;
  }

  /** One request over a connection of its own. */
  request(
    options: http.RequestOptions & { readonly serverName?: string; readonly body?: string | Buffer } = {},
  ): Promise<Answer> {
    return this.connect(options.serverName ?? POD_HOST, [], options.localAddress).then((socket) => {
      const request = http.request({
        ...options,
        createConnection: () => socket,
        headers: { host: POD_HOST, connection: 'close', ...(options.headers as http.OutgoingHttpHeaders | undefined) },
      });
      request.end(options.body);
      return answerOf(request);
    });
  }

  async close(): Promise<void> {
    this.protocol.close();
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
    fs.rmSync(this.#directory, { recursive: true, force: true });
  }
}

function uidOf(places: PodPlaces): string {
  const place = places.find(({ limit }) => limit === 'pod');
  if (place === undefined) throw new Error('no place at the pod');
  return place.key.slice('pod '.length);
}

export interface Answer {
  readonly status: number;
  readonly headers: http.IncomingHttpHeaders;
  readonly body: string;
  readonly trailers: NodeJS.Dict<string>;
}

export async function answerOf(request: http.ClientRequest): Promise<Answer> {
  const response = await new Promise<http.IncomingMessage>((resolve, reject) => {
    request.once('response', resolve).once('error', reject);
  });
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk as Buffer);
  const { statusCode = 0, headers, trailers } = response;
  return { status: statusCode, headers, body: Buffer.concat(chunks).toString('latin1'), trailers };
}

/** Everything the other side sends until it ends or resets. */
export function readToEnd(socket: net.Socket): Promise<string> {
  return new Promise((resolve) => {
    let text = '';
    socket.on('data', (chunk: Buffer) => (text += chunk.toString('latin1')));
    socket.on('error', () => undefined);
    socket.once('close', () => resolve(text));
    socket.once('end', () => socket.end());
  });
}

/** Resolves when the text received so far contains `mark`. */
export function readUntil(socket: net.Socket, mark: string): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = '';
    const onData = (chunk: Buffer): void => {
      text += chunk.toString('latin1');
      if (!text.includes(mark)) return;
      socket.off('data', onData);
      resolve(text);
    };
    socket.on('data', onData);
    socket.once('close', () => reject(new Error(`closed after: ${text}`)));
  });
}

export async function listen(server: net.Server, port = 0): Promise<number> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, '127.0.0.1', resolve);
  });
  return portOf(server);
}

export function portOf(server: net.Server): number {
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('the server does not listen on a port');
  return address.port;
}

/** A real backend; `close` also ends its connections. */
export async function startBackend(
  listener: http.RequestListener,
): Promise<{ readonly server: http.Server; readonly port: number; close(): Promise<void> }> {
  const server = http.createServer(listener);
  const port = await listen(server);
  return {
    server,
    port,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
