/** JSON, as it comes back from JSON.parse. */
export type Json = string | number | boolean | null | readonly Json[] | { readonly [name: string]: Json };

/** What messages between replicas are about. */
export type ReplicaTopic = 'routable' | 'cancel' | 'connections' | 'traffic' | 'challenges';
export const REPLICA_TOPICS: readonly ReplicaTopic[] = ['routable', 'cancel', 'connections', 'traffic', 'challenges'];

/** In bytes of JSON. */
export const REPLICA_MESSAGE_MAX_BYTES = 32 * 1024;

/** A replica that has sent a heartbeat recently. */
export interface LiveReplica {
  readonly id: string;
  /** A digest of what all replicas must share, such as their tenants. Replicas with another text are misconfigured. */
  readonly shared: string;
}

/** `message` may come from a replica of any release: listeners check its shape. */
export type ReplicaListener = (message: Json, from: string) => void;

/**
 * The replicas that share one store, and a small message bus between them.
 *
 * Laws: `live` returns from memory: itself and every replica heard within REPLICA_SILENCE_MS, including one that started
 * within the last two seconds; one that shuts down in order disappears soon after. `publish` reaches the
 * listeners of all other live replicas, never its own. It does not wait, and throws only if the message is too large; a
 * message may be lost, duplicated or reordered, and is not stored. Listeners do not throw. `agree` returns the first value
 * that any replica has set under this name, which lasts as long as the store; `settle` replaces it; `forget` removes it.
 * `run` does the background work until the signal aborts, and never rejects. `agree`, `settle` and `forget` throw
 * PodgateError 'store.unavailable' within their deadline.
 *
 * On a store that lacks what this process has seen (see Store), `agree` returns what is recorded there; `agree` of a new
 * name, `settle` and `forget` throw PodgateError 'store.suspect', and `live` does not change.
 */
export interface Replicas {
  readonly id: string;
  live(): readonly LiveReplica[];
  publish(topic: ReplicaTopic, message: Json): void;
  /** Returns a function that stops listening. */
  listen(topic: ReplicaTopic, listener: ReplicaListener): () => void;
  agree(name: string, value: string): Promise<string>;
  settle(name: string, value: string): Promise<void>;
  forget(name: string): Promise<void>;
  run(signal: AbortSignal): Promise<void>;
}

/** A replica that is silent for this long counts as dead. */
export const REPLICA_SILENCE_MS = 5_000;
