export interface Lease {
  readonly name: string;
  /**
   * Greater than any fence given before under any name, even across a restore: greater than the last one that the store
   * knows and than all that this process has been given, and at least the wall clock in ms. Store writes carry it.
   */
  readonly fence: number;
  readonly token: string;
}

/** Carried by writes of the holder of a lease: see Batch. */
export interface Fence {
  readonly lease: string;
  readonly number: number;
}

export function fenceOf({ name, fence }: Lease): Fence {
  return { lease: name, number: fence };
}

/**
 * A lease with a fencing token. Laws: at most one live lease per name; `acquire` returns null while another lives;
 * `renew` returns false when the lease was lost (then the holder stops at once); `release` of a lost lease does nothing.
 * On a store that lacks what this process has seen, all throw PodgateError 'store.suspect' (see Store).
 */
export interface Lock {
  acquire(name: string, leaseMs: number): Promise<Lease | null>;
  renew(lease: Lease, leaseMs: number): Promise<boolean>;
  release(lease: Lease): Promise<void>;
}
