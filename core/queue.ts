export interface Claim {
  readonly key: string;
  /** Unique to this claim; a later claim of the same key has another. */
  readonly token: string;
}

/**
 * At-least-once delivery of keys ("look at this pod"), never of commands. It is a hint: every pass of the health loop
 * adds again what its plan says the spawner must do.
 *
 * Laws: a key is in the queue at most once. A claimed key is not given out again before its lease ends, unless `add`
 * came meanwhile: then it is due again once the claim is settled (acknowledged, retried or expired). `acknowledge`,
 * `retry` and `extend` with a token that no longer holds the lease do nothing and answer false. Due keys are given out
 * in the order in which they became due, fairly between users (`share`).
 */
export interface Queue {
  /** Makes the key due after `delayMs` (sooner wins if it is queued already). */
  add(key: string, options?: { readonly delayMs?: number; readonly share?: string }): Promise<void>;
  /** Waits until a key is due and claims it; null when the signal aborts. */
  claim(leaseMs: number, signal: AbortSignal): Promise<Claim | null>;
  extend(claim: Claim, leaseMs: number): Promise<boolean>;
  acknowledge(claim: Claim): Promise<boolean>;
  retry(claim: Claim, delayMs: number): Promise<boolean>;
  stats(): Promise<{ readonly due: number; readonly delayed: number; readonly leased: number }>;
}
