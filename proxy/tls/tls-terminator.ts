import type { Socket } from 'node:net';
import { createServer, type Server, type TLSSocket } from 'node:tls';
import { LRUCache } from 'lru-cache';
import type { Certificate } from '../../core/certificates.ts';
import { errorText } from '../../core/errors.ts';
import type { Logger } from '../../core/logger.ts';
import type { Alpn } from './alpn.ts';
import { CertificateBook } from './certificate-book.ts';

/** Certificates whose contexts are kept ready: 0.3 ms and 32 KB for each context (measured). */
const CERTIFICATES_READY_MAX = 1_024;

export interface TlsTerminatorOptions {
  /** 48 bytes, the same in every worker, so that a session is resumed wherever it lands. */
  readonly ticketKeys: Buffer;
  readonly onSecure: (secure: TLSSocket, raw: Socket) => void;
  /** The handshake failed; the socket is still open. */
  readonly onFailed: (raw: Socket) => void;
  readonly log: Logger;
}

/**
 * Does handshakes on sockets whose ClientHello has been read and put back. There is one server that never listens for
 * each certificate and ALPN answer: with the name and the offer known beforehand, OpenSSL need not call back into
 * JavaScript in the middle of a handshake, and only tickets of the context a socket was created with are honoured.
 */
export class TlsTerminator {
  readonly #options: TlsTerminatorOptions;
  readonly #book = new CertificateBook();
  #servers = newServerCache();

  constructor(options: TlsTerminatorOptions) {
    this.#options = options;
  }

  replaceCertificates(certificates: readonly Certificate[]): void {
    this.#book.replace(certificates);
    this.#servers = newServerCache();
  }

  /** False when there is no certificate: then nothing was done. */
  accept(raw: Socket, serverName: string | null, alpn: Alpn): boolean {
    const certificate = this.#book.find(serverName);
    const server = certificate === null ? null : this.#serverOf(certificate, alpn);
    if (server === null) return false;
    // The TLSSocket takes this over. A client that ends, or resets, within the handshake would otherwise go unnoticed:
    // OpenSSL's failing writes are not reported, and the end of a half-open stream is no reason to close.
    raw.allowHalfOpen = false;
    server.emit('connection', raw);
    return true;
  }

  #serverOf(certificate: Certificate, alpn: Alpn): Server | null {
    let servers = this.#servers.get(certificate);
    if (servers === undefined) {
      servers = new Map();
      this.#servers.set(certificate, servers);
    }
    let server = servers.get(alpn);
    if (server === undefined) {
      server = this.#tryCreateServer(certificate, alpn);
      servers.set(alpn, server);
    }
    return server;
  }

  /** Null for a certificate that cannot be used: it is tried, and logged, once for each ALPN answer. */
  #tryCreateServer(certificate: Certificate, alpn: Alpn): Server | null {
    try {
      return this.#createServer(certificate, alpn);
    } catch (error) {
      this.#options.log.error({ names: certificate.names, error: errorText(error) }, 'certificate cannot be used');
      return null;
    }
  }

  #createServer(certificate: Certificate, alpn: Alpn): Server {
    const { ticketKeys, onSecure, onFailed } = this.#options;
    const server = createServer({
      cert: certificate.certificatePem,
      key: certificate.privateKeyPem,
      minVersion: 'TLSv1.2',
      ticketKeys,
      // Node's own is made of the command line, which differs between workers: no session would be resumed in another.
      sessionIdContext: 'podgate',
      ...(alpn === null ? {} : { ALPNProtocols: [alpn] }),
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

function newServerCache(): LRUCache<Certificate, Map<Alpn, Server | null>> {
  return new LRUCache({ max: CERTIFICATES_READY_MAX });
}

/**
 * The socket a TLSSocket was made on. Node keeps it under this undocumented name; `emit('connection')`, which is
 * documented, gives no other way from one to the other. An integration test fails when it is gone.
 */
function rawSocketOf(secure: TLSSocket): Socket | null {
  return (secure as unknown as { readonly _parent?: Socket | null })._parent ?? null;
}
