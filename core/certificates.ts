/** A certificate chain with its key, both PEM. `names` are host names, with `*.` for a wildcard label. */
export interface Certificate {
  readonly names: readonly string[];
  readonly certificatePem: string;
  readonly privateKeyPem: string;
}

/**
 * Makes or fetches certificates: slow, abortable, never called at a handshake. What it yields is sent to the workers,
 * which answer handshakes from memory alone.
 */
export interface Issuer {
  issue(names: readonly string[], signal: AbortSignal): Promise<Certificate>;
}
