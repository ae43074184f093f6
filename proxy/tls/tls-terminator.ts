import { constants, createHash } from 'node:crypto';
import type { Socket } from 'node:net';
import { createServer, type Server, type TlsOptions, type TLSSocket } from 'node:tls';
import { LRUCache } from 'lru-cache';
import type { Certificate, ServedCertificate } from '../../core/certificates.ts';
import type { Clock } from '../../core/clock.ts';
import { errorText } from '../../core/errors.ts';
import type { Logger } from '../../core/logger.ts';
import type { TicketKey } from '../../core/ticket-keys.ts';
import type { Alpn } from './alpn.ts';
import { type BookEntry, CertificateBook } from './certificate-book.ts';
import { TicketRing } from './ticket-ring.ts';
import { TLS_SETTINGS } from './tls-settings.ts';

/** Contexts that are kept ready, whatever the number of certificates: 0.3 ms and 32 KB for each (measured). */
const CONTEXTS_READY_MAX = 1_024;
/** RFC 8737 6.2. */
export const ACME_TLS = 'acme-tls/1';

/** Whoever asks on behalf of an ACME server asks for nothing else (RFC 8737 3). */
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
  readonly alpn: Alpn;
  /** See ClientHello. */
  readonly ticketKeyName: string | null;
  /** PEM: a certificate of one of these authorities is asked for, and none is refused here. Null = none is asked for. */
  readonly clientCa: string | null;
}

interface ReadyServer {
  /** Null: its certificate cannot be used. */
  readonly server: Server | null;
  readonly ticketKeyName: string;
  /** Of its certificate. */
  readonly id: string;
}

/**
 * Does handshakes on sockets whose ClientHello has been read and put back. There is one server that never listens for
 * each certificate, ALPN answer, key of tickets and list of authorities for clients' certificates: with the name and the
 * offer known beforehand, OpenSSL need not call back into JavaScript in the middle of a handshake, and only tickets of the
 * context a socket was created with are honoured.
 */
export class TlsTerminator {
  readonly #options: TlsTerminatorOptions;
  readonly #book = new CertificateBook();
  readonly #servers = new LRUCache<string, ReadyServer>({ max: CONTEXTS_READY_MAX });
  readonly #challenges = new Map<string, Certificate>();
  readonly #tickets = new TicketRing();

  constructor(options: TlsTerminatorOptions) {
    this.#options = options;
  }

  setDefaultNames(names: readonly string[]): void {
    this.#book.setDefaultNames(names);
  }

  replaceCertificates(certificates: readonly ServedCertificate[]): void {
    this.#forget(this.#book.replace(certificates));
  }

  changeCertificates(set: readonly ServedCertificate[], removed: readonly string[]): void {
    this.#forget(this.#book.change(set, removed));
  }

  /** What proves to an ACME server that a name is ours (RFC 8737). */
  setChallenges(certificates: readonly Certificate[]): void {
    this.#challenges.clear();
    for (const certificate of certificates) {
      for (const name of certificate.names) this.#challenges.set(name, certificate);
    }
  }

  /** The first seals, every one opens: sessions of any worker of any replica are resumed. */
  setTicketKeys(keys: readonly TicketKey[]): void {
    this.#tickets.replace(keys);
    this.#forgetServers(({ ticketKeyName }) => !this.#tickets.has(ticketKeyName));
  }

  /** Is there a certificate for this name that the world trusts? */
  hasTrusted(serverName: string): boolean {
    return this.#book.hasTrusted(serverName, this.#options.clock.now());
  }

  /** False when there is no certificate: then nothing was done. */
  accept(raw: Socket, handshake: Handshake): boolean {
    const entry = this.#book.find(handshake.serverName, this.#options.clock.now());
    const server = entry === null ? null : this.#serverOf(entry, handshake);
    if (server === null) return false;
    handOver(raw, server);
    return true;
  }

  /** Answers an ACME server. False when it asks for something we do not have: then nothing was done. */
  acceptValidation(raw: Socket, serverName: string | null): boolean {
    const certificate = serverName === null ? undefined : this.#challenges.get(serverName);
    if (certificate === undefined) return false;
    const server = this.#tryCreateServer(certificate, { ALPNProtocols: [ACME_TLS] });
    if (server === null) return false;
    handOver(raw, server);
    return true;
  }

  #forget(entries: readonly BookEntry[]): void {
    const gone = new Set(entries.map(({ id }) => id));
    if (gone.size > 0) this.#forgetServers(({ id }) => gone.has(id));
  }

  #forgetServers(isGone: (ready: ReadyServer) => boolean): void {
    // Of a copy: nothing says that a cache may change while it is walked.
    for (const [key, ready] of [...this.#servers.entries()]) if (isGone(ready)) this.#servers.delete(key);
  }

  #serverOf(entry: BookEntry, { alpn, ticketKeyName, clientCa }: Handshake): Server | null {
    const { id } = entry;
    const ticketKey = this.#tickets.keyFor(ticketKeyName);
    const authorities = clientCa === null ? '' : createHash('sha256').update(clientCa).digest('base64');
    const key = `${alpn ?? ''} ${ticketKey.name} ${authorities} ${id}`;
    let ready = this.#servers.get(key);
    if (ready === undefined) {
      const server = this.#tryCreateServer(
        { ...entry, certificatePem: entry.leafPem + entry.chainPem },
        {
          ticketKeys: ticketKey.bytes,
          ...(alpn === null ? {} : { ALPNProtocols: [alpn] }),
          ...(clientCa === null ? {} : askingFor(clientCa, authorities)),
        },
      );
      ready = { server, id, ticketKeyName: ticketKey.name };
      this.#servers.set(key, ready);
    }
    return ready.server;
  }

  /** Null for a certificate that cannot be used: it is tried, and logged, once for each kind of server. */
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
      // Node's own is made of the command line, which differs between workers: no session would be resumed in another.
      sessionIdContext: 'podgate',
      ...options,
    });
    server.on('secureConnection', (secure) => {
      // From here on the client may say its last and still listen.
      secure.allowHalfOpen = true;
      const raw = rawSocketOf(secure);
      // Without its raw socket a connection has no deadline and no count.
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

/**
 * Asks for a certificate of these authorities alone, and takes whatever comes: who is refused is to read why, and an alert
 * says nothing. Sessions are not resumed, so that each handshake proves anew who comes: no tickets, and the context of
 * another list of authorities is another.
 */
function askingFor(clientCa: string, authorities: string): TlsOptions {
  return {
    requestCert: true,
    rejectUnauthorized: false,
    ca: clientCa,
    // What the pod's owner trusts is the end of the chain, root or not.
    allowPartialTrustChain: true,
    secureOptions: TLS_SETTINGS.secureOptions | constants.SSL_OP_NO_TICKET,
    // At most 32 bytes.
    sessionIdContext: authorities.slice(0, 32),
  };
}

function handOver(raw: Socket, server: Server): void {
  // The TLSSocket takes this over. A client that ends, or resets, within the handshake would otherwise go unnoticed:
  // OpenSSL's failing writes are not reported, and the end of a half-open stream is no reason to close.
  raw.allowHalfOpen = false;
  server.emit('connection', raw);
}

/**
 * The socket a TLSSocket was made on. Node keeps it under this undocumented name; `emit('connection')`, which is
 * documented, gives no other way from one to the other. An integration test fails when it is gone.
 */
function rawSocketOf(secure: TLSSocket): Socket | null {
  return (secure as unknown as { readonly _parent?: Socket | null })._parent ?? null;
}
