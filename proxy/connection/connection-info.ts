import type { ClientProof } from '../tls/client-proof.ts';

/** What is known of a client's connection once its first bytes are read. Goes into every log line about it. */
export interface ConnectionInfo {
  /** Random; users quote it, operators search for it. Also the request id of what is refused. */
  readonly id: string;
  /** The client's own address: from the PROXY header when a trusted address sent one. Never IPv4-mapped IPv6. */
  readonly remoteAddress: string;
  readonly remotePort: number;
  /** SNI, lower case without a trailing dot; null when the client sent none. */
  readonly serverName: string | null;
  /** What came of asking for a client certificate; null when none was asked for. */
  readonly proof: ClientProof | null;
  /** Null before the handshake is done, and in plaintext. */
  readonly tls: TlsFacts | null;
}

/** How a handshake came out. */
export interface TlsFacts {
  /** Such as `TLSv1.3`. */
  readonly version: string;
  /** OpenSSL's name. */
  readonly cipher: string;
  readonly alpn: string | null;
  readonly isResumed: boolean;
  /** From accept to its end. */
  readonly handshakeMs: number;
}
