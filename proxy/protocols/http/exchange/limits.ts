import { CONNECT_TIMEOUT_MS } from '../../../dial/connect.ts';
import { DIAL_RETRY_MS } from '../../../dial/dial.ts';
import type { Pace } from '../../../limits/stall-watch.ts';
import { DEFAULT_HALF_CLOSED_MS } from '../../../session/splice.ts';

/** What one connection of HTTP may take. Durations in ms; 0 = no limit. */
export interface HttpLimits {
  /** Request line and header fields together. */
  readonly headerBytes: number;
  /** From the first moment of a connection, or the first byte of a later request, to the end of its header section. */
  readonly headersTimeoutMs: number;
  /** From the first byte of a request to the last of its body. */
  readonly requestTimeoutMs: number;
  /** In so long a client has to send `minClientBytesPerSecond` of a body that is waited for, or take as much of its answer. */
  readonly stalledClientMs: number;
  /** Counted only while a transfer is pending: streams of events and long polls may be silent. */
  readonly minClientBytesPerSecond: number;
  /** How long the rest of a body is read and forgotten once its request is answered; then the connection ends. */
  readonly lingerMs: number;
  /** How long nothing may move in a tunnel of which one side has ended. */
  readonly halfClosedMs: number;
  /** How long a connection may be silent between two requests. */
  readonly keepAliveTimeoutMs: number;
  readonly maxRequestsPerConnection: number;
  /** Requests at a time on one connection of HTTP/2. */
  readonly maxStreams: number;
  /** How long one attempt to connect to a backend may take. */
  readonly connectTimeoutMs: number;
  /** How long after the first use of a backend failed attempts to connect to it are repeated. */
  readonly dialRetryMs: number;
  /** How long the API may think before it answers, and be silent within an answer: longer than any call of it waits. */
  readonly apiAnswerMs: number;
  /** How long a kept connection to a backend may be silent. Below the 5 s after which Node and uvicorn servers close. */
  readonly upstreamIdleMs: number;
}

export const DEFAULT_HTTP_LIMITS: HttpLimits = {
  headerBytes: 32 * 1024,
  headersTimeoutMs: 20_000,
  // Uploads may take hours; that the header section arrives in time is what keeps the slow from holding places.
  requestTimeoutMs: 0,
  // Long enough for a slow line behind large buffers, which moves seldom and then much at a time.
  stalledClientMs: 120_000,
  minClientBytesPerSecond: 100,
  lingerMs: 10_000,
  halfClosedMs: DEFAULT_HALF_CLOSED_MS,
  keepAliveTimeoutMs: 75_000,
  maxRequestsPerConnection: 10_000,
  maxStreams: 100,
  connectTimeoutMs: CONNECT_TIMEOUT_MS,
  dialRetryMs: DIAL_RETRY_MS,
  apiAnswerMs: 90_000,
  upstreamIdleMs: 4_000,
};

/** What is expected of a client while a transfer is pending. */
export function clientPace({ stalledClientMs, minClientBytesPerSecond }: HttpLimits): Pace {
  return { limitMs: stalledClientMs, least: Math.max(1, (minClientBytesPerSecond * stalledClientMs) / 1_000) };
}
