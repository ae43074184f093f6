/**
 * What is said between a worker and the allocator of places, in order in each direction. `key` names what is counted: an address,
 * a pod, the pods of an owner or of a tenant.
 */
export type ToAllocator =
  /** One more is wanted than the worker has.. */
  | { readonly kind: 'ask'; readonly key: string; readonly limit: number; readonly held: number }
  /** The reply to the 'count' of that round. */
  | { readonly kind: 'held'; readonly key: string; readonly round: number; readonly held: number }
  /** It has so many fewer. */
  | { readonly kind: 'give'; readonly key: string; readonly places: number };

export type ToWorker =
  /** From now on the allocator counts this key: say how many you hold, and take no more without asking. */
  | { readonly kind: 'count'; readonly key: string; readonly round: number }
  /** Take so many more. `isScarce`: give each back as soon as it is free. */
  | { readonly kind: 'grant'; readonly key: string; readonly places: number; readonly isScarce: boolean }
  | { readonly kind: 'deny'; readonly key: string }
  /** The allocator does not count this key any more. */
  | { readonly kind: 'free'; readonly key: string };

/** What each worker may take of a limit without asking: all of them together no more than half of it. */
export function baseShare(limit: number, workers: number): number {
  return Math.floor(limit / (2 * workers));
}
