/** A session holds its client's socket and its backend's. */
const DESCRIPTORS_PER_CONNECTION = 2;
/** The event loop, standard streams, the channel to the supervisor, the feed, logs, listening sockets, certificates. */
const OWN_DESCRIPTORS = 64;
/** Kept free beside those, as a share of all: backends of HTTP/2 streams, calls to the API, refusals under way. */
const SPARE_SHARE = 0.05;
const SPARE_LEAST = 32;
const SPARE_MOST = 1_024;
/** A worker that may take fewer connections than this is of no use to anyone. */
const CONNECTIONS_LEAST = 16;

/** How a gateway worker keeps within RLIMIT_NOFILE. */
export interface DescriptorPlan {
  /** Connections of clients a worker takes at most, so that each can have a backend. */
  readonly maxConnections: number;
  /** A client's socket with this number or a greater one: the worker stops accepting. */
  readonly pauseAt: number;
  /** It accepts again once no more than this many are open. */
  readonly resumeAt: number;
}

/** `limit`: RLIMIT_NOFILE of the worker. Infinity, or NaN where it is unknown, means no bound. */
export function planDescriptors(limit: number): DescriptorPlan {
  if (!Number.isFinite(limit)) return { maxConnections: Infinity, pauseAt: Infinity, resumeAt: Infinity };
  const spare = Math.min(SPARE_MOST, Math.max(SPARE_LEAST, Math.floor(limit * SPARE_SHARE)));
  const usable = limit - OWN_DESCRIPTORS - spare;
  const pauseAt = Math.max(limit - spare, Math.floor(limit / 2));
  return {
    maxConnections: Math.max(CONNECTIONS_LEAST, Math.floor(usable / DESCRIPTORS_PER_CONNECTION)),
    pauseAt,
    resumeAt: pauseAt - Math.max(8, Math.floor(spare / 2)),
  };
}

/** RLIMIT_NOFILE that a worker needs for so many connections of clients. */
export function descriptorsFor(connections: number): number {
  const own = connections * DESCRIPTORS_PER_CONNECTION + OWN_DESCRIPTORS;
  const spare = Math.min(SPARE_MOST, Math.max(SPARE_LEAST, Math.ceil((own * SPARE_SHARE) / (1 - SPARE_SHARE))));
  return own + spare;
}
