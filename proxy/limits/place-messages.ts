/**
 * Messages between a worker and the allocator of places, delivered in order in each direction. `key` names what is counted:
 * an address, a pod, the pods of an owner or of a tenant.
 */
export type ToAllocator =
  /** The worker needs one place more than it has. */
  | { readonly kind: 'ask'; readonly key: string; readonly limit: number; readonly held: number }
  /** The reply to 'count' in that round. */
  | { readonly kind: 'held'; readonly key: string; readonly round: number; readonly held: number }
  /** The worker returns this many places. */
  | { readonly kind: 'give'; readonly key: string; readonly places: number };

export type ToWorker =
  /** From now on the allocator counts this key: report how many places you use, and ask before you take more. */
  | { readonly kind: 'count'; readonly key: string; readonly round: number }
  /** Grants this many more places. `isScarce`: return each one as soon as it is free. */
  | { readonly kind: 'grant'; readonly key: string; readonly places: number; readonly isScarce: boolean }
  | { readonly kind: 'deny'; readonly key: string }
  /** The allocator no longer counts this key. */
  | { readonly kind: 'free'; readonly key: string };

/** How much of a limit each worker may take without asking: all of them together at most half. */
export function baseShare(limit: number, workers: number): number {
  return Math.floor(limit / (2 * workers));
}
