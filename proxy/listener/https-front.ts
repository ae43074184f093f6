import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import type { RefusalCode } from '../../core/errors.ts';
import type { PodNetwork } from '../../core/pod-network.ts';
import type { Route } from '../../core/route.ts';
import type { ClosedReason } from '../connection/ends.ts';
import type { HttpProtocol } from '../protocols/http/http-protocol.ts';
import { acceptPassthrough } from '../protocols/passthrough/accept-passthrough.ts';
import type { Cancellation } from '../protocols/postgres/cancel/cancellation.ts';
import { parseCancelRequest } from '../protocols/postgres/cancel/cancel-request.ts';
import { acceptPostgres, describeNotHttp } from '../protocols/postgres/accept-postgres.ts';
import { acceptTcp } from '../protocols/tcp/accept-tcp.ts';
import { describeRefusal, type Refusal } from '../connection/refusal.ts';
import { guessSpoken, REFUSED_BOLT_MS, refuseSpoken, type SpokenProtocol } from './refuse-guessed.ts';
import type { SessionOptions } from '../session/open-session.ts';
import { UNREADABLE_HELLO, type ClientHello } from '../sniff/client-hello.ts';
import { peekBytes } from '../bytes/peek-bytes.ts';
import type { Telemetry } from '../telemetry/telemetry.ts';
import { sniff, type Sniffed } from '../sniff/sniff.ts';
import { chooseAlpn, type AlpnTarget } from '../tls/alpn.ts';
import { readClientProof } from '../tls/client-proof.ts';
import { ACME_TLS, isAcmeValidation, type TlsTerminator } from '../tls/tls-terminator.ts';
import { endWith } from '../bytes/end-with.ts';
import type { Connection } from '../connection/connection.ts';
import type { ConnectionRegistry } from './connection-registry.ts';

/** TLS alert: fatal, illegal_parameter. What OpenSSL sends for a ClientHello that is too large for it. */
const ALERT_TOO_LARGE = Buffer.from([0x15, 3, 3, 0, 2, 2, 47]);
/** A client that waits for the server to speak first (as in some protocols) is disconnected without a message after this. */
const GUESS_MS = 3_000;

export interface HttpsFrontOptions extends SessionOptions {
  readonly registry: ConnectionRegistry;
  readonly telemetry: Pick<Telemetry, 'secured' | 'sessionBegan' | 'sessionConnected'>;
  readonly terminator: Pick<TlsTerminator, 'accept' | 'acceptValidation' | 'hasTrusted'>;
  /** A client has come for a name of the table that has no certificate the world trusts. */
  readonly certificateWanted: (host: string) => void;
  readonly http: Pick<HttpProtocol, 'accept' | 'refuse'>;
  readonly cancellation: Pick<Cancellation, 'watch' | 'watchPassedThrough' | 'request'>;
  readonly baseHosts: () => ReadonlySet<string>;
  readonly apiUrl: string;
  readonly publicHttpsPort: number;
  /** From accept to the end of the handshake and of the first packet of the session. */
  readonly handshakeTimeoutMs: number;
}

/**
 * The one port for everything. Follows a connection from its first byte to the protocol that takes it over: first
 * bytes -> name -> handshake -> protocol of the route, or of the client where there is no route.
 */
export class HttpsFront {
  readonly #options: HttpsFrontOptions;

  constructor(options: HttpsFrontOptions) {
    this.#options = options;
  }

  /** `network`: as for ConnectionRegistry.receive. */
  accept(raw: Socket, network: PodNetwork | null): void {
    const { registry, handshakeTimeoutMs } = this.#options;
    registry.receive(raw, network, (connection) => {
      connection.setDeadline(handshakeTimeoutMs, () => this.close(connection, 'deadline'));
      sniff(raw, (sniffed) => this.#onSniffed(connection, sniffed));
    });
  }

  /** The handshake is done. */
  onSecure(raw: Socket, client: TLSSocket): void {
    const connection = this.#options.registry.find(raw);
    if (connection === undefined) {
      client.destroy();
      return;
    }
    connection.phase = 'served';
    connection.client = client;
    const tls = this.#options.telemetry.secured(connection, client);
    const proof = connection.clientCa === null ? null : readClientProof(client, connection.clientCa);
    connection.info = { ...connection.info, tls, proof };
    if (client.alpnProtocol === ACME_TLS) {
      // The handshake was the answer.
      client.end(() => this.close(connection, 'acme-validation'));
      return;
    }
    this.#dispatch(connection, client);
  }

  onHandshakeFailed(raw: Socket): void {
    const connection = this.#options.registry.find(raw);
    if (connection !== undefined) this.close(connection, connection.handshakeFails ?? 'tls-failed');
  }

  close(connection: Connection, reason: ClosedReason): void {
    this.#options.registry.close(connection, reason);
  }

  /**
   * Takes a CancelRequest, in plaintext or inside TLS. It carries no name: whose session it means is known by its key
   * alone. Nobody is answered; the connection is closed once the session's server has been signalled.
   */
  cancel(connection: Connection, client: Socket): void {
    connection.phase = 'served';
    peekBytes(client, parseCancelRequest, (outcome) => {
      if (outcome.kind === 'ended') this.close(connection, 'ended-early');
      else if (outcome.kind === 'reject') this.close(connection, 'malformed-startup');
      else {
        // Read, or its close would be a reset.
        client.resume();
        // Cancellation has its own.
        connection.clearDeadline();
        this.#options.cancellation.request(outcome.value, connection.info.remoteAddress, () => {
          if (client.destroyed) {
            this.close(connection, 'cancel-request');
            return;
          }
          connection.setDeadline(this.#options.handshakeTimeoutMs, () => this.close(connection, 'deadline'));
          // Inside TLS the end is announced, as Postgres does.
          client.end(() => this.close(connection, 'cancel-request'));
        });
      }
    });
  }

  /** Says no in whatever protocol the client turns out to speak; its bytes must be in its socket. */
  refuse(connection: Connection, client: TLSSocket, code: RefusalCode, words: Partial<Refusal> = {}): void {
    connection.setDeadline(GUESS_MS, () => this.close(connection, 'deadline'));
    const refusal = { ...this.#describe(connection, code), ...words };
    this.#options.registry.refused(connection, refusal, this.#routeOf(connection.info.serverName));
    if (client.alpnProtocol === 'h2') {
      this.#options.http.refuse(client, connection.info, refusal);
      return;
    }
    guessSpoken(client, (protocol) => {
      if (protocol === null) client.destroy();
      else this.#refuseSpoken(connection, client, protocol, refusal);
    });
  }

  #onSniffed(connection: Connection, sniffed: Sniffed): void {
    switch (sniffed.kind) {
      case 'closed':
        this.close(connection, sniffed.reason);
        return;
      case 'cancel-request':
        this.cancel(connection, connection.raw);
        return;
      case 'startup-message':
      case 'http':
      case 'bolt':
        connection.phase = 'served';
        this.#refusePlaintext(connection, sniffed.kind);
        return;
      case 'tls':
        connection.info = { ...connection.info, serverName: sniffed.hello.serverName };
        connection.askedAsPostgres = sniffed.askedAsPostgres;
        this.#startTls(connection, sniffed.hello);
        return;
      case 'malformed-hello':
        // OpenSSL knows which alert it deserves. Should it find nothing wrong, the name that we could not read is unknown.
        connection.handshakeFails = 'malformed-hello';
        this.#shakeHands(connection, UNREADABLE_HELLO, 'unknown');
        return;
      case 'oversized-hello':
        this.#options.registry.note(connection, 'malformed-hello');
        endWith(connection.raw, ALERT_TOO_LARGE);
        return;
    }
  }

  #refusePlaintext(connection: Connection, protocol: SpokenProtocol): void {
    const refusal = this.#describe(connection, 'tls.required');
    this.#options.registry.refused(connection, refusal, null);
    this.#refuseSpoken(connection, connection.raw, protocol, refusal);
  }

  #startTls(connection: Connection, hello: ClientHello): void {
    const route = this.#routeOf(hello.serverName);
    // The gateway does the handshake of a client that gets no place: otherwise it could not read why.
    if (route?.tls === 'passthrough' && connection.admission === 'admitted') {
      this.#passThrough(connection, hello, route.host);
      return;
    }
    const { terminator } = this.#options;
    if (isAcmeValidation(hello.alpn) && terminator.acceptValidation(connection.raw, hello.serverName)) {
      connection.phase = 'handshake';
      return;
    }
    if (route !== null) this.#wantCertificate(route.host);
    connection.clientCa = route?.clientCa ?? null;
    // A client without a place is only told so: in the plainer protocol, where there is a choice.
    const target = connection.admission === 'surplus' ? 'unknown' : this.#targetOf(hello.serverName);
    this.#shakeHands(connection, hello, target);
  }

  #shakeHands(connection: Connection, { serverName, alpn }: ClientHello, target: AlpnTarget): void {
    const { raw, clientCa } = connection;
    connection.phase = 'handshake';
    const chosen = chooseAlpn(target, alpn);
    if (chosen === 'none-in-common') connection.handshakeFails = 'no-common-protocol';
    const handshake = { serverName, alpn: chosen, keepsSession: target !== 'unknown', clientCa };
    if (!this.#options.terminator.accept(raw, handshake)) this.close(connection, 'no-certificate');
  }

  /**
   * Challenges of ACME servers go the same way: the pod manages its certificate itself. If the pod cannot be
   * reached, the client gets the best certificate there is here, and reads why if it accepts that.
   */
  #passThrough(connection: Connection, hello: ClientHello, host: string): void {
    connection.phase = 'served';
    connection.client = connection.raw;
    const refuse = (code: RefusalCode): void => {
      connection.verdict = code;
      connection.setDeadline(this.#options.handshakeTimeoutMs, () => this.close(connection, 'deadline'));
      this.#shakeHands(connection, hello, 'unknown');
    };
    acceptPassthrough(connection, host, this.#options, refuse, () => {
      const route = this.#routeOf(host);
      if (route === null) return;
      this.#options.cancellation.watchPassedThrough(route, connection.raw, connection.info.remoteAddress);
    });
  }

  /** The handshake does not wait for it. */
  #wantCertificate(host: string): void {
    if (!this.#options.terminator.hasTrusted(host)) this.#options.certificateWanted(host);
  }

  #targetOf(serverName: string | null): AlpnTarget {
    if (serverName === null) return 'unknown';
    if (this.#options.baseHosts().has(serverName)) return 'base-host';
    return this.#options.table.get(serverName)?.protocol ?? 'unknown';
  }

  #dispatch(connection: Connection, client: TLSSocket): void {
    if (connection.admission === 'surplus') {
      this.refuse(connection, client, 'route.full');
      return;
    }
    if (connection.verdict !== null) {
      this.refuse(connection, client, connection.verdict);
      return;
    }
    const { serverName } = connection.info;
    const target = this.#targetOf(serverName);
    const isPostgresClient = connection.askedAsPostgres || client.alpnProtocol === 'postgresql';
    // A Postgres behind a tcp stanza works, too: what follows its TLS is passed on like anything else.
    if (target === 'tcp' && serverName !== null) acceptTcp(connection, client, serverName, this.#options, this);
    else if (target === 'postgres' && isHttp(client)) {
      // By ALPN it is a browser. Whatever bytes it sends, no web page can make it speak to the database (decision 0034).
      this.refuse(connection, client, 'route.misdirected', describeNotHttp(serverName, this.#options.publicHttpsPort));
    } else if (target === 'postgres' || isPostgresClient) {
      acceptPostgres(
        connection,
        client,
        {
          isPostgresClient,
          publicPort: this.#options.publicHttpsPort,
          watchKey: (route, socket, backend) => this.#options.cancellation.watch(route, socket, backend),
        },
        this.#options,
        this,
      );
    } else if (target !== 'unknown' || isHttp(client)) this.#acceptHttp(connection, client);
    else this.#acceptUnknown(connection, client);
  }

  #acceptHttp(connection: Connection, client: TLSSocket): void {
    // Slow requests and idle connections are its own business from here on.
    connection.clearDeadline();
    connection.isHttp = true;
    this.#options.http.accept(client, connection.info);
  }

  /** A name of nobody, and a client that has not said what it speaks. */
  #acceptUnknown(connection: Connection, client: TLSSocket): void {
    guessSpoken(client, (protocol) => {
      if (protocol === 'http') this.#acceptHttp(connection, client);
      else this.refuse(connection, client, 'route.unknown');
    });
  }

  #refuseSpoken(connection: Connection, socket: Socket, protocol: SpokenProtocol, refusal: Refusal): void {
    const { publicHttpsPort, handshakeTimeoutMs } = this.#options;
    const ms = protocol === 'bolt' ? REFUSED_BOLT_MS + GUESS_MS : handshakeTimeoutMs;
    connection.setDeadline(ms, () => this.close(connection, 'deadline'));
    refuseSpoken(socket, protocol, refusal, {
      address: `${connection.info.serverName ?? 'localhost'}:${publicHttpsPort}`,
    });
  }

  #describe(connection: Connection, code: RefusalCode): Refusal {
    const { id: requestId, serverName: host, proof } = connection.info;
    return describeRefusal(code, { requestId, host, route: this.#routeOf(host), proof, apiUrl: this.#options.apiUrl });
  }

  #routeOf(host: string | null): Route | null {
    return host === null ? null : (this.#options.table.get(host) ?? null);
  }
}

function isHttp({ alpnProtocol }: TLSSocket): boolean {
  return alpnProtocol === 'h2' || alpnProtocol === 'http/1.1';
}
