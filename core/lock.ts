export interface Lease {
  readonly name: string;
  /** Greater than any fence given before under any name, also across a restore. Store writes carry it. */
  readonly fence: number;
  readonly token: string;
}

/**
 * A lease with a fencing token. Laws: at most one live lease per name; `acquire` answers null while another lives;
 * `renew` answers false when the lease was lost (then the holder stops at once); `release` of a lost lease does nothing.
 */
export interface Lock {
  acquire(name: string, leaseMs: number): Promise<Lease | null>;
  renew(lease: Lease, leaseMs: number): Promise<boolean>;
  release(lease: Lease): Promise<void>;
}
