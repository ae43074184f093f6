/** JSON, as it comes back from JSON.parse. */
export type Json = string | number | boolean | null | readonly Json[] | { readonly [name: string]: Json };

/** What replicas say to each other about. */
export type ReplicaTopic = 'routable' | 'cancel' | 'connections' | 'challenges';
export const REPLICA_TOPICS: readonly ReplicaTopic[] = ['routable', 'cancel', 'connections', 'challenges'];

/** In bytes of JSON. */
export const REPLICA_MESSAGE_MAX_BYTES = 32 * 1024;

/** A replica that was heard of lately. */
export interface LiveReplica {
  readonly id: string;
  /** What it must have in common with the others, such as its tenants: equal text, or they do not fit together. */
  readonly shared: string;
}

/** `message` is what another has sent, of whatever release: whoever listens checks its shape. */
export type ReplicaListener = (message: Json, from: string) => void;

/**
 * The whole Podgates that share one store, and a small bus between them.
 *
 * Laws: `live` answers from memory, at once: itself and every replica heard of within REPLICA_SILENCE_MS, also one that
 * has begun within the last two seconds; one that ends in order is no longer there soon after. `publish` reaches the
 * listeners of all other live replicas, never its own: it neither waits nor throws, unless the message is too large; a
 * message may be lost, come twice or out of order, and is kept nowhere. Listeners do not throw. `agree` answers what
 * was said first under this name, by whichever replica, and keeps it as long as the store; `settle` replaces it; after
 * `forget` the name is as if it had never been. `run` does the background work until the signal aborts, and throws nothing
 * before. `agree`, `settle` and `forget` throw PodgateError 'store.unavailable' within their deadline.
 *
 * On a store that lacks what this process has seen (see Store) `agree` answers what is recorded there, and `agree` of a
 * new name, `settle` and `forget` throw PodgateError 'store.suspect'; `live` stays as it was heard last.
 */
export interface Replicas {
  readonly id: string;
  live(): readonly LiveReplica[];
  publish(topic: ReplicaTopic, message: Json): void;
  /** Answers how to stop listening. */
  listen(topic: ReplicaTopic, listener: ReplicaListener): () => void;
  agree(name: string, value: string): Promise<string>;
  settle(name: string, value: string): Promise<void>;
  forget(name: string): Promise<void>;
  run(signal: AbortSignal): Promise<void>;
}

/** After this long without a word a replica counts as dead. */
export const REPLICA_SILENCE_MS = 5_000;
