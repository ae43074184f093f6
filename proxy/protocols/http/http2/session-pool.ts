import { connect, type Destination } from '../../../dial/connect.ts';
import type { HttpLimits } from '../exchange/limits.ts';
import type { UpstreamPool } from '../exchange/upstream.ts';
import { UpstreamStream } from './upstream-stream.ts';
import { openSession, UpstreamSession } from './upstream-session.ts';

/** A pod that closes so many new connections in a row is not to be talked with. */
const CLOSED_MAX = 3;

/**
 * Connections of HTTP/2 to one backend, each with as many requests at a time as the pod allows. One that says GOAWAY, or
 * ends, gets no more of them.
 */
export class SessionPool implements UpstreamPool {
  readonly key: string;
  readonly retryUntilMs: number;
  readonly #destination: Destination;
  readonly #limits: HttpLimits;
  readonly #preamble: Buffer | null;
  readonly #sessions: UpstreamSession[] = [];
  readonly #retiring = new AbortController();
  /** One that is made serves all who wait for one. */
  #opening: Promise<UpstreamSession> | null = null;
  lastUsedMs: number;

  /** `preamble` is what every connection begins with: a PROXY header. */
  constructor(key: string, destination: Destination, limits: HttpLimits, preamble: Buffer | null = null) {
    this.key = key;
    this.#destination = destination;
    this.#limits = limits;
    this.#preamble = preamble;
    this.lastUsedMs = performance.now();
    this.retryUntilMs = this.lastUsedMs + limits.dialRetryMs;
  }

  take(): UpstreamStream | null {
    const session = this.#sessions.find(({ hasRoom }) => hasRoom);
    return session === undefined ? null : placeOn(session);
  }

  async open(signal: AbortSignal): Promise<UpstreamStream> {
    for (let closed = 0; closed < CLOSED_MAX;) {
      this.#opening ??= this.#openSession();
      const session = await Promise.race([this.#opening, rejectOnAbort(signal)]);
      const place = this.take();
      if (place !== null) return place;
      // Others took all of its places, or it was closed as soon as it was there.
      if (session.isClosed) closed++;
    }
    throw Object.assign(new Error('connections are closed at once'), { code: 'GOAWAY' });
  }

  sweep(): void {
    const nowMs = performance.now();
    for (const session of this.#sessions) if (session.isIdleSince(nowMs)) session.close();
  }

  get isRetired(): boolean {
    return this.#retiring.signal.aborted;
  }

  retire(): void {
    this.#retiring.abort();
    for (const session of this.#sessions.splice(0)) session.close();
  }

  async #openSession(): Promise<UpstreamSession> {
    try {
      const { connectTimeoutMs } = this.#limits;
      const options = { timeoutMs: connectTimeoutMs, allowHalfOpen: false };
      const socket = await connect(this.#destination, options, this.#retiring.signal);
      if (this.#preamble !== null) socket.write(this.#preamble);
      const session = new UpstreamSession(await openSession(socket, connectTimeoutMs), (gone) => {
        const at = this.#sessions.indexOf(gone);
        if (at >= 0) this.#sessions.splice(at, 1);
      });
      // Requests that wait for it are still served by a retired pool; later ones are not.
      if (this.isRetired) session.close();
      else this.#sessions.push(session);
      return session;
    } finally {
      this.#opening = null;
    }
  }
}

function placeOn(session: UpstreamSession): UpstreamStream {
  return new UpstreamStream(session.session, session.take());
}

function rejectOnAbort(signal: AbortSignal): Promise<never> {
  return new Promise((_resolve, reject) => {
    const onAbort = (): void => reject(new Error('aborted'));
    if (signal.aborted) onAbort();
    else signal.addEventListener('abort', onAbort, { once: true });
  });
}
