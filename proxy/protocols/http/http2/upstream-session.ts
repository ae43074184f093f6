import { type ClientHttp2Session, connect } from 'node:http2';
import type { Socket } from 'node:net';
import { errorCode } from '../../../../core/error-code.ts';

/** What a pod may send ahead of what its client takes: of one answer, and of a connection's answers together. */
const STREAM_WINDOW_BYTES = 128 * 1024;
const CONNECTION_WINDOW_BYTES = 1024 * 1024;
/** Of an answer's fields. */
const ANSWER_HEAD_BYTES = 64 * 1024;
const HEADER_FIELDS_MAX = 400;
/** Whatever more a pod allows. */
const STREAMS_MAX = 1_000;
/** Long: a pod that wants to end a connection says so (GOAWAY). */
const IDLE_MS = 60_000;

/** A connection of HTTP/2 without TLS to a backend, whose settings are known (RFC 9113 3.3). */
export class UpstreamSession {
  readonly session: ClientHttp2Session;
  readonly #onGone: (session: UpstreamSession) => void;
  #places = 0;
  #idleSinceMs = performance.now();

  constructor(session: ClientHttp2Session, onGone: (session: UpstreamSession) => void) {
    this.session = session;
    this.#onGone = onGone;
    session.once('close', () => this.#onGone(this)).once('goaway', () => this.#onGone(this));
  }

  /** A request more may be sent on it. */
  get hasRoom(): boolean {
    const { session } = this;
    const max = Math.min(STREAMS_MAX, session.remoteSettings.maxConcurrentStreams ?? STREAMS_MAX);
    return !this.isClosed && this.#places < max;
  }

  get isClosed(): boolean {
    return this.session.closed || this.session.destroyed;
  }

  /** Takes a place on it. Returns what gives it back. */
  take(): () => void {
    let isTaken = true;
    this.#places++;
    return () => {
      if (!isTaken) return;
      isTaken = false;
      this.#places--;
      this.#idleSinceMs = performance.now();
    };
  }

  isIdleSince(nowMs: number): boolean {
    return this.#places === 0 && nowMs - this.#idleSinceMs > IDLE_MS;
  }

  /** Requests under way end in peace. */
  close(): void {
    this.session.close();
  }
}

/**
 * Speaks HTTP/2 at once on a connected socket, and waits for the pod's settings: one that does not speak it shows there.
 * Rejects, and destroys the socket, when they do not come in time.
 */
export function openSession(socket: Socket, timeoutMs: number): Promise<ClientHttp2Session> {
  return new Promise((resolve, reject) => {
    const options = {
      createConnection: () => socket,
      settings: { enablePush: false, initialWindowSize: STREAM_WINDOW_BYTES, maxHeaderListSize: ANSWER_HEAD_BYTES },
      maxHeaderListPairs: HEADER_FIELDS_MAX,
      strictSingleValueFields: false,
    };
    const session = connect('http://pod', options);
    let failure = 'NOT_H2C';
    const timer = setTimeout(() => {
      failure = 'ETIMEDOUT';
      socket.destroy();
    }, timeoutMs);
    const onClose = (): void => {
      clearTimeout(timer);
      reject(Object.assign(new Error('no HTTP/2 is spoken there'), { code: failure }));
    };
    session.once('close', onClose);
    // The session leaves the end of the connection to the other side.
    session.once('close', () => socket.destroy());
    session.on('error', (error) => {
      const code = errorCode(error) ?? 'UNKNOWN';
      if (code.startsWith('E') && !code.startsWith('ERR_')) failure = code;
    });
    session.once('remoteSettings', () => {
      clearTimeout(timer);
      session.off('close', onClose);
      session.setLocalWindowSize(CONNECTION_WINDOW_BYTES);
      resolve(session);
    });
  });
}
