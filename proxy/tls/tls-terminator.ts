import { constants, createHash, randomBytes } from 'node:crypto';
import type { Socket } from 'node:net';
import { createServer, type Server, type TlsOptions, type TLSSocket } from 'node:tls';
import { LRUCache } from 'lru-cache';
import type { Certificate, ServedCertificate } from '../../core/certificates.ts';
import type { Clock } from '../../core/clock.ts';
import { errorText } from '../../core/errors.ts';
import type { Logger } from '../../core/logger.ts';
import type { TicketKey } from '../../core/ticket-keys.ts';
import type { Alpn } from './alpn.ts';
import { type CertificateEntry, CertificateIndex } from './certificate-index.ts';
import { TicketRing } from './ticket-ring.ts';
import { TLS_SETTINGS } from './tls-settings.ts';

/** TLS contexts kept in the cache, whatever the number of names and certificates. Each costs 0.3 ms and 32 KB (measured). */
const CONTEXTS_READY_MAX = 4_096;
/** RFC 8737 6.2. */
export const ACME_TLS = 'acme-tls/1';

/** Offered only by ACME servers, which offer nothing else (RFC 8737 3). */
export function isAcmeValidation(offered: readonly string[]): boolean {
  return offered.length === 1 && offered[0] === ACME_TLS;
}

export interface TlsTerminatorOptions {
  readonly onSecure: (secure: TLSSocket, raw: Socket) => void;
  /** The handshake failed; the socket is still open. */
  readonly onFailed: (raw: Socket) => void;
  readonly clock: Pick<Clock, 'now'>;
  readonly log: Logger;
}

/** What a handshake depends on. */
export interface Handshake {
  readonly serverName: string | null;
  /** 'none-in-common' ends the handshake with the alert `no_application_protocol`. */
  readonly alpn: Alpn | 'none-in-common';
  /** Whether the client may resume this session. Only under the same name, so unknown names do not get a context of their own. */
  readonly keepsSession: boolean;
  /** PEM: a certificate of one of these authorities is requested, but not enforced here. Null = none is requested. */
  readonly clientCa: string | null;
}

interface ReadyServer {
  /** Null if its certificate is unusable. */
  readonly server: Server | null;
  /** Of its certificate. */
  readonly id: string;
}

/**
 * Performs handshakes on sockets whose ClientHello has been read and pushed back. Each combination of server name,
 * certificate, ALPN protocol and client authorities has a server of its own, which never listens: since the name and the
 * protocols are known beforehand, OpenSSL does not have to call JavaScript during a handshake. By itself, OpenSSL would
 * resume a session under any server name (RFC 6066 3: MUST NOT); a session context per name prevents that.
 */
export class TlsTerminator {
  readonly #options: TlsTerminatorOptions;
  readonly #index = new CertificateIndex();
  readonly #servers = new LRUCache<string, ReadyServer>({ max: CONTEXTS_READY_MAX });
  readonly #challenges = new Map<string, Certificate>();
  readonly #tickets = new TicketRing();

  constructor(options: TlsTerminatorOptions) {
    this.#options = options;
  }

  setDefaultNames(names: readonly string[]): void {
    this.#index.setDefaultNames(names);
  }

  replaceCertificates(certificates: readonly ServedCertificate[]): void {
    this.#forget(this.#index.replace(certificates));
  }

  changeCertificates(set: readonly ServedCertificate[], removed: readonly string[]): void {
    this.#forget(this.#index.change(set, removed));
  }

  /** Certificates that prove control of a name to an ACME server (RFC 8737). */
  setChallenges(certificates: readonly Certificate[]): void {
    this.#challenges.clear();
    for (const certificate of certificates) {
      for (const name of certificate.names) this.#challenges.set(name, certificate);
    }
  }

  /** The first key encrypts, all of them decrypt, so sessions of any worker of any replica can be resumed. */
  setTicketKeys(keys: readonly TicketKey[]): void {
    this.#tickets.replace(keys);
  }

  /** Whether there is a publicly trusted certificate for this name. */
  hasTrusted(serverName: string): boolean {
    return this.#index.hasTrusted(serverName, this.#options.clock.now());
  }

  /** Returns false, and does nothing, if there is no certificate. */
  accept(raw: Socket, handshake: Handshake): boolean {
    const entry = this.#index.find(handshake.serverName, this.#options.clock.now());
    const server = entry === null ? null : this.#serverOf(entry, handshake);
    if (server === null) return false;
    handOver(raw, server);
    return true;
  }

  /** Responds to an ACME server. Returns false, and does nothing, if there is no such challenge. */
  acceptValidation(raw: Socket, serverName: string | null): boolean {
    const certificate = serverName === null ? undefined : this.#challenges.get(serverName);
    if (certificate === undefined) return false;
    const server = this.#tryCreateServer(certificate, { ALPNProtocols: [ACME_TLS] });
    if (server === null) return false;
    handOver(raw, server);
    return true;
  }

  #forget(entries: readonly CertificateEntry[]): void {
    const gone = new Set(entries.map(({ id }) => id));
    if (gone.size > 0) this.#forgetServers(({ id }) => gone.has(id));
  }

  #forgetServers(isGone: (ready: ReadyServer) => boolean): void {
    // Iterates over a copy: the cache does not document that it may be changed during iteration.
    for (const [key, ready] of [...this.#servers.entries()]) if (isGone(ready)) this.#servers.delete(key);
  }

  #serverOf(entry: CertificateEntry, { serverName, alpn, keepsSession, clientCa }: Handshake): Server | null {
    const { id } = entry;
    const sessionsOf = keepsSession && clientCa === null ? serverName : null;
    const authorities = clientCa === null ? '' : createHash('sha256').update(clientCa).digest('base64');
    const key = `${alpn ?? ''} ${sessionsOf ?? ''} ${authorities} ${id}`;
    let ready = this.#servers.get(key);
    if (ready === undefined) {
      const certificate = { ...entry, certificatePem: entry.leafPem + entry.chainPem };
      const server = this.#tryCreateServer(certificate, {
        ...alpnOptions(alpn),
        ...(sessionsOf === null ? NO_SESSIONS : { sessionIdContext: contextIdOf(sessionsOf) }),
        ...(clientCa === null ? {} : askingFor(clientCa, authorities)),
      });
      if (server !== null && sessionsOf !== null) useTickets(server, this.#tickets);
      ready = { server, id };
      this.#servers.set(key, ready);
    }
    return ready.server;
  }

  /** Null for an unusable certificate, which is tried and logged once for each kind of server. */
  #tryCreateServer(certificate: Certificate, options: TlsOptions): Server | null {
    try {
      return this.#createServer(certificate, options);
    } catch (error) {
      this.#options.log.error({ names: certificate.names, error: errorText(error) }, 'certificate cannot be used');
      return null;
    }
  }

  #createServer(certificate: Certificate, options: TlsOptions): Server {
    const { onSecure, onFailed } = this.#options;
    const server = createServer({
      cert: certificate.certificatePem,
      key: certificate.privateKeyPem,
      ...TLS_SETTINGS,
      ...options,
    });
    server.on('secureConnection', (secure) => {
      // After a later TLS error, such as a record that cannot be decrypted, Node leaves the socket open. It is destroyed
      // here, so that all other code can rely on 'close' after 'error'.
      secure.on('error', () => secure.destroy());
      // From here on, the client may half-close the connection.
      secure.allowHalfOpen = true;
      const raw = rawSocketOf(secure);
      // Without the raw socket, the connection would have no deadline and would not be counted.
      if (raw === null) secure.destroy();
      else onSecure(secure, raw);
    });
    server.on('tlsClientError', (_error, secure) => {
      const raw = rawSocketOf(secure);
      if (raw !== null) onFailed(raw);
      secure.destroy();
    });
    return server;
  }
}

/** No tickets, and no session cache by ID in Node. */
const NO_SESSIONS = {
  secureOptions: TLS_SETTINGS.secureOptions | constants.SSL_OP_NO_TICKET,
  sessionIdContext: 'none',
} as const satisfies TlsOptions;

/** OpenSSL's maximum (SSL_MAX_SID_CTX_LENGTH). */
const CONTEXT_ID_BYTES = 32;

/** The same in every worker of every replica. A session is resumed only under the context it was created in. */
function contextIdOf(serverName: string): string {
  return createHash('sha256').update(serverName).digest('base64').slice(0, CONTEXT_ID_BYTES);
}

function alpnOptions(alpn: Handshake['alpn']): TlsOptions {
  if (alpn === null) return {};
  return alpn === 'none-in-common' ? { ALPNCallback: () => undefined } : { ALPNProtocols: [alpn] };
}

/** Return values for OpenSSL (SSL_CTX_set_tlsext_ticket_key_cb). 2: the ticket is valid, and the client gets a new one. */
type TicketAnswer =
  readonly [0 | 2, hmac: Buffer, aes: Buffer] | readonly [1, hmac: Buffer, aes: Buffer, name: Buffer, iv: Buffer];

interface TicketContext {
  onticketkeycallback: (name: Buffer, iv: Buffer, isSealing: boolean) => TicketAnswer;
  enableTicketKeyCallback(): void;
}

/**
 * Encrypts tickets with the current key, decrypts them with any, and renews the ticket of a resumed connection. The
 * documented `ticketKeys` holds a single key and never renews a ticket, so a TLS 1.3 client that uses each ticket once soon
 * has none left (RFC 8446 C.4). Integration tests fail if a Node release drops this undocumented API.
 */
function useTickets(server: Server, ring: TicketRing): void {
  const { context } = (server as unknown as { readonly _sharedCreds: { readonly context: TicketContext } })
    ._sharedCreds;
  context.onticketkeycallback = (name, _iv, isSealing) => {
    const { sealing } = ring;
    if (isSealing) return [1, sealing.hmac, sealing.aes, sealing.name, randomBytes(16)];
    const key = ring.find(name);
    return key === undefined ? [0, sealing.hmac, sealing.aes] : [2, key.hmac, key.aes];
  };
  context.enableTicketKeyCallback();
}

/**
 * Requests a certificate of these authorities but completes the handshake whatever the client sends, because a refused
 * client should get a reason, which an alert cannot carry. Sessions are not resumed, so every handshake authenticates the
 * client again.
 */
function askingFor(clientCa: string, authorities: string): TlsOptions {
  return {
    requestCert: true,
    rejectUnauthorized: false,
    ca: clientCa,
    // Whatever the pod's owner trusts ends the chain, whether it is a root or not.
    allowPartialTrustChain: true,
    sessionIdContext: authorities.slice(0, CONTEXT_ID_BYTES),
  };
}

function handOver(raw: Socket, server: Server): void {
  // The TLSSocket takes this over. Otherwise a client that ends or resets the connection during the handshake would go
  // unnoticed: OpenSSL's failed writes are not reported, and a half-open stream does not close when its other side ends.
  raw.allowHalfOpen = false;
  server.emit('connection', raw);
}

/**
 * The socket below a TLSSocket. Node keeps it under this undocumented name; the documented `emit('connection')` offers no
 * other way to get from one to the other. An integration test fails if a Node release drops it.
 */
function rawSocketOf(secure: TLSSocket): Socket | null {
  return (secure as unknown as { readonly _parent?: Socket | null })._parent ?? null;
}
