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

/** Contexts that are kept ready, whatever the number of names and certificates: 0.3 ms and 32 KB for each (measured). */
const CONTEXTS_READY_MAX = 4_096;
/** RFC 8737 6.2. */
export const ACME_TLS = 'acme-tls/1';

/** Requested by ACME servers alone, which request nothing else (RFC 8737 3). */
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
  /** May the client come back to this session? Only under the same name, so that a name of nobody's is not worth a context. */
  readonly keepsSession: boolean;
  /** PEM: a certificate of one of these authorities is asked for, and none is refused here. Null = none is asked for. */
  readonly clientCa: string | null;
}

interface ReadyServer {
  /** Null: its certificate cannot be used. */
  readonly server: Server | null;
  /** Of its certificate. */
  readonly id: string;
}

/**
 * Does handshakes on sockets whose ClientHello has been read and put back. There is one server that never listens for
 * each server name, certificate, ALPN answer and list of authorities for clients' certificates: with the name and the offer
 * known beforehand, OpenSSL need not call back into JavaScript in the middle of a handshake. It would resume a session
 * under any server name (RFC 6066 3: MUST NOT); what keeps it from that is the context of sessions, which is the name's.
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
  }

  /** Is there a certificate for this name that the world trusts? */
  hasTrusted(serverName: string): boolean {
    return this.#index.hasTrusted(serverName, this.#options.clock.now());
  }

  /** False when there is no certificate: then nothing was done. */
  accept(raw: Socket, handshake: Handshake): boolean {
    const entry = this.#index.find(handshake.serverName, this.#options.clock.now());
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

  #forget(entries: readonly CertificateEntry[]): void {
    const gone = new Set(entries.map(({ id }) => id));
    if (gone.size > 0) this.#forgetServers(({ id }) => gone.has(id));
  }

  #forgetServers(isGone: (ready: ReadyServer) => boolean): void {
    // Of a copy: nothing says that a cache may change while it is walked.
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
      ...options,
    });
    server.on('secureConnection', (secure) => {
      // Node reports a later error of TLS (a record that cannot be decrypted, say) and leaves the socket open. Here nothing
      // follows it but the end, so that everywhere else an 'error' is followed by 'close'.
      secure.on('error', () => secure.destroy());
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

/** No tickets; and what Node keeps of a session under its id is nothing. */
const NO_SESSIONS = {
  secureOptions: TLS_SETTINGS.secureOptions | constants.SSL_OP_NO_TICKET,
  sessionIdContext: 'none',
} as const satisfies TlsOptions;

/** The most that OpenSSL takes (SSL_MAX_SID_CTX_LENGTH). */
const CONTEXT_ID_BYTES = 32;

/** The same in every worker of every replica. Only sessions of the same one are resumed. */
function contextIdOf(serverName: string): string {
  return createHash('sha256').update(serverName).digest('base64').slice(0, CONTEXT_ID_BYTES);
}

function alpnOptions(alpn: Handshake['alpn']): TlsOptions {
  if (alpn === null) return {};
  return alpn === 'none-in-common' ? { ALPNCallback: () => undefined } : { ALPNProtocols: [alpn] };
}

/** What OpenSSL is told about a ticket (SSL_CTX_set_tlsext_ticket_key_cb). 2: it is good, and the client gets a new one. */
type TicketAnswer =
  readonly [0 | 2, hmac: Buffer, aes: Buffer] | readonly [1, hmac: Buffer, aes: Buffer, name: Buffer, iv: Buffer];

interface TicketContext {
  onticketkeycallback: (name: Buffer, iv: Buffer, isSealing: boolean) => TicketAnswer;
  enableTicketKeyCallback(): void;
}

/**
 * Seals tickets with the key of the hour, opens them with any, and has a resumed connection given a new one: `ticketKeys`,
 * which is documented, has room for one key and never renews, so that a TLS 1.3 client that uses each ticket once soon has
 * none (RFC 8446 C.4). Integration tests fail when this undocumented way is gone.
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
 * Asks for a certificate of these authorities alone, and takes whatever comes: who is refused is to read why, and an alert
 * says nothing. Sessions are not resumed, so that each handshake proves anew who comes.
 */
function askingFor(clientCa: string, authorities: string): TlsOptions {
  return {
    requestCert: true,
    rejectUnauthorized: false,
    ca: clientCa,
    // What the pod's owner trusts is the end of the chain, root or not.
    allowPartialTrustChain: true,
    sessionIdContext: authorities.slice(0, CONTEXT_ID_BYTES),
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
