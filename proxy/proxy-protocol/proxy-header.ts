/** The client of a connection according to its PROXY header. */
export type ProxySource =
  /** A client with this address: never IPv4-mapped IPv6, and IPv6 in canonical form. */
  | { readonly kind: 'client'; readonly address: string; readonly port: number }
  /** The sender's own connection, such as a health check. */
  | { readonly kind: 'local' }
  /** A client without an Internet address (UNKNOWN, AF_UNSPEC, AF_UNIX): the connection's own address applies. */
  | { readonly kind: 'unknown' };

export interface ProxyHeader {
  readonly source: ProxySource;
  /** The length of the header: what follows was sent by the client. */
  readonly bytes: number;
}
