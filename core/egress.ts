/** Where a pod with a network of its own finds its way out: an HTTP proxy on its loopback that takes CONNECT. */
export const EGRESS_PORT = 3128;

/** What pods may reach outside this machine. */
export interface EgressRules {
  /** CIDR. Empty: every public address. A private one is opened by an entry that lies within private ranges. */
  readonly allow: readonly string[];
  /** CIDR. Goes before `allow`. */
  readonly deny: readonly string[];
  readonly ports: readonly number[];
}

/** What came of a tunnel that a pod asked for; names of metrics and of the access log. */
export type EgressOutcome =
  | 'connected'
  /** No request that a proxy for CONNECT understands. */
  | 'malformed'
  | 'method'
  | 'port'
  /** The rules forbid the address, or all addresses of the name. */
  | 'address'
  | 'unresolved'
  | 'unreachable'
  /** No place left: of the pod, its owner or tenant, or for further lookups of names. */
  | 'full'
  /** The gateway has no file descriptor left. */
  | 'no-descriptors';
