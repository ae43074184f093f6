/** For whom a connection was made, as its PROXY header says. */
export type ProxySource =
  /** For a client at this address: never IPv4-mapped IPv6, and IPv6 in its canonical form. */
  | { readonly kind: 'client'; readonly address: string; readonly port: number }
  /** By the sender for itself, such as a health check. */
  | { readonly kind: 'local' }
  /** For somebody without an Internet address (UNKNOWN, AF_UNSPEC, AF_UNIX): the connection's own address stands. */
  | { readonly kind: 'unknown' };

export interface ProxyHeader {
  readonly source: ProxySource;
  /** The header's own length: what follows is the client's. */
  readonly bytes: number;
}
